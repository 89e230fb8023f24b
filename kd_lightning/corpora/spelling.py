"""What the transcripts of a corpus are spelt with: learnt from them once, or brought by a network that has its own."""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple, cast

from kd_lightning.files import write
from kd_lightning.frontend.tokens import Characters, Pieces, Tokens, train_pieces

LEARNT = ("characters", "unigram", "bpe")

_log = logging.getLogger(__name__)


class Spelling(NamedTuple):
    """Tokens that spell.

    Attributes:
        tokens: they.
        model: the file without which they cannot spell; ``None`` where their names are enough.
    """

    tokens: Tokens
    model: Path | None = None


def spelling_of(
    texts: Callable[[], Iterable[str]],
    folder: Path,
    language: str,
    kind: str,
    size: int,
    brought: Spelling | None = None,
) -> Spelling:
    """The spelling of a corpus; the first time it is learnt, and the words that it cannot spell are counted.

    Args:
        texts: gives the normalised training transcripts, from the start at each call.
        folder: of the prepared corpus, where nobody else writes now.
        language: of the corpus, as in BCP 47.
        kind: one of ``LEARNT``.
        size: number of tokens for pieces of words, the blank included.
        brought: by a network, in place of one of the corpus's own.

    Raises:
        ValueError: there is no such kind, or nothing to learn from.
    """
    if brought is not None:
        digest = hashlib.blake2b("\n".join(brought.tokens.pieces).encode(), digest_size=8)
        name = digest.hexdigest()
    elif kind in LEARNT:
        name = kind if kind == "characters" else f"{kind}_{size}"
    else:
        raise ValueError(
            f"corpus.spelling={kind}: there are {', '.join(LEARNT)}, teacher and folders of finished runs"
        )
    counted, model = (folder / f"{language}_{name}.{ending}" for ending in ("json", "model"))
    if not counted.is_file():
        tokens = _learnt(texts(), model, kind, size) if brought is None else brought.tokens
        lost = Counter(word for text in texts() for word in tokens.unspellable(text))
        facts = {"pieces": tokens.pieces, "unspellable": dict(lost.most_common())}
        write(counted, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    facts = json.loads(counted.read_text(encoding="utf-8"))
    if lost := facts["unspellable"]:
        _log.warning(
            "%d words of the transcripts cannot be spelt and are left out, such as %s: see %s",
            sum(lost.values()),
            ", ".join(islice(lost, 5)),
            counted,
        )
    if brought is not None:
        return brought
    if kind == "characters":
        return Spelling(Characters(facts["pieces"][1:]))
    return Spelling(Pieces(model), model)


def _learnt(texts: Iterable[str], model: Path, kind: str, size: int) -> Tokens:
    if kind == "characters":
        return Characters.of(texts)
    return train_pieces(texts, model, size, cast(Literal["unigram", "bpe"], kind))
