"""Long audio in windows that overlap, and the frame at which one window hands over to the next."""

from collections.abc import Sequence
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
    """The middle of the longest stretch between two words in which both windows say nothing: blanks, or a space.

    A token may come a few frames earlier in one window than in the other. One that is nearer to the seam than that is
    lost or said twice, so the seam lies as far from any letter of either window as can be. Where the windows do not
    agree on any two words, it lies in the longest silence; where there is none, where both are most for blank.

    Args:
        left: (overlap, V) CTC logits of the window that ends.
        right: (overlap, V) those of the one that begins, of the same frames.
        pieces: V names of tokens.

    Returns:
        the first frame that is the right window's, in the middle half of the overlap.
    """
    searched = _middle(len(left))
    texts = ["", *(piece.replace(BOUNDARY, " ") for piece in pieces[1:])]
    paths = [[texts[token] for token in each.argmax(dim=-1).tolist()] for each in (left, right)]
    silences = [
        list(frames)
        for silent, frames in groupby(searched, lambda frame: not any(path[frame].strip() for path in paths))
        if silent
    ]
    if not silences:
        least = torch.minimum(*(each.float().softmax(dim=-1)[:, BLANK] for each in (left, right)))
        return searched.start + int(least[searched.start : searched.stop].argmax())
    longest = max(
        silences, key=lambda silence: (all(_parts_words(path, silence) for path in paths), len(silence))
    )
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


def _parts_words(path: Sequence[str], silence: Sequence[int]) -> bool:
    """Whether no word goes on from what is said before some frames of a path into what is said after them."""
    before = next(filter(None, reversed(path[: silence[0]])), "")
    within = "".join(path[frame] for frame in silence)
    after = next(filter(None, path[silence[-1] + 1 :]), "")
    words = WORD.finditer(before + within + after)
    return not any(word.start() < len(before) < word.end() for word in words)
