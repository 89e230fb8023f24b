"""What is stored of a teacher that hears clips of one length: a row of logits and of each activation."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils.data import DataLoader

from kd_lightning.labels.format import Unit
from kd_lightning.labels.labeller import Labeller, require_finite, require_the_same
from kd_lightning.labels.writer import LabelWriter

TOGETHER = 128


class ClipLabeller(Labeller):
    """Stores what a keyword spotter says of clips.

    Args:
        teacher: ``(waveform, masks) -> KeywordOutput``, see :class:`~kd_lightning.labels.labeller.Labeller`.
        writer: of the store.
        loader: ``(units, clips together) -> DataLoader`` of their clips, in order.
    """

    def __init__(
        self,
        teacher: nn.Module,
        writer: LabelWriter,
        loader: Callable[[Sequence[Unit], int], DataLoader[Any]],
    ) -> None:
        super().__init__(teacher, writer, loader, TOGETHER)

    def answer(self, batch: Any) -> dict[str, Tensor]:
        with self.taps as taps:
            logits = self.teacher(batch.waveform, batch.masks).logits.float()
        said = self.writer.encode(logits, _plain(taps, len(logits)))
        require_finite(said, batch.ids)
        return said

    def require_independence(self, batch: Any) -> None:
        masks = type(batch.masks)(*(mask[:1] for mask in batch.masks))
        alone, beside = (
            self.teacher(*heard).logits.float()
            for heard in ((batch.waveform[:1], masks), (batch.waveform, batch.masks))
        )
        require_the_same(alone[0], beside[0], batch.ids[0])


def _plain(taps: Mapping[str, Any], clips: int) -> dict[str, Tensor]:
    for path, tap in taps.items():
        if not isinstance(tap, Tensor) or tap.ndim < 2 or len(tap) != clips:
            found = tuple(tap.shape) if isinstance(tap, Tensor) else type(tap).__name__
            raise ValueError(
                f"the teacher's {path!r} gives {found}, and only tensors of one row a clip can be stored: tap another "
                "module, or teacher.stored=false"
            )
    return dict(taps)
