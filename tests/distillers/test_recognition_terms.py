"""What the terms on token sequences read of a step: transcripts, hypotheses, views."""

import pytest
import torch
from recognition_steps import (
    HYPOTHESES,
    LENGTHS,
    SECOND_VIEW,
    STUDENT,
    TRANSCRIPTS,
    step,
)
from torch import Tensor

from kd_lightning.distillers.recognition_terms import (
    CTC,
    ConsistencyCTC,
    IntermediateCTC,
    RecognitionTerm,
    SequenceCTC,
    SequenceTokens,
    Targets,
    TokenCrossEntropy,
    decoder_prefix,
)
from kd_lightning.losses.ctc import consistency, ctc
from kd_lightning.losses.summed import Summed


def ctc_of(logits: Tensor | None, targets: Targets = TRANSCRIPTS) -> Summed:
    assert logits is not None
    return ctc(logits, LENGTHS, targets.tokens, targets.lengths, targets.labelled)


def mean(*losses: Summed) -> Summed:
    return Summed(torch.stack([loss.sum for loss in losses]).mean(), losses[0].count)


def negative_log_likelihood(logits: Tensor, tokens: Tensor, lengths: Tensor, labelled: Tensor) -> Summed:
    """Of the tokens and the end after them, one by one in float64."""
    scores = [
        -logits[i, u].double().log_softmax(dim=0)[tokens[i, u] if u < lengths[i] else 0]
        for i in range(len(tokens))
        for u in range(int(lengths[i]) + 1)
        if labelled[i]
    ]
    return Summed(torch.stack([torch.tensor(0.0).double(), *scores]).sum(), torch.tensor(float(len(scores))))


def test_ctc_is_of_the_transcripts_and_of_both_views_where_there_are_two() -> None:
    torch.testing.assert_close(CTC()(step()), ctc_of(STUDENT.logits))
    assert CTC()(step()).count == 2
    both = mean(ctc_of(STUDENT.logits), ctc_of(SECOND_VIEW.logits))
    torch.testing.assert_close(CTC()(step(second_view=SECOND_VIEW)), both)


def test_intermediate_ctc_is_the_mean_over_lower_layers_and_views() -> None:
    heads = STUDENT.intermediate
    torch.testing.assert_close(IntermediateCTC()(step()), mean(*map(ctc_of, heads)))
    every = mean(*map(ctc_of, (*heads, *SECOND_VIEW.intermediate)))
    torch.testing.assert_close(IntermediateCTC()(step(second_view=SECOND_VIEW)), every)


def test_consistency_needs_no_transcript_and_counts_valid_frames() -> None:
    assert STUDENT.logits is not None
    assert SECOND_VIEW.logits is not None
    valid = torch.arange(6) < LENGTHS[:, None]
    summed = ConsistencyCTC()(step(second_view=SECOND_VIEW))
    torch.testing.assert_close(summed, consistency(STUDENT.logits, SECOND_VIEW.logits, valid))
    assert summed.count == LENGTHS.sum() == 18


def test_hypotheses_take_the_place_of_transcripts() -> None:
    torch.testing.assert_close(SequenceCTC()(step()), ctc_of(STUDENT.logits, HYPOTHESES))
    assert SequenceCTC()(step()).count == 3
    sure = HYPOTHESES._replace(labelled=torch.tensor([True, False, True, False]))
    torch.testing.assert_close(SequenceCTC(confidence=0.5)(step()), ctc_of(STUDENT.logits, sure))
    assert SequenceCTC(confidence=0.5)(step()).count == 2


def test_decoders_continue_the_transcript_or_the_hypothesis_where_it_is_hidden() -> None:
    given = step().prefix
    assert given.tokens.tolist() == [[1, 2, 0], [3, 0, 0], [2, 1, 4], [3, 0, 0]]
    assert given.lengths.tolist() == [2, 1, 3, 1]
    assert given.labelled.tolist() == [True, True, True, False]
    assert step(hypotheses=None).prefix == TRANSCRIPTS
    short = HYPOTHESES._replace(tokens=HYPOTHESES.tokens[:, :1], lengths=HYPOTHESES.lengths.clamp(max=1))
    assert decoder_prefix(TRANSCRIPTS, short).tokens.tolist() == [[1, 2], [3, 0], [2, 0], [3, 0]]


def test_each_token_is_learnt_from_one_source() -> None:
    logits = STUDENT.token_logits
    assert logits is not None
    given = step().prefix
    seen = TokenCrossEntropy(negative_log_likelihood)(step())
    shown = torch.tensor([True, True, False, False])
    assert seen == negative_log_likelihood(logits, given.tokens, given.lengths, shown)
    assert seen.count == (2 + 1) + (1 + 1)
    heard = SequenceTokens(negative_log_likelihood)(step())
    third = torch.tensor([False, False, True, False])
    assert heard == negative_log_likelihood(logits, given.tokens, given.lengths, third)
    assert heard.count == 3 + 1
    assert SequenceTokens(negative_log_likelihood, confidence=0.75)(step()).count == 0


def test_the_distiller_can_ask_what_a_step_must_offer() -> None:
    token_terms = [TokenCrossEntropy(negative_log_likelihood), SequenceTokens(negative_log_likelihood)]
    terms: list[RecognitionTerm] = [CTC(), IntermediateCTC(), ConsistencyCTC(), SequenceCTC(), *token_terms]
    assert [term.needs_teacher for term in terms] == [False, False, False, True, False, True]
    assert [term.needs_second_view for term in terms] == [False, False, True, False, False, False]
    assert [term.needs_hypotheses for term in terms] == [False, False, False, True, False, True]


def test_what_a_network_or_a_batch_lacks_is_said() -> None:
    no_frames, no_tokens = STUDENT._replace(logits=None), STUDENT._replace(token_logits=None)
    for term in (CTC(), SequenceCTC()):
        with pytest.raises(ValueError, match=r"CTC layer and the student has none: .*transfer=sequence"):
            term(step(no_frames))
    with pytest.raises(ValueError, match=r"name them in student\.network"):
        IntermediateCTC()(step(STUDENT._replace(intermediate=())))
    for term in (TokenCrossEntropy(negative_log_likelihood), SequenceTokens(negative_log_likelihood)):
        with pytest.raises(ValueError, match=r"attention decoder and the student has none: .*ctc_"):
            term(step(no_tokens))
    for term in (SequenceCTC(), SequenceTokens(negative_log_likelihood)):
        with pytest.raises(ValueError, match=r"brings nothing of it: .*kd_lightning\.label"):
            term(step(hypotheses=None))
    with pytest.raises(ValueError, match=r"confidence=0\.5 of a transfer term: .* set confidence=0"):
        SequenceCTC(confidence=0.5)(step(hypotheses=HYPOTHESES._replace(confidence=None)))
