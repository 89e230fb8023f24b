"""Sentences that a teacher heard, as text: any student can spell it, whatever the teacher's tokens are."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

TEXT, CONFIDENCE, ENDED, WER = "text", "confidence", "ended", "wer"


class Sentence(NamedTuple):
    """What a teacher heard in an utterance.

    Attributes:
        text: the best hypothesis.
        confidence: in [0, 1], how sure the teacher was of it.
        ended: whether its decoder came to an end by itself.
        wer: its word error rate against the transcript, 0.1 for ten per cent; ``None`` where that is hidden.
    """

    text: str
    confidence: float
    ended: bool = True
    wer: float | None = None

    def whole(self) -> "Sentence":
        """The same, without text if its decoder came to no end: one word again and again, which nobody should learn."""
        return self if self.ended else self._replace(text="")

    def is_trusted(self, max_wer: float | None) -> bool:
        """Whether it is to be learnt: its decoder came to an end, and it is as right as is asked, where that is known.

        Args:
            max_wer: the highest error rate (Gandhi et al., "Distil-Whisper", 2023); ``None`` trusts all.
        """
        return self.ended and (max_wer is None or self.wer is None or self.wer <= max_wer)


def rows_of(heard: Sequence[Sentence]) -> dict[str, Tensor | Sequence[Tensor]]:
    """Sentences as they are stored: text in UTF-8, numbers in float32, no error rate as NaN."""
    return {
        TEXT: [
            torch.from_numpy(np.frombuffer(bytearray(one.text.encode()), np.uint8).copy()) for one in heard
        ],
        CONFIDENCE: torch.tensor([one.confidence for one in heard]),
        ENDED: torch.tensor([one.ended for one in heard], dtype=torch.uint8),
        WER: torch.tensor([math.nan if one.wer is None else one.wer for one in heard]),
    }


def sentences(rows: Mapping[str, Any]) -> list[Sentence]:
    """The sentences of :func:`rows_of`, from tensors or arrays."""
    numbers = (rows[name].tolist() for name in (CONFIDENCE, ENDED, WER))
    return [
        Sentence(
            np.asarray(text).tobytes().decode(), confidence, bool(ended), None if math.isnan(wer) else wer
        )
        for text, confidence, ended, wer in zip(rows[TEXT], *numbers, strict=True)
    ]


def as_lines(cuts: Sequence[str], heard: Sequence[Sentence]) -> str:
    """A line of JSON for each cut, numbers with four decimals."""
    lines = []
    for cut, one in zip(cuts, heard, strict=True):
        rounded = {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in one._asdict().items()
        }
        lines.append(json.dumps({"cut": cut, **rounded}, ensure_ascii=False) + "\n")
    return "".join(lines)
