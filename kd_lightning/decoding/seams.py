"""Long audio in windows that overlap, and the frame at which one window hands over to the next."""

from collections.abc import Iterable, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kd_lightning.frontend.text import WORD
from kd_lightning.frontend.tokens import BLANK, BOUNDARY


def windows(frames: int, longest: int) -> list[tuple[int, int]]:
    """Windows of equal length, evenly spread over an utterance, that overlap by a third or more.

    Args:
        frames: of the utterance.
        longest: frames of a window, at least 3.

    Returns:
        first frame and end of each; one where the utterance is no longer than a window.
    """
    if frames <= longest:
        return [(0, frames)]
    rest = frames - longest
    steps = -(-rest // (longest - longest // 3))
    starts = [step * rest // steps for step in range(steps + 1)]
    return [(start, start + longest) for start in starts]


def pause(left: Tensor, right: Tensor, pieces: Sequence[str]) -> int:
    """The middle of the longest stretch between words in which both windows say nothing.

    A token may come a few frames earlier in one window than in the other. One that is nearer to the seam than that is
    lost or said twice, so the seam lies as far from any token of either window as can be. Where no two words are told
    apart, it lies in the longest stretch without a token; where there is none, where both are most for blank.

    Args:
        left: (overlap, V) CTC logits of the window that ends.
        right: (overlap, V) those of the one that begins, of the same frames.
        pieces: V names of tokens.

    Returns:
        the first frame that is the right window's, in the middle half of the overlap.
    """
    searched = _middle(len(left))
    ends, begins = left.argmax(dim=-1).tolist(), right.argmax(dim=-1).tolist()
    stretches = [
        list(frames)
        for silent, frames in groupby(searched, lambda frame: ends[frame] == begins[frame] == BLANK)
        if silent
    ]
    if not stretches:
        least = torch.minimum(*(each.float().softmax(dim=-1)[:, BLANK] for each in (left, right)))
        return searched.start + int(least[searched.start : searched.stop].argmax())

    def rank(stretch: list[int]) -> tuple[bool, int]:
        said, to_say = ends[: stretch[0]], begins[stretch[-1] + 1 :]
        return _are_words(_first(reversed(said), pieces), _first(to_say, pieces)), len(stretch)

    longest = max(stretches, key=rank)
    return longest[len(longest) // 2]


def quietest(levels: npt.NDArray[np.float64], width: int) -> int:
    """The frame around which an overlap is quietest, for networks that do not say when they hear what.

    Args:
        levels: (overlap,) power of each frame.
        width: frames over which it is averaged, so that it is a pause and no stop consonant.

    Returns:
        a frame in the middle half of the overlap.
    """
    searched = _middle(len(levels))
    smooth = np.convolve(levels, np.ones(width), mode="same")
    return searched.start + int(smooth[searched.start : searched.stop].argmin())


def _middle(overlap: int) -> range:
    """Frames of which both windows have heard what comes before and after: not those near an end of either."""
    return range(overlap // 4, max(overlap - overlap // 4, 1))


def _first(tokens: Iterable[int], pieces: Sequence[str]) -> str:
    """What the first token that is no blank spells, "" where there is none."""
    return next((pieces[token].replace(BOUNDARY, " ") for token in tokens if token != BLANK), "")


def _are_words(before: str, after: str) -> bool:
    """Whether no word goes on from one piece into the next."""
    words = WORD.finditer(before + after)
    return not any(word.start() < len(before) < word.end() for word in words)
