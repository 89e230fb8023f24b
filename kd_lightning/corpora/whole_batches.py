"""How the data modules of all corpora load: whole batches, a part for each process, from where training is."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler


class WholeBatches(pl.LightningDataModule):
    """A data module of datasets that give a whole batch for a list of items.

    Args:
        workers: processes that load batches; 0 for none.
        limit: the first so many cuts of each split; None for all.

    Raises:
        ValueError: a number is too small.
    """

    def __init__(self, workers: int, limit: int | None) -> None:
        super().__init__()
        if workers < 0:
            raise ValueError(f"corpus.workers={workers}: at least 0, for none")
        if limit is not None and limit < 1:
            raise ValueError(f"corpus.limit={limit}: at least 1, or null for all")
        self._workers = workers

    def _loader(self, dataset: Dataset[Any], batches: Sampler[list[Any]]) -> DataLoader[Any]:
        return DataLoader(
            dataset,
            batch_sampler=batches,
            num_workers=self._workers,
            collate_fn=_already_a_batch,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self._workers > 0,
        )

    def _rank(self) -> tuple[int, int]:
        """The number of this process, and how many there are."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _position(self) -> int:
        """Batches of the whole training that have been drawn."""
        return self.trainer.fit_loop.epoch_loop.batch_progress.total.ready if self.trainer else 0


def _already_a_batch(batch: Any) -> Any:
    return batch
