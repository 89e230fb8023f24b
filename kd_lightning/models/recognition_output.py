"""What a recognition network says about utterances."""

from typing import NamedTuple

from torch import Tensor


class RecognitionOutput(NamedTuple):
    """Scores of tokens, by frame and by place in the sentence.

    Token 0 is the blank of CTC (Graves et al. 2006). A decoder never says blank: there the same number starts and ends
    the sentence.

    Attributes:
        logits: (B, frames, V) of the CTC layer; ``None`` for a network without one.
        lengths: (B,) int64, the encoder's frames that are not padding.
        token_logits: (B, U + 1, V) of an attention decoder, after each of the tokens 0, y1, ..., yU; ``None`` without a
            decoder or without a prefix.
        attention: (B, U + 1, frames) weights of the decoder over the encoder's frames, the mean over heads and layers;
            ``None`` without a decoder or without a prefix.
        intermediate: (B, frames, V) of CTC layers on lower layers of the encoder, in training only.
    """

    logits: Tensor | None
    lengths: Tensor
    token_logits: Tensor | None = None
    attention: Tensor | None = None
    intermediate: tuple[Tensor, ...] = ()
