"""Word and character error rates: jiwer aligns, counts are summed, and only sums are divided.

Utterances of one speaker are not independent, so intervals resample speakers. A rate is a ratio of sums,
sum(errors) / sum(words of the references), in every resample as in the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jiwer
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from kd_lightning.frontend.text import joined, scoring_form
from kd_lightning.metrics.intervals import (
    RESAMPLES,
    Estimate,
    gap_recovered,
    resampled_means,
    tail_probability,
)


class Edits(NamedTuple):
    """What turns a reference into an output, in words or in characters. Edits add up: ``sum(edits, Edits())``.

    Attributes:
        substitutions: said so, recognised otherwise.
        deletions: said, not recognised.
        insertions: recognised, not said.
        hits: recognised as said.
    """

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    hits: int = 0

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def reference(self) -> int:
        """Words (or characters) of the reference."""
        return self.substitutions + self.deletions + self.hits

    @property
    def rate(self) -> float:
        """Errors per word of the reference. Where the references hold no word it is the number of insertions."""
        return self.errors / max(1, self.reference)

    def __add__(self, other: Edits) -> Edits:  # type: ignore[override]  # tuples would be joined
        return Edits(*(one + another for one, another in zip(self, other, strict=True)))


class Slot(NamedTuple):
    """One place of an alignment of several outputs with one reference.

    Attributes:
        reference: the word that was said; ``None`` where some output inserts one.
        outputs: the word of each output, ``None`` where it has none.
    """

    reference: str | None
    outputs: tuple[str | None, ...]


def word_edits(references: Sequence[str], outputs: Sequence[str]) -> list[Edits]:
    """Edits of the words of each utterance. Beside an empty reference every word is an insertion.

    Args:
        references: what was said, in :func:`~kd_lightning.frontend.text.scoring_form`.
        outputs: what was recognised, in the same form.

    Raises:
        ValueError: not one output for each reference.
    """
    _require_pairs(references, outputs)
    return [_edits(chunks) for chunks in jiwer.process_words(list(references), list(outputs)).alignments]


def character_edits(references: Sequence[str], outputs: Sequence[str]) -> list[Edits]:
    """Edits of the characters of each utterance, spaces between words counted as jiwer does.

    Scripts without spaces (Chinese) have none here either, though their scoring form separates characters.

    Args:
        references: what was said, in the scoring form.
        outputs: what was recognised, in the same form.

    Raises:
        ValueError: not one output for each reference.
    """
    _require_pairs(references, outputs)
    texts = [joined(text) for text in references], [joined(text) for text in outputs]
    return [_edits(chunks) for chunks in jiwer.process_characters(*texts).alignments]


class WordErrors(Metric):
    """Error rates over batches and ranks: counts are summed, then divided.

    Update with (references, outputs), lists of texts in any spelling: both are brought into the scoring form. Computes
    ``wer`` and ``cer``, and the parts of ``wer``: ``substitutions``, ``deletions``, ``insertions`` per word.

    Args:
        language: code or Common Voice locale of the texts.
    """

    full_state_update = False
    words: Tensor
    characters: Tensor

    def __init__(self, language: str) -> None:
        super().__init__()
        self.language = language
        for name in ("words", "characters"):
            self.add_state(name, torch.zeros(4, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, references: Sequence[str], outputs: Sequence[str]) -> None:
        """Count a batch.

        Raises:
            ValueError: not one output for each reference.
        """
        said = [scoring_form(text, self.language) for text in references]
        heard = [scoring_form(text, self.language) for text in outputs]
        self.words += self.words.new_tensor(sum(word_edits(said, heard), Edits()))
        self.characters += self.characters.new_tensor(sum(character_edits(said, heard), Edits()))

    def compute(self) -> dict[str, Tensor]:
        """Rates as float32 scalars; 0.1 is ten per cent."""
        words, characters = Edits(*self.words.tolist()), Edits(*self.characters.tolist())
        length = max(1, words.reference)
        rates = {
            "wer": words.rate,
            "cer": characters.rate,
            "substitutions": words.substitutions / length,
            "deletions": words.deletions / length,
            "insertions": words.insertions / length,
        }
        return {key: torch.tensor(rate, device=self.words.device) for key, rate in rates.items()}


def rate_interval(
    edits: Sequence[Edits],
    speakers: Sequence[str],
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """The error rate of a test set with its interval over speakers.

    Args:
        edits: one an utterance.
        speakers: one an utterance.
        level: coverage, in (0, 1).
        resamples: how many bootstrap samples.
        seed: makes the draw repeatable.

    Raises:
        ValueError: when there is no utterance, or not one speaker an utterance.
    """
    errors, lengths = _errors(edits), _lengths(edits)
    return _ratio(errors, lengths, speakers, level, resamples, seed)


def rate_difference(
    a: Sequence[Edits],
    b: Sequence[Edits],
    speakers: Sequence[str],
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Difference rate(a) - rate(b) of two runs on the same utterances, with its paired interval over speakers.

    Below zero, ``a`` makes fewer errors.

    Args:
        a: one an utterance, of the first run.
        b: the same utterances, in the same order, of the second.
        speakers: one an utterance.
        level: coverage, in (0, 1).
        resamples: how many bootstrap samples.
        seed: makes the draw repeatable.

    Raises:
        ValueError: when the references differ in length, or there is no utterance.
    """
    _require_same_references(a, b)
    return _ratio(_errors(a) - _errors(b), _lengths(a), speakers, level, resamples, seed)


