"""How long each token is spoken, from where a decoder attends: the best monotonic path."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@torch.no_grad()
def durations_of(attention: Tensor, tokens: Tensor, frames: Tensor, frames_per_step: int = 1) -> Tensor:
    """Frames of each token on the path with the largest product of weights.

    Kim et al., "Glow-TTS: A Generative Flow for Text-to-Speech via Monotonic Alignment Search", NeurIPS 2020, section
    3.2. A path gives each frame to one token, begins with the first token, ends with the last, and from frame to frame
    stays or goes on to the next: every token has at least one frame. All frames of a step have the weights of that
    step, so a decoder with long steps may still speak several tokens in one. Of equal paths the one that goes on
    earlier is taken.

    An utterance with fewer frames than tokens has no such path. It was not spoken; its frames are spread evenly, some
    tokens get none, and nobody should learn from it.

    Args:
        attention: (B, S, U) of a decoder over the tokens, not negative.
        tokens: (B,) int64, tokens that are not padding, at least 1.
        frames: (B,) int64, frames that are not padding, at most S * ``frames_per_step``.
        frames_per_step: of the decoder.

    Returns:
        (B, U) int64 on the device of the attention; each row's sum is the number of its frames.
    """
    weights = attention.float().clamp(min=torch.finfo(torch.float32).tiny).log().cpu().numpy()
    texts, ends = tokens.cpu().numpy(), frames.cpu().numpy()
    path = _best_path(weights, texts, ends, frames_per_step)
    rows, size = attention.shape[0], attention.shape[2]
    durations = np.zeros((rows, size), dtype=np.int64)
    spoken = np.arange(path.shape[1]) < ends[:, None]
    np.add.at(durations, (np.nonzero(spoken)[0], path[spoken]), 1)
    short = ends < texts
    durations[short] = _evenly(texts[short], ends[short], size)
    return torch.from_numpy(durations).to(attention.device)


def _best_path(weights: NDArray, tokens: NDArray, frames: NDArray, frames_per_step: int) -> NDArray[np.int64]:
    """The token (B, longest) of each frame; nonsense beyond an utterance's frames.

    Args:
        weights: (B, S, U) logarithms.
        tokens: (B,).
        frames: (B,).
        frames_per_step: of the decoder.
    """
    rows, _, size = weights.shape
    longest = int(frames.max(initial=0))
    goes_on = np.zeros((longest, rows, size), dtype=bool)
    best = np.full((rows, size), -np.inf)
    best[:, 0] = 0.0
    for frame in range(longest):
        if frame > 0:
            before = np.concatenate((np.full((rows, 1), -np.inf), best[:, :-1]), axis=1)
            goes_on[frame] = before > best
            best = np.maximum(before, best)
        best = best + weights[:, frame // frames_per_step]
    path = np.zeros((rows, longest), dtype=np.int64)
    row, here = np.arange(rows), tokens - 1
    for frame in reversed(range(longest)):
        path[:, frame] = here
        # An utterance that ends before this frame still waits at its last token.
        here = here - (goes_on[frame, row, here] & (frame < frames))
    return path


def _evenly(tokens: NDArray, frames: NDArray, size: int) -> NDArray[np.int64]:
    """(B, U) frames spread over the tokens."""
    ends = (
        np.minimum(np.arange(size + 1), tokens[:, None]) * frames[:, None] // np.maximum(tokens, 1)[:, None]
    )
    return np.diff(ends, axis=1)
