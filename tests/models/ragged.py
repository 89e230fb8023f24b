"""Batches of utterances of different lengths, and what a recogniser may not hear in them."""

from collections.abc import Callable

import torch
from torch import Tensor

from kd_lightning.models.recognition_output import RecognitionOutput

# In frames: whatever a stride of 4 or 8 rounds up or down, the shortest there can be, and a full batch.
LENGTHS = torch.tensor([61, 37, 1, 50, 2])
PREFIX = torch.tensor([[3, 1, 2, 2], [4, 4, 0, 0], [0, 0, 0, 0], [1, 2, 3, 0], [2, 0, 0, 0]])
TOKENS = torch.tensor([4, 2, 0, 3, 1])


def ragged(bins: int, silence: float = -1.0) -> Tensor:
    """Features (5, bins, 61) that are silent beyond ``LENGTHS``."""
    features = torch.rand(len(LENGTHS), bins, int(LENGTHS.max())) * 2 - 1
    for utterance, length in zip(features, LENGTHS, strict=True):
        utterance[:, length:] = silence
    return features


@torch.no_grad()
def assert_padding_is_unheard(
    recognise: Callable[..., RecognitionOutput], bins: int, subsampling: int, decoder: bool = False
) -> None:
    """Each utterance of a ragged batch is heard as it is alone, whatever the padding holds."""
    more = {"prefix": PREFIX} if decoder else {}
    quiet = recognise(ragged(bins), LENGTHS, **more)
    assert quiet.lengths.tolist() == [-(-int(length) // subsampling) for length in LENGTHS]
    for silence in (-1.0, 100.0):
        torch.manual_seed(1)
        features = ragged(bins, silence)
        together = recognise(features, LENGTHS, **more)
        for index, length in enumerate(LENGTHS.tolist()):
            prefix = {"prefix": PREFIX[index : index + 1, : TOKENS[index]]} if decoder else {}
            alone = recognise(features[index : index + 1, :, :length], torch.tensor([length]), **prefix)
            frames, tokens = int(alone.lengths), int(TOKENS[index]) + 1
            assert frames == together.lengths[index]
            if alone.logits is not None:
                assert together.logits is not None
                _agree(together.logits[index, :frames], alone.logits[0])
            if decoder:
                assert together.token_logits is not None
                assert alone.token_logits is not None
                _agree(together.token_logits[index, :tokens], alone.token_logits[0])
                assert together.attention is not None
                assert alone.attention is not None
                _agree(together.attention[index, :tokens, :frames], alone.attention[0])
                assert together.attention[index, :, frames:].eq(0).all()


def _agree(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
