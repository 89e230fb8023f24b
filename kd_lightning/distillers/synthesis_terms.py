"""Terms of speech synthesis, text to mel: what each weighted loss reads of a step.

A row of a batch is to be spoken as in its recording or as the teacher speaks it (:attr:`SynthesisStep.taught`). What an
utterance must sound like is a term for recordings and one for the teacher, each with a weight of its own; how a decoder
has to go through a sentence is the same for both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from kd_lightning.distillers.terms import Term
from kd_lightning.losses.summed import Summed
from kd_lightning.models.acoustic_output import AcousticOutput, Recorded, Sentences
from kd_lightning.models.padding import frame_mask

# (said (B, bins, frames), wanted (B, bins, frames), frames (B,)) -> Summed
MelLoss = Callable[[Tensor, Tensor, Tensor], Summed]


class SynthesisStep(NamedTuple):
    """What one training step offers to the terms.

    Attributes:
        sentences: what is to be said.
        target: how; also what the decoders were given.
        taught: (B,) bool, whether the target is what the teacher said; the others are recordings.
        student: what the student said, after the target.
        teacher: what the teacher said after the target; ``None`` if no term asks.
        free: what the student said freely, in as many steps; ``None`` if no term asks.
    """

    sentences: Sentences
    target: Recorded
    taught: Tensor
    student: AcousticOutput
    teacher: AcousticOutput | None = None
    free: AcousticOutput | None = None

    def only(self, kept: Tensor) -> SynthesisStep:
        """The step of the rows that ``kept`` (B,) bool marks, maybe of none."""
        rows = kept.nonzero().squeeze(1)
        if len(rows) == len(kept):
            return self
        return SynthesisStep(
            self.sentences.rows(rows),
            self.target.rows(rows),
            self.taught[rows],
            _rows_of(self.student, rows),
            None if self.teacher is None else _rows_of(self.teacher, rows),
            None if self.free is None else _rows_of(self.free, rows),
        )


class SynthesisTerm(Term):
    """One loss of a synthesis step, and what the step must offer for it."""

    needs_teacher = False
    needs_taught = False
    needs_forced = False
    needs_free = False
    takes_durations = False  # where they are known
    needs_durations = False
    needs_prosody = False

    def forward(self, step: SynthesisStep) -> Summed:
        raise NotImplementedError


class RecordedMel(SynthesisTerm):
    """What was recorded: a loss of the mel, and of the mel before the postnet where there is one.

    Args:
        loss: ``(said (B, bins, frames), wanted (B, bins, frames), frames (B,)) -> Summed``.
    """

    def __init__(self, loss: MelLoss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, step: SynthesisStep) -> Summed:
        return _mels(step, ~step.taught, self.loss)


class TaughtMel(SynthesisTerm):
    """What the teacher said, in place of a recording; the arguments are those of :class:`RecordedMel`."""

    needs_teacher = True
    needs_taught = True

    def __init__(self, loss: MelLoss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, step: SynthesisStep) -> Summed:
        return _mels(step, step.taught, self.loss)


class Stop(SynthesisTerm):
    """When the decoder has to stop.

    Args:
        loss: ``(stop logits (B, S), steps (B,)) -> Summed``.
    """

    def __init__(self, loss: Callable[[Tensor, Tensor], Summed]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, step: SynthesisStep) -> Summed:
        return self.loss(_there(step.student.stop_logits, "stop_logits"), _steps(step))


class GuidedAttention(SynthesisTerm):
    """Attention near the diagonal.

    Args:
        loss: ``(attention (B, S, U), tokens (B,), steps (B,)) -> Summed``.
    """

    def __init__(self, loss: Callable[[Tensor, Tensor, Tensor], Summed]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, step: SynthesisStep) -> Summed:
        attention = _there(step.student.attention, "attention")
        return self.loss(attention, step.sentences.lengths, _steps(step))


class AttentionDurations(SynthesisTerm):
    """Attention where the durations say that each token is spoken; nothing where nobody knows them.

    Args:
        loss: ``(attention (B, S, U), durations (B, U), frames (B,), frames_per_step) -> Summed``.
    """

    takes_durations = True

    def __init__(self, loss: Callable[[Tensor, Tensor, Tensor, int], Summed]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, step: SynthesisStep) -> Summed:
        attention, durations = _there(step.student.attention, "attention"), step.target.durations
        if durations is None:
            return Summed(attention.new_zeros(()), attention.new_zeros(()))
        return self.loss(attention, durations, step.target.frames, step.student.frames_per_step)


class Durations(SynthesisTerm):
    """How long each token is.

    Args:
        loss: ``(said ln(1 + frames) (B, U), durations (B, U), tokens (B,)) -> Summed``.
    """

    needs_durations = True

    def __init__(self, loss: Callable[[Tensor, Tensor, Tensor], Summed]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, step: SynthesisStep) -> Summed:
        said = _there(step.student.log_durations, "log_durations")
        return self.loss(said, _there(step.target.durations, "durations"), step.sentences.lengths)


class Prosody(SynthesisTerm):
    """How high, or how loud, each token is in the recordings.

    Args:
        of: "pitch" or "energy".
        loss: ``(said (B, U), wanted (B, U), tokens (B,)) -> Summed``.
    """

    needs_durations = True
    needs_prosody = True

    def __init__(self, of: str, loss: Callable[[Tensor, Tensor, Tensor], Summed]) -> None:
        super().__init__()
        self.of, self.loss = of, loss

    def forward(self, step: SynthesisStep) -> Summed:
        rows = (~step.taught).nonzero().squeeze(1)
        said, wanted = (_there(getattr(side, self.of), self.of) for side in (step.student, step.target))
        return self.loss(said[rows], wanted[rows], step.sentences.lengths[rows])


class AlignmentMatching(SynthesisTerm):
    """The student's attention against the teacher's, both after the target.

    Args:
        loss: ``(student (B, S, U), teacher (B, S', U), tokens (B,), frames (B,), frames a step of the student, of the
            teacher) -> Summed``.
    """

    needs_teacher = True
    needs_forced = True

    def __init__(self, loss: Callable[..., Summed]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, step: SynthesisStep) -> Summed:
        assert step.teacher is not None
        return self.loss(
            _there(step.student.attention, "attention"),
            _there(step.teacher.attention, "attention"),
            step.sentences.lengths,
            step.target.frames,
            step.student.frames_per_step,
            step.teacher.frames_per_step,
        )


class FreeStates(SynthesisTerm):
    """States of the student's decoder, running freely, against the teacher's that hears the recording.

    A decoder learns to go on from its own frames as one that never errs (Liu et al., "Teacher-Student Training for
    Robust Tacotron-Based TTS", ICASSP 2020).

    Args:
        loss: ``(student (N, D), teacher (N, D)) -> Summed`` over the valid steps.
    """

    needs_teacher = True
    needs_forced = True
    needs_free = True

    def __init__(self, loss: Callable[[Tensor, Tensor], Summed]) -> None:
        super().__init__()
        self.loss = loss
        self.projector: nn.Module = nn.Identity()

    @property
    def is_sized(self) -> bool:
        return True

    def size(self, step: SynthesisStep) -> None:
        ours, theirs = self._states(step)
        if ours.shape[2] != theirs.shape[2]:
            self.projector = nn.Linear(ours.shape[2], theirs.shape[2])

    def forward(self, step: SynthesisStep) -> Summed:
        ours, theirs = self._states(step)
        # The target may be padded further than the longest of its utterances, and a free decoder stops there.
        valid, told = (frame_mask(_steps(step), states.shape[1]) for states in (ours, theirs))
        return self.loss(self.projector(ours[valid]), theirs[told])

    def _states(self, step: SynthesisStep) -> tuple[Tensor, Tensor]:
        assert step.teacher is not None
        assert step.free is not None
        ours, theirs = (_there(side.hidden, "hidden").float() for side in (step.free, step.teacher))
        if step.student.frames_per_step != step.teacher.frames_per_step:
            raise ValueError(
                f"the student takes steps of {step.student.frames_per_step} frames and the teacher of "
                f"{step.teacher.frames_per_step}: their states compare only at the same frames_per_step"
            )
        return ours, theirs


def _mels(step: SynthesisStep, kept: Tensor, loss: MelLoss) -> Summed:
    """The loss of the finished mel, and of the coarse one, of the rows that ``kept`` (B,) bool marks."""
    rows = kept.nonzero().squeeze(1)
    wanted, frames = step.target.mel[rows], step.target.frames[rows]
    finished = loss(step.student.mel[rows], wanted, frames)
    if step.student.coarse is None:
        return finished
    coarse = loss(step.student.coarse[rows], wanted, frames)
    return Summed(finished.sum + coarse.sum, finished.count)


def _steps(step: SynthesisStep) -> Tensor:
    """(B,) steps of the student's decoder that its target takes."""
    per_step = step.student.frames_per_step
    return (step.target.frames + per_step - 1) // per_step


def _there(value: Tensor | None, name: str) -> Tensor:
    if value is None:
        raise ValueError(
            f"a term reads {name}, and the network or the corpus has none: choose the terms for this kind of network, "
            "distiller=synthesis_decoder for one with a decoder, distiller=synthesis for a feed-forward one"
        )
    return value


def _rows_of(output: AcousticOutput, rows: Tensor) -> AcousticOutput:
    picked = {name: part[rows] for name, part in output._asdict().items() if isinstance(part, Tensor)}
    return output._replace(**picked)  # type: ignore[arg-type]  # numbers are no tensors
