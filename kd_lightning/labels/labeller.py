"""Run a teacher over every training cut in every view; Lightning brings devices, ranks and a progress bar."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from kd_lightning.labels.format import Unit
from kd_lightning.labels.ragged import Rows, ordered
from kd_lightning.labels.writer import LabelWriter
from kd_lightning.models.taps import Taps

# By how much the largest logit may change with the rest of the batch.
TOLERANCE = 1e-3


class Labeller(pl.LightningModule):
    """Writes what ``teacher`` says with ``Trainer.predict``; the ranks share the shards that are not written yet.

    A task says in :meth:`answer` what is stored of a batch.

    Args:
        teacher: in eval mode, with a ``network`` if activations are stored.
        writer: of the store.
        loader: ``(units, together) -> DataLoader`` of their cuts, in batches that end with a unit.
        together: how much the teacher hears at once, as the loader counts it. A shard is cut into the same batches
            everywhere, so its bytes do not depend on the batches of a run, on the number of ranks or on restarts.
        cuts: ``unit -> ids``, the order of its rows; ``None`` where batches come in that order.
    """

    def __init__(
        self,
        teacher: nn.Module,
        writer: LabelWriter,
        loader: Callable[[Sequence[Unit], Any], DataLoader[Any]],
        together: float,
        cuts: Callable[[Unit], list[str]] | None = None,
    ) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # more ranks than shards
        self.teacher = teacher
        self.writer = writer
        self.together = together
        self._loader = loader
        self._cuts = cuts
        paths = writer.fingerprint.taps
        self.taps: AbstractContextManager[Mapping[str, Any]] = nullcontext({})
        if paths:
            self.taps = Taps(teacher.get_submodule("network"), paths)
        self._units: deque[Unit] = deque()
        self._parts: list[Rows] = []
        self._ids: list[str] = []

    def answer(self, batch: Any) -> Rows:
        """What is stored of each cut of a batch.

        Raises:
            ValueError: the teacher says what cannot be stored.
        """
        raise NotImplementedError

    def require_independence(self, batch: Any) -> None:
        """Refuse a teacher that says something else of a cut when others are beside it.

        Raises:
            ValueError: by how much.
        """
        raise NotImplementedError

    def predict_dataloader(self) -> DataLoader[Any]:
        # Another rank may have written its first shard already: rank 0 says what is to be done.
        pending = self.trainer.strategy.broadcast(self.writer.pending())
        mine = pending[self.trainer.global_rank :: self.trainer.world_size]
        self._units = deque(mine)
        return self._loader(mine, self.together)

    def predict_step(self, batch: Any, batch_idx: int) -> list[str]:
        rows = self.answer(batch)
        if batch_idx == 0:
            self.require_independence(batch)
        self._parts.append({name: _on_host(column) for name, column in rows.items()})
        self._ids += batch.ids
        self._write_when_whole()
        ids: list[str] = batch.ids
        return ids

    def _write_when_whole(self) -> None:
        unit = self._units[0]
        if len(self._ids) < unit.end - unit.begin:
            return
        cuts = self._ids if self._cuts is None else self._cuts(unit)
        places = {cut: place for place, cut in enumerate(self._ids)}
        self.writer.write(self._units.popleft(), ordered(self._parts, [places[cut] for cut in cuts]), cuts)
        self._parts, self._ids = [], []


def require_finite(said: Mapping[str, Tensor | Sequence[Tensor]], ids: Sequence[str]) -> None:
    """Refuse logits and activations that are not finite as they are stored.

    Args:
        said: rows by name.
        ids: of the cuts.

    Raises:
        ValueError: naming the first.
    """
    for name, column in said.items():
        whole = column if isinstance(column, Tensor) else torch.cat(list(column))
        if whole.isfinite().all():
            continue
        cut = next(cut for cut, row in zip(ids, column, strict=True) if not row.isfinite().all())
        raise ValueError(
            f"the teacher's {name} of {cut} are not finite in {str(whole.dtype).removeprefix('torch.')}: set "
            "labels.dtype=float32, or train the teacher again"
        )


def require_the_same(alone: Tensor, beside: Tensor, cut: str) -> None:
    """Refuse a teacher that says something else of a cut when others are beside it.

    Args:
        alone: what it says of the cut alone.
        beside: the same in a batch.
        cut: its id.

    Raises:
        ValueError: by how much.
    """
    if alone.shape == beside.shape:
        change = float((alone - beside).abs().max())
        if change <= TOLERANCE * max(1.0, float(alone.abs().max())):
            return
        how = f"change by {change:.3g}"
    else:
        how = f"are {tuple(alone.shape)} alone and {tuple(beside.shape)}"
    raise ValueError(
        f"the teacher's logits of {cut} {how} with the clips beside it, so they cannot be stored: take a network "
        "without statistics over the batch, or teacher.stored=false"
    )


def _on_host(column: Tensor | Sequence[Tensor]) -> Tensor | list[Tensor]:
    return column.cpu() if isinstance(column, Tensor) else [row.cpu() for row in column]
