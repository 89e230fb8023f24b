"""Terms that compare what two recognisers say: only of the same tokens, in the same order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kd_lightning.distillers.recognition_terms import RecognitionTerm
from kd_lightning.teachers.finished_run import some


def compares_scores(term: RecognitionTerm) -> bool:
    """Whether a term reads the teacher's scores of tokens: neither its text alone nor what lies inside it."""
    return term.needs_teacher and not (term.needs_hypotheses or term.teacher_paths)


def require_shared_tokens(
    terms: Iterable[RecognitionTerm], classes: Sequence[str], pieces: Sequence[str]
) -> None:
    """Refuse terms that compare scores of different tokens.

    Args:
        terms: of a recipe.
        classes: the student's tokens, which are those of the corpus.
        pieces: the teacher's.

    Raises:
        ValueError: says what the teacher lacks and has besides.
    """
    if list(classes) == list(pieces) or not any(map(compares_scores, terms)):
        return
    lacks, extra = sorted(set(classes) - set(pieces)), sorted(set(pieces) - set(classes))
    differ = f"it lacks {some(lacks)} and has {some(extra)} besides" if lacks or extra else "another order"
    raise ValueError(
        "a transfer term compares what the teacher says of each token, and its tokens are not those of the corpus: "
        f"{differ}; take transfer=sequence, which learns from the teacher's text, or spell the corpus with its tokens "
        "(corpus.spelling=teacher)"
    )