def rate_gap_recovered(
    student: Sequence[Edits],
    baseline: Sequence[Edits],
    teacher: Sequence[Edits],
    speakers: Sequence[str],
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate | None:
    """Share of the gap in error rate between baseline and teacher that the student closed.

    (baseline - student) / (baseline - teacher): all three have the same references, so their lengths cancel in every
    resample, and the share is one of error counts.

    Args:
        student: one an utterance.
        baseline: the same utterances of the student trained alone.
        teacher: the same utterances of the teacher.
        speakers: one an utterance.
        level: coverage, in (0, 1).
        resamples: how many bootstrap samples.
        seed: makes the draw repeatable.

    Returns:
        The share (1 is the whole gap), or ``None`` unless the interval of baseline - teacher lies above zero.

    Raises:
        ValueError: when the references differ in length, or there is no utterance.
    """
    _require_same_references(student, baseline)
    _require_same_references(teacher, baseline)
    errors = (-_errors(student), -_errors(baseline), -_errors(teacher))
    return gap_recovered(*errors, speakers, level, resamples, seed)


def align(reference: str, outputs: Sequence[str]) -> list[Slot]:
    """Several outputs beside one reference, word by word, as a report shows them.

    Words that several outputs insert at the same place share slots, from the left.

    Args:
        reference: what was said, in the scoring form.
        outputs: what each network recognised, in the same form.
    """
    said = reference.split()
    places: list[list[str | None]] = []  # by output: the word in each word's place
    between: list[list[list[str]]] = []  # by output and gap: the words that it inserts
    for output in outputs:
        heard = output.split()
        placed: list[str | None] = [None] * len(said)
        inserted: list[list[str]] = [[] for _ in range(len(said) + 1)]
        for chunk in jiwer.process_words([reference], [output]).alignments[0]:
            found = heard[chunk.hyp_start_idx : chunk.hyp_end_idx]
            if chunk.type == "insert":
                inserted[chunk.ref_start_idx] += found
            elif chunk.type != "delete":
                placed[chunk.ref_start_idx : chunk.ref_end_idx] = found
        places.append(placed)
        between.append(inserted)
    slots: list[Slot] = []
    for gap in range(len(said) + 1):
        added = [inserted[gap] for inserted in between]
        for number in range(max(map(len, added), default=0)):
            slots.append(Slot(None, tuple(one[number] if number < len(one) else None for one in added)))
        if gap < len(said):
            slots.append(Slot(said[gap], tuple(placed[gap] for placed in places)))
    return slots


def _edits(chunks: Sequence[jiwer.AlignmentChunk]) -> Edits:
    counts = {"substitute": 0, "delete": 0, "insert": 0, "equal": 0}
    for chunk in chunks:
        # Only an insertion has no words in the reference.
        words = chunk.ref_end_idx - chunk.ref_start_idx or chunk.hyp_end_idx - chunk.hyp_start_idx
        counts[chunk.type] += words
    return Edits(*counts.values())


def _errors(edits: Sequence[Edits]) -> NDArray[np.float64]:
    return np.array([one.errors for one in edits], dtype=np.float64)


def _lengths(edits: Sequence[Edits]) -> NDArray[np.float64]:
    return np.array([one.reference for one in edits], dtype=np.float64)


def _ratio(
    errors: NDArray[np.float64],
    lengths: NDArray[np.float64],
    speakers: Sequence[str],
    level: float,
    resamples: int,
    seed: int,
) -> Estimate:
    """sum(errors) / sum(lengths) with its interval; a draw without any word of reference divides by one."""
    means, groups = resampled_means(np.column_stack([errors, lengths]), speakers, resamples, seed)
    value = float(errors.sum() / max(1.0, lengths.sum()))
    if groups < 2:
        return Estimate(value, np.nan, np.nan)
    tail = tail_probability(groups, level)
    rates = means[:, 0] / np.where(means[:, 1] > 0, means[:, 1], 1.0)
    low, high = np.quantile(rates, [tail, 1 - tail], method="nearest")
    return Estimate(value, float(low), float(high))


def _require_pairs(references: Sequence[str], outputs: Sequence[str]) -> None:
    if len(references) != len(outputs):
        raise ValueError(f"{len(references)} references and {len(outputs)} outputs: give one output for each")


def _require_same_references(a: Sequence[Edits], b: Sequence[Edits]) -> None:
    if [one.reference for one in a] != [other.reference for other in b]:
        raise ValueError("two runs compare on the same utterances only: their references differ in length")
