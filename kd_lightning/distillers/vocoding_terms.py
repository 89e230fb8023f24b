"""Terms of vocoding, mel to waveform: what each weighted loss reads of a step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from kd_lightning.distillers.critic import Critic
from kd_lightning.distillers.terms import Term
from kd_lightning.losses.summed import Summed
from kd_lightning.models.flow_output import FlowOutput

# (said (B, T), wanted (B, T), samples (B,)) -> Summed
SpectralLoss = Callable[[Tensor, Tensor, Tensor], Summed]


class VocodingStep(NamedTuple):
    """What one training step offers to the terms.

    Attributes:
        waveform: (B, T) the recordings.
        samples: (B,) int64, samples of each that are not padding.
        labelled: (B,) bool, whether the recording may be seen; the mel always is.
        student: (B, T) what the student makes of the mel; ``None`` if no term asks.
        teacher: (B, T) what the teacher makes of it; ``None`` without one.
        flow: what a flow makes of the recordings; ``None`` if no term asks.
        critic: tells recordings from the student's; ``None`` without one.
        student_taps: activations (B, ...) inside the student by module path.
        teacher_taps: activations (B, ...) inside the teacher by module path.
    """

    waveform: Tensor
    samples: Tensor
    labelled: Tensor
    student: Tensor | None
    teacher: Tensor | None
    flow: FlowOutput | None
    critic: Critic | None
    student_taps: Mapping[str, Tensor]
    teacher_taps: Mapping[str, Tensor]


class VocodingTerm(Term):
    """One loss of a vocoding step, and what the step must offer for it."""

    needs_teacher = False
    needs_speech = True
    needs_flow = False
    needs_critic = False

    def forward(self, step: VocodingStep) -> Summed:
        raise NotImplementedError


class SpectrumTerm(VocodingTerm):
    """A loss of two waveforms.

    Args:
        loss: ``(said (B, T), wanted (B, T), samples (B,)) -> Summed``; a frontend that a partial one holds goes
            with the term to its device.
    """

    def __init__(self, loss: SpectralLoss) -> None:
        super().__init__()
        self.loss = loss
        held = loss.keywords.values() if isinstance(loss, partial) else ()
        self.held = nn.ModuleList(part for part in held if isinstance(part, nn.Module))


class RecordedSpectrum(SpectrumTerm):
    """The student against the recordings."""

    def forward(self, step: VocodingStep) -> Summed:
        assert step.student is not None
        rows = step.labelled.nonzero().squeeze(1)
        return self.loss(step.student[rows], step.waveform[rows], step.samples[rows])


class TaughtSpectrum(SpectrumTerm):
    """The student against the teacher, who speaks from the same mel.

    The recordings belong beside it: a vocoder that hears its teacher alone learns the teacher's artefacts.
    """

    needs_teacher = True

    def forward(self, step: VocodingStep) -> Summed:
        assert step.student is not None
        assert step.teacher is not None
        return self.loss(step.student, step.teacher, step.samples)


class FlowLikelihood(VocodingTerm):
    """The likelihood that a flow gives the recordings.

    Args:
        loss: ``(z, log determinant (B,), samples (B,)) -> Summed``.
    """

    needs_speech = False
    needs_flow = True

    def __init__(self, loss: Callable[[Tensor, Tensor, Tensor], Summed]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, step: VocodingStep) -> Summed:
        assert step.flow is not None
        rows = step.labelled.nonzero().squeeze(1)
        return self.loss(step.flow.z[rows], step.flow.log_determinant[rows], step.flow.samples[rows])


class Adversarial(VocodingTerm):
    """How far the critic is from taking the student for a recording.

    Args:
        loss: ``scores of the student's -> Summed``, of one discriminator.
    """

    needs_critic = True

    def __init__(self, loss: Callable[[Tensor], Summed]) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, step: VocodingStep) -> Summed:
        assert step.critic is not None
        assert step.student is not None
        return step.critic.judged(step.student, self.loss)


class FeatureMatching(VocodingTerm):
    """The critic's features of the student's against those of the recordings, or of the teacher's.

    Args:
        loss: ``(features of one, features of the other) -> Summed``, of one discriminator.
        of: "recording" or "teacher".
    """

    needs_critic = True

    def __init__(self, loss: Callable[..., Summed], of: str = "recording") -> None:
        super().__init__()
        if of not in ("recording", "teacher"):
            raise ValueError(f"of={of}: features are matched to those of the recording or of the teacher")
        self.loss, self.of = loss, of
        self.needs_teacher = of == "teacher"

    def forward(self, step: VocodingStep) -> Summed:
        assert step.critic is not None
        assert step.student is not None
        if self.of == "teacher":
            assert step.teacher is not None
            return step.critic.compared(step.student, step.teacher, self.loss)
        rows = step.labelled.nonzero().squeeze(1)
        return step.critic.compared(step.student[rows], step.waveform[rows], self.loss)
