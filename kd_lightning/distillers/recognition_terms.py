"""Terms of speech recognition that learn token sequences: transcripts, or what a teacher said in their place.

Those that compare the student's output with the teacher's are in :mod:`kd_lightning.distillers.recognition_matching`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from kd_lightning.distillers.terms import Term
from kd_lightning.losses.ctc import consistency, ctc
from kd_lightning.losses.summed import Summed
from kd_lightning.models.padding import frame_mask
from kd_lightning.models.recognition_output import RecognitionOutput

# (token logits (B, U + 1, V), tokens (B, U), lengths (B,), labelled (B,)) -> Summed
TokenLoss = Callable[[Tensor, Tensor, Tensor, Tensor], Summed]


class Targets(NamedTuple):
    """Token sequences of a batch.

    Attributes:
        tokens: (B, U) int64, padded with 0.
        lengths: (B,) int64.
        labelled: (B,) bool, false where there is none to learn from.
        confidence: (B,) in [0, 1], how sure a teacher was of what it said; ``None`` for transcripts.
    """

    tokens: Tensor
    lengths: Tensor
    labelled: Tensor
    confidence: Tensor | None = None


class RecognitionStep(NamedTuple):
    """What one training step offers to the terms.

    Attributes:
        targets: the transcripts, in the student's tokens.
        student: what the student said; a decoder after :attr:`prefix`.
        teacher: what the teacher said of the same view, a decoder after the same prefix; ``None`` without one.
        student_taps: activations (B, ...) inside the student by module path.
        teacher_taps: activations (B, ...) inside the teacher by module path.
        hypotheses: what the teacher decoded, in the student's tokens; ``None`` if no term needs them.
        second_view: what the student said under other masks; ``None`` if no term needs it.
    """

    targets: Targets
    student: RecognitionOutput
    teacher: RecognitionOutput | None
    student_taps: Mapping[str, Tensor]
    teacher_taps: Mapping[str, Tensor]
    hypotheses: Targets | None = None
    second_view: RecognitionOutput | None = None

    @property
    def prefix(self) -> Targets:
        """The tokens that the decoders were given."""
        return decoder_prefix(self.targets, self.hypotheses)


def decoder_prefix(targets: Targets, hypotheses: Targets | None) -> Targets:
    """What attention decoders are given to continue: the transcript, or the hypothesis where that is hidden.

    Args:
        targets: (B, U) transcripts.
        hypotheses: (B, W) of the teacher; ``None`` without.

    Returns:
        (B, max(U, W)); labelled where one of the two is.
    """
    if hypotheses is None:
        return targets
    width = max(targets.tokens.shape[1], hypotheses.tokens.shape[1])
    said, heard = (
        functional.pad(side.tokens, (0, width - side.tokens.shape[1])) for side in (targets, hypotheses)
    )
    seen = targets.labelled
    return Targets(
        said.where(seen.unsqueeze(1), heard),
        targets.lengths.where(seen, hypotheses.lengths),
        seen | hypotheses.labelled,
    )


class RecognitionTerm(Term):
    """One loss of a recognition step, and what the step must offer for it."""

    needs_second_view = False
    needs_hypotheses = False

    def forward(self, step: RecognitionStep) -> Summed:
        raise NotImplementedError


class CTC(RecognitionTerm):
    """CTC of the transcripts (Graves et al. 2006); with a second view the mean of both (Yao et al. 2024).

    Raises:
        ValueError: in the first step, if the student has no CTC layer.
    """

    needs_teacher = False

    def forward(self, step: RecognitionStep) -> Summed:
        return _mean_ctc([frame_logits(view, "student") for view in _views(step)], step, step.targets)


class IntermediateCTC(RecognitionTerm):
    """The mean of CTC on lower layers (InterCTC).

    Lee & Watanabe, "Intermediate Loss Regularization for CTC-based Speech Recognition", ICASSP 2021, give it the weight
    0.3 and CTC 0.7.

    Raises:
        ValueError: in the first step, if the student has no CTC on lower layers.
    """

    needs_teacher = False

    def forward(self, step: RecognitionStep) -> Summed:
        return _mean_ctc(
            [logits for view in _views(step) for logits in lower_logits(view)], step, step.targets
        )


class ConsistencyCTC(RecognitionTerm):
    """How far the posteriors of two views of an utterance are apart (CR-CTC), with or without transcripts.

    Raises:
        ValueError: in the first step, if the student has no CTC layer.
    """

    needs_teacher = False
    needs_second_view = True

    def forward(self, step: RecognitionStep) -> Summed:
        assert step.second_view is not None
        first, second = (frame_logits(view, "student") for view in (step.student, step.second_view))
        return consistency(first, second, frame_mask(step.student.lengths, first.shape[1]))


class SequenceCTC(RecognitionTerm):
    """CTC of what the teacher said, in place of transcripts.

    Kim & Rush, "Sequence-Level Knowledge Distillation", EMNLP 2016. It asks nothing of the teacher but text: its
    tokens, its frame rate and its kind do not matter. Utterances with a transcript count too, wherever there is a
    hypothesis.

    Args:
        confidence: hypotheses of which the teacher was less sure are left out; 0 keeps all.

    Raises:
        ValueError: in the first step, if there are no hypotheses, or no confidence to filter by, or if the student has
            no CTC layer.
    """

    needs_hypotheses = True

    def __init__(self, confidence: float = 0.0) -> None:
        super().__init__()
        self.confidence = confidence

    def forward(self, step: RecognitionStep) -> Summed:
        trusted = _trusted(step, self.confidence)
        return _mean_ctc([frame_logits(view, "student") for view in _views(step)], step, trusted)


class TokenCrossEntropy(RecognitionTerm):
    """A loss of an attention decoder's tokens and the transcripts.

    Args:
        loss: ``(token logits (B, U + 1, V), tokens (B, U), lengths (B,), labelled (B,)) -> Summed``, of
            :mod:`kd_lightning.losses.tokens`.

    Raises:
        ValueError: in the first step, if the student has no decoder.
    """

    needs_teacher = False

    def __init__(self, loss: TokenLoss) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, step: RecognitionStep) -> Summed:
        given = step.prefix
        return self.loss(
            token_logits(step.student, "student"), given.tokens, given.lengths, step.targets.labelled
        )


class SequenceTokens(RecognitionTerm):
    """A loss of an attention decoder's tokens and what the teacher said, where the transcript is hidden.

    A decoder continues one prefix an utterance, the transcript where it is known. To learn from hypotheses alone, hide
    all transcripts: ``corpus.labelled_fraction=0``.

    Args:
        loss: see :class:`TokenCrossEntropy`.
        confidence: see :class:`SequenceCTC`.

    Raises:
        ValueError: in the first step, if there are no hypotheses, or no confidence to filter by, or if the student has
            no decoder.
    """

    needs_hypotheses = True

    def __init__(self, loss: TokenLoss, confidence: float = 0.0) -> None:
        super().__init__()
        self.loss = loss
        self.confidence = confidence

    def forward(self, step: RecognitionStep) -> Summed:
        learnt = _trusted(step, self.confidence).labelled & ~step.targets.labelled
        given = step.prefix
        return self.loss(token_logits(step.student, "student"), given.tokens, given.lengths, learnt)


def frame_logits(output: RecognitionOutput, role: str) -> Tensor:
    """The scores (B, frames, V) of a network's CTC layer.

    Args:
        output: of the network.
        role: ``student`` or ``teacher``.

    Raises:
        ValueError: it has none.
    """
    if output.logits is None:
        raise ValueError(
            f"a term reads frames of a CTC layer and the {role} has none: choose another {role}, or a recipe that "
            "fits (transfer=sequence learns from what any teacher said; the attention_ recipes are for decoders)"
        )
    return output.logits


def lower_logits(output: RecognitionOutput) -> tuple[Tensor, ...]:
    """The scores (B, frames, V) that the student's CTC gives to lower layers.

    Raises:
        ValueError: there are none.
    """
    if not output.intermediate:
        raise ValueError(
            "a term reads CTC on lower layers and the student has none: name them in student.network "
            "(intermediate_layers), or leave the term out"
        )
    return output.intermediate


def token_logits(output: RecognitionOutput, role: str) -> Tensor:
    """The scores (B, U + 1, V) of a network's attention decoder.

    Args:
        output: of the network.
        role: ``student`` or ``teacher``.

    Raises:
        ValueError: it has no decoder.
    """
    if output.token_logits is None:
        raise ValueError(
            f"a term reads the tokens of an attention decoder and the {role} has none: choose another {role}, or a "
            "recipe that fits (transfer=sequence learns from what any teacher said; the ctc_ recipes are for CTC)"
        )
    return output.token_logits


def _views(step: RecognitionStep) -> list[RecognitionOutput]:
    return [step.student] if step.second_view is None else [step.student, step.second_view]


def _mean_ctc(heads: list[Tensor], step: RecognitionStep, targets: Targets) -> Summed:
    """The mean over layers and views, which have the same frames and so the same count."""
    losses = [
        ctc(logits, step.student.lengths, targets.tokens, targets.lengths, targets.labelled)
        for logits in heads
    ]
    return Summed(torch.stack([summed.sum for summed in losses]).mean(), losses[0].count)


def _trusted(step: RecognitionStep, confidence: float) -> Targets:
    """The hypotheses, less those of which the teacher was not sure enough."""
    heard = step.hypotheses
    if heard is None:
        raise ValueError(
            "a term learns from what the teacher said and the batch brings nothing of it: take a teacher that decodes, "
            "or store its hypotheses (kd_lightning.label)"
        )
    if confidence <= 0:
        return heard
    if heard.confidence is None:
        raise ValueError(
            f"confidence={confidence} of a transfer term: these hypotheses came without one; set confidence=0"
        )
    return heard._replace(labelled=heard.labelled & (heard.confidence >= confidence))
