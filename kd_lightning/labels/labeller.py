"""Run a teacher over every training clip in every view; Lightning brings devices, ranks and a progress bar."""

import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from kd_lightning.labels.format import Unit
from kd_lightning.labels.writer import LabelWriter
from kd_lightning.models.taps import Taps

# Clips that the teacher hears at once. A shard is cut into the same batches everywhere, so its bytes do not depend on
# corpus.batch_size, on the number of ranks or on restarts.
TOGETHER = 128
# By how much the largest logit may change with the rest of the batch.
TOLERANCE = 1e-3


class Labeller(pl.LightningModule):
    """Writes what ``teacher`` says with ``Trainer.predict``; the ranks share the shards that are not written yet.

    Args:
        teacher: ``(waveform, masks) -> KeywordOutput`` in eval mode, with a ``network`` if activations are stored.
        writer: of the store.
        loader: ``(units, batch size) -> DataLoader`` of their clips, in order and in batches that end with a unit.
    """

    def __init__(
        self,
        teacher: nn.Module,
        writer: LabelWriter,
        loader: Callable[[Sequence[Unit], int], DataLoader[Any]],
    ) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # more ranks than shards
        self.teacher = teacher
        self.writer = writer
        self._loader = loader
        paths = writer.fingerprint.taps
        self._taps: contextlib.AbstractContextManager[Mapping[str, Any]] = contextlib.nullcontext({})
        if paths:
            self._taps = Taps(teacher.get_submodule("network"), paths)
        self._units: deque[Unit] = deque()
        self._parts: list[dict[str, Tensor]] = []

    def predict_dataloader(self) -> DataLoader[Any]:
        # Another rank may have written its first shard already: rank 0 says what is to be done.
        pending = self.trainer.strategy.broadcast(self.writer.pending())
        mine = pending[self.trainer.global_rank :: self.trainer.world_size]
        self._units = deque(mine)
        return self._loader(mine, TOGETHER)

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        with self._taps as taps:
            logits = self.teacher(batch.waveform, batch.masks).logits.float()
        said = self.writer.encode(logits, _plain(taps, len(logits)))
        _require_finite(said, batch.ids)
        if batch_idx == 0:
            self._require_independence(batch, logits)
        self._parts.append({name: tensor.cpu() for name, tensor in said.items()})
        self._write_when_whole()
        return logits

    def _write_when_whole(self) -> None:
        unit = self._units[0]
        if sum(len(next(iter(part.values()))) for part in self._parts) < unit.end - unit.begin:
            return
        rows = {name: torch.cat([part[name] for part in self._parts]) for name in self._parts[0]}
        self.writer.write(self._units.popleft(), rows)
        self._parts = []

    def _require_independence(self, batch: Any, logits: Tensor) -> None:
        """Refuse a teacher that says something else of a clip when others are beside it.

        Raises:
            ValueError: by how much.
        """
        masks = type(batch.masks)(*(mask[:1] for mask in batch.masks))
        alone = self.teacher(batch.waveform[:1], masks).logits.float()
        change = float((alone - logits[:1]).abs().max())
        if not change <= TOLERANCE * max(1.0, float(alone.abs().max())):
            raise ValueError(
                f"the teacher's logits of {batch.ids[0]} change by {change:.3g} with the clips beside it, so they "
                "cannot be stored: take a network without statistics over the batch, or teacher.stored=false"
            )


def _plain(taps: Mapping[str, Any], clips: int) -> dict[str, Tensor]:
    for path, tap in taps.items():
        if not isinstance(tap, Tensor) or tap.ndim < 2 or len(tap) != clips:
            found = tuple(tap.shape) if isinstance(tap, Tensor) else type(tap).__name__
            raise ValueError(
                f"the teacher's {path!r} gives {found}, and only tensors of one row a clip can be stored: tap another "
                "module, or teacher.stored=false"
            )
    return dict(taps)


def _require_finite(said: dict[str, Tensor], ids: Sequence[str]) -> None:
    for name, tensor in said.items():
        finite = tensor.flatten(1).isfinite().all(dim=1) if tensor.ndim > 1 else tensor.isfinite()
        if not finite.all():
            cut = ids[int((~finite).nonzero()[0])]
            raise ValueError(
                f"the teacher's {name} of {cut} are not finite in {str(tensor.dtype).removeprefix('torch.')}: set "
                "labels.dtype=float32, or train the teacher again"
            )
