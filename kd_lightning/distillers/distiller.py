"""The LightningModule of every task and stage: a trainable student, an optional frozen teacher, weighted terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from kd_lightning.distillers.terms import Step, Term
from kd_lightning.distillers.weights import Constant, Schedule
from kd_lightning.losses.summed import Summed
from kd_lightning.models.waveform_model import WaveformModel
from kd_lightning.teachers.ensemble import Ensemble
from kd_lightning.teachers.moving_average import MovingAverage


class Distiller(pl.LightningModule):
    """Trains ``student`` on a weighted sum of terms; a task says in :meth:`run_networks` what one step offers them.

    Without a teacher this is plain supervised training, so no stage has a code path of its own. The teacher never
    trains: its parameters take no gradient, it stays in eval mode, and it is neither in the optimizer nor in
    checkpoints. A moving average of the student follows it after each step, so its weights are kept in checkpoints.

    Args:
        student: the network to train.
        teacher: what to learn from, frozen here for good; ``None`` for a supervised stage.
        terms: losses by key. Terms that need a teacher need one here.
        weights: a number or a schedule for each key of ``terms``.
        optimizer: ``parameters -> Optimizer``.
        scheduler: ``(optimizer, total_steps) -> LRScheduler``, stepped with the optimizer; ``None``: constant.
        log_every: steps over which the terms are averaged before they are logged.
        stored: whether batches bring what the teacher said of them, in its place.

    Attributes:
        predictions: after a test, a line of ``predictions.jsonl`` for each cut, ordered by cut.

    Raises:
        ValueError: a term is of another task, keys of ``terms`` and ``weights`` differ, a weight is no number, or a
            term needs a teacher and there is none.
    """

    #: The kinds of its terms: those of other tasks read what its steps do not have.
    takes: ClassVar[tuple[type[Term], ...]] = (Term,)

    def __init__(
        self,
        student: WaveformModel,
        teacher: WaveformModel | Ensemble | None,
        terms: Mapping[str, Term],
        weights: Mapping[str, float | Schedule],
        optimizer: Callable[..., Optimizer],
        scheduler: Callable[..., LRScheduler] | None = None,
        log_every: int = 10,
        stored: bool = False,
    ) -> None:
        super().__init__()
        if strangers := [key for key, term in terms.items() if not isinstance(term, self.takes)]:
            raise ValueError(
                f"the terms {strangers} are of another task than {type(self).__name__}: choose a transfer= of its own, "
                "or transfer=none"
            )
        if not terms or set(terms) != set(weights):
            raise ValueError(
                f"each term needs a weight under the same key: terms {sorted(terms)}, weights {sorted(weights)}"
            )
        if (
            teacher is None
            and not stored
            and (needy := [key for key, term in terms.items() if term.needs_teacher])
        ):
            raise ValueError(f"the terms {needy} need a teacher: set teacher.run, or take transfer=none")
        if isinstance(teacher, Ensemble) and (
            hinted := [k for k, term in terms.items() if term.teacher_paths]
        ):
            raise ValueError(
                f"the terms {hinted} read activations inside the teacher, and the members of an ensemble have no layer "
                "in common: name one run in teacher.run, or take a recipe of logits"
            )
        self.student = student
        self.teacher = teacher.requires_grad_(False).eval() if teacher is not None else None
        self.terms = nn.ModuleDict(terms)
        self.weights = {key: _schedule(key, weight) for key, weight in weights.items()}
        self.log_every = log_every
        self._optimizer = optimizer
        self._scheduler = scheduler
        self._logged: dict[str, Tensor] = {}
        self.predictions: list[dict[str, Any]] = []

    def run_networks(self, batch: Any) -> Step:
        """What student and teacher say of a batch; each task writes its own."""
        raise NotImplementedError

    def scoring(self) -> dict[str, Any]:
        """How a test was scored, where scores of another way do not compare."""
        return {}

    def intervals(self) -> dict[str, list[float]]:
        """95 % intervals of a test's metrics by key, from :attr:`predictions`; each task writes its own."""
        raise NotImplementedError

    def measured(self, datamodule: Any) -> tuple[tuple[Any, ...], float]:
        """What the student's costs are measured on: its arguments, and the seconds of audio that they stand for."""
        samples: int = datamodule.clip_samples
        return (torch.zeros(1, samples),), samples / float(datamodule.sample_rate)

    def part(self, step: Any, term: Term) -> Any:
        """What a term reads of a step: all of it, unless the step is of several tasks."""
        return step

    def size_terms(self, batch: Any) -> None:
        """Create projectors from the shapes of one dry batch, leaving weights and buffers of the student alone."""
        self.student.eval()
        with torch.no_grad():
            step = self.run_networks(batch)
        for term in self.terms.values():
            term.size(self.part(step, term))  # type: ignore[operator, arg-type]
        self.student.train()

    # One step

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.loss_of(self.run_networks(batch))

    def loss_of(self, step: Any, **beside: Tensor) -> Tensor:
        """The loss to differentiate; what is given ``beside`` is logged with the terms."""
        with torch.autocast(self.device.type, enabled=False):
            sums = {key: term(self.part(step, term)) for key, term in self.terms.items()}  # type: ignore[arg-type]
        loss, means = self.weigh(sums)
        self._log_terms({"loss": loss.detach(), **means, **beside})
        return loss

    def weigh(self, sums: Mapping[str, Summed]) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted loss to differentiate, and the mean of each term.

        Sums are divided by the counts of valid items over all ranks. DDP averages gradients over ranks, so each rank's
        part is scaled by their number: the gradient is that of one process with the whole batch.
        """
        counts = [summed.count for summed in sums.values()]
        ranks = self._trainer.world_size if self._trainer is not None else 1
        if ranks > 1:
            over_ranks = torch.stack(counts)
            torch.distributed.all_reduce(over_ranks)
            counts = list(over_ranks)
        progress = self.progress
        means = {
            key: summed.sum * (ranks / count.clamp(min=1.0))
            for (key, summed), count in zip(sums.items(), counts, strict=True)
        }
        loss = torch.stack([self.weights[key](progress) * mean for key, mean in means.items()]).sum()
        return loss, {key: mean.detach() for key, mean in means.items()}

    @property
    def progress(self) -> float:
        """Optimizer steps done over steps planned, in [0, 1]."""
        if self._trainer is None:
            return 0.0
        return min(1.0, self.trainer.global_step / max(1, self._total_steps))

    def _log_terms(self, values: Mapping[str, Tensor]) -> None:
        """Average terms over ``log_every`` steps in tensors: logging a value a step costs more than a small student.

        The line is written before the checkpoint of the same step, so a resumed run neither loses nor repeats it.
        """
        for key, value in values.items():
            self._logged[key] = self._logged[key] + value if key in self._logged else value
        step = self.trainer.global_step + 1
        if step % self.log_every:
            return
        sums = self._logged_over_ranks()
        named = {f"train/{key}": float(value) / self.log_every for key, value in sums.items()}
        named |= {f"weight/{key}": self.weights[key](self.progress) for key in self.terms}
        named["optimizer/lr"] = self.trainer.optimizers[0].param_groups[0]["lr"]
        for logger in self.trainer.loggers:
            logger.log_metrics(named, step=step)
        self.log("loss", named["train/loss"], prog_bar=True, logger=False)
        self._logged = {}

    def _logged_over_ranks(self) -> dict[str, Tensor]:
        """The sums since the last line, averaged over ranks."""
        ranks = self.trainer.world_size
        if ranks == 1 or not self._logged:
            return self._logged
        sums = torch.stack(list(self._logged.values()))
        torch.distributed.all_reduce(sums)
        return dict(zip(self._logged, sums / ranks, strict=True))

    def gathered(self, predictions: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The predictions of all ranks together, ordered by cut."""
        if self.trainer.world_size > 1:
            of_ranks: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(of_ranks, predictions)
            predictions = [line for of_rank in of_ranks for line in of_rank]
        return sorted(predictions, key=lambda line: str(line["cut"]))

    # The teacher stays as it is, or follows the student

    def train(self, mode: bool = True) -> Distiller:
        super().train(mode)
        if self.teacher is not None:
            self.teacher.eval()
        return self

    def is_fixed(self, key: str) -> bool:
        """Whether a tensor of the state is the teacher's and no step changes it; such are in no checkpoint."""
        return key.startswith("teacher.") and not isinstance(self.teacher, MovingAverage)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["state_dict"]
        for key in [key for key in state if self.is_fixed(key)]:
            del state[key]
        # Rank 0 writes for all: with the sums over ranks, each goes on with the same.
        checkpoint["logged_terms"] = self._logged = self._logged_over_ranks()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        own = self.state_dict()
        checkpoint["state_dict"] |= {key: tensor for key, tensor in own.items() if self.is_fixed(key)}
        self._logged = checkpoint["logged_terms"]

    # Optimisation

    def optimizer_step(self, *arguments: Any, **named: Any) -> None:
        super().optimizer_step(*arguments, **named)
        # Here, because checkpoints are written before the module's on_train_batch_end.
        if isinstance(self.teacher, MovingAverage):
            self.teacher.follow(self.student, self.trainer.global_step + 1)

    def configure_optimizers(self) -> Any:
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = self._optimizer(trained)
        self._total_steps = int(self.trainer.estimated_stepping_batches)
        if self._scheduler is None:
            return optimizer
        scheduler = self._scheduler(optimizer, total_steps=self._total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _schedule(key: str, weight: object) -> Schedule:
    """The weight of a term, constant where it is a number.

    Raises:
        ValueError: it is neither a number nor a schedule.
    """
    if isinstance(weight, int | float):
        return Constant(float(weight))
    if not callable(weight):
        raise ValueError(
            f"weights.{key}={weight} is no number, and no schedule of kd_lightning.distillers.weights"
        )
    return weight
