"""When each word of a known sentence was said: forced alignment with CTC (Kürzinger et al. 2020)."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import torch
from torch import Tensor
from torchaudio.functional import forced_align

from kd_lightning.frontend.text import WORD
from kd_lightning.frontend.tokens import BLANK, BOUNDARY


class WordTime(NamedTuple):
    """A word and when it was said, in seconds from the beginning of the audio."""

    word: str
    start: float
    end: float


@torch.no_grad()
def token_frames(logits: Tensor, tokens: Sequence[int]) -> list[tuple[int, int]]:
    """The frames of each token on the most probable path that spells them.

    CTC is spiky: a token takes one or two frames near its middle, and the blanks around it belong to none.

    Args:
        logits: (frames, V) of one utterance, without padding.
        tokens: U of them, each in 1..V-1.

    Returns:
        the first frame of each token and the one after its last.

    Raises:
        ValueError: the tokens are more than the frames can spell.
    """
    if not tokens:
        return []
    repeats = sum(one == other for one, other in pairwise(tokens))
    if (needed := len(tokens) + repeats) > len(logits):
        raise ValueError(
            f"the text needs {needed} frames ({len(tokens)} tokens and a blank in each of {repeats} equal pairs), "
            f"but the audio has {len(logits)}: the text is another one's, or the network shortens time too much"
        )
    log_probs = logits.float().log_softmax(dim=-1).cpu()
    paths, _ = forced_align(log_probs[None], torch.tensor([list(tokens)]), blank=BLANK)
    path = [BLANK, *paths[0].tolist(), BLANK]
    starts = [frame for frame, (one, other) in enumerate(pairwise(path)) if other not in (BLANK, one)]
    ends = [frame for frame, (one, other) in enumerate(pairwise(path)) if one not in (BLANK, other)]
    return list(zip(starts, ends, strict=True))


def word_times(
    logits: Tensor, tokens: Sequence[int], pieces: Sequence[str], seconds_per_frame: float
) -> list[WordTime]:
    """When each word was said: from the first frame of its first token to the end of the last frame of its last.

    In scripts without spaces every character is a word; the characters of one piece share its time.

    Args:
        logits: (frames, V) of one utterance, without padding.
        tokens: the sentence.
        pieces: V names of tokens, of characters or of sentencepiece.
        seconds_per_frame: hop of the features times the network's subsampling.

    Raises:
        ValueError: the tokens are more than the frames can spell.
    """
    frames = token_frames(logits, tokens)
    spelt = [pieces[token].replace(BOUNDARY, " ") for token in tokens]
    offsets = list(accumulate(map(len, spelt), initial=0))
    times = []
    for word in WORD.finditer("".join(spelt)):
        own = [
            span
            for span, (first, last) in zip(frames, pairwise(offsets), strict=True)
            if first < word.end() and last > word.start()
        ]
        times.append(WordTime(word[0], own[0][0] * seconds_per_frame, own[-1][1] * seconds_per_frame))
    return times
