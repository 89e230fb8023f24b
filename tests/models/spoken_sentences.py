"""Sentences of different lengths, recordings of them, and what an acoustic network may not hear in their padding."""

import torch
from torch import Tensor, nn

from kd_lightning.frontend.mel import SILENCE
from kd_lightning.models.acoustic_output import AcousticOutput, Recorded, Sentences

BINS, CLASSES = 6, 9
LENGTHS = torch.tensor([7, 11, 1, 4])


def sentences(filler: int = 0) -> Sentences:
    """Four sentences of two voices, the longest of 11 tokens, padded with ``filler``."""
    places = torch.arange(11)
    tokens = (places * LENGTHS[:, None] + places) % (CLASSES - 1) + 1
    padded = tokens.where(places < LENGTHS[:, None], filler)
    return Sentences(padded, LENGTHS, torch.tensor([0, 1, 1, 0]))


def recorded(filler: float = SILENCE) -> Recorded:
    """How they were spoken: 0 to 3 frames a token."""
    valid = torch.arange(11) < LENGTHS[:, None]
    durations = (torch.randint(0, 4, valid.shape) * valid).index_fill(1, torch.tensor([0]), 2)
    frames = durations.sum(dim=1)
    mel = torch.randn(len(frames), BINS, int(frames.max())) - 5
    for each, length in zip(mel, frames, strict=True):
        each[:, length:] = filler
    pitch, energy = (torch.randn(valid.shape).where(valid, filler) for _ in range(2))
    return Recorded(mel, frames, durations, pitch, energy)


def alone(index: int, many: Sentences, spoken: Recorded | None) -> tuple[Sentences, Recorded | None]:
    """One sentence of a batch, without padding."""
    one, length = slice(index, index + 1), int(many.lengths[index])
    sentence = Sentences(many.tokens[one, :length], many.lengths[one], many.speakers[one])
    if spoken is None:
        return sentence, None
    frames = int(spoken.frames[index])
    tokens = [None if each is None else each[one, :length] for each in spoken[2:]]
    return sentence, Recorded(spoken.mel[one, :, :frames], spoken.frames[one], *tokens)


@torch.no_grad()
def assert_padding_is_unheard(network: nn.Module, spoken: Recorded | None, filler: int = 0) -> AcousticOutput:
    """Each sentence of a ragged batch is said as it is alone; silence follows."""
    many = sentences(filler)
    together = network(many, spoken)
    for index, length in enumerate(LENGTHS.tolist()):
        single = network(*alone(index, many, spoken))
        frames = int(single.frames)
        assert together.frames[index] == frames
        assert together.mel[index, :, frames:].eq(torch.tensor(SILENCE)).all()
        _agree(together.mel[index, :, :frames], single.mel[0])
        for name in ("log_durations", "pitch", "energy"):
            if getattr(single, name) is not None:
                _agree(getattr(together, name)[index, :length], getattr(single, name)[0])
        if single.attention is not None:
            steps = single.attention.shape[1]
            _agree(together.coarse[index, :, :frames], single.coarse[0])
            _agree(together.attention[index, :steps, :length], single.attention[0])
            assert together.attention[index, :, length:].eq(0).all()
            _agree(together.hidden[index, :steps], single.hidden[0])
            _agree(together.stop_logits[index, :steps], single.stop_logits[0])
        if single.ended is not None:
            assert together.ended[index] == single.ended
    return together


def idle(network: nn.Module, *losses: Tensor) -> list[str]:
    """The parameters that do not learn from a random weighting of what a network said."""
    for said in losses:
        (said * torch.randn_like(said)).sum().backward(retain_graph=True)
    return [
        name for name, weights in network.named_parameters() if weights.grad is None or not weights.grad.any()
    ]


def _agree(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
