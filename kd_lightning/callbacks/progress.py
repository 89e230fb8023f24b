"""One progress bar a stage."""

from typing import Any

from pytorch_lightning.callbacks import TQDMProgressBar
from pytorch_lightning.callbacks.progress.tqdm_progress import Tqdm


class StageProgress(TQDMProgressBar):
    """Lightning's bar without those of the validations, which would take a line each and last a moment."""

    def init_sanity_tqdm(self) -> Tqdm:
        return Tqdm(disable=True)

    def init_validation_tqdm(self) -> Tqdm:
        return Tqdm(disable=True)

    def get_metrics(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        metrics = super().get_metrics(*args, **kwargs)
        metrics.pop("v_num", None)
        return dict(metrics)
