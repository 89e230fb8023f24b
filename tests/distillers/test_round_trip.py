"""A recogniser that listens to what synthesis says."""

import pytest
import torch
import torchaudio
from speaking_steps import RATE, recogniser

from kd_lightning.distillers.recognition import decode
from kd_lightning.distillers.round_trip import RoundTrip
from kd_lightning.teachers.ensemble import Features

CLASSES = ["<blank>", " ", "A", "b", "."]


@pytest.fixture
def listener():
    one = recogniser(len(CLASSES))
    with torch.no_grad():
        logits = one.eval()(tune(8000)[None]).logits  # (1, frames, V)
        one.network.ctc.bias -= logits.mean(dim=(0, 1))  # it says each of its tokens now and then
        one.network.ctc.bias[0] -= logits.std(dim=1).mean()
    return RoundTrip(one, CLASSES, "en")


def tune(length: int, seed: int = 0) -> torch.Tensor:
    """(T,) a tone of another pitch every 1,000 samples."""
    hertz = 100 + 3000 * torch.rand(-(-length // 1000), generator=torch.Generator().manual_seed(seed))
    phase = (2 * torch.pi / RATE * hertz).repeat_interleave(1000)[:length].cumsum(dim=0)
    return 0.1 * phase.sin()


def test_each_utterance_is_heard_as_it_is_alone(listener):
    spoken = [tune(length, seed=length) for length in (4000, 2500, 7000)]
    together = listener(spoken, RATE)
    assert together == [listener([one], RATE)[0] for one in spoken]
    assert len(set(together)) > 1


def test_what_is_heard_is_written_in_the_form_that_is_scored(listener):
    spoken = tune(6000)
    samples = torch.tensor([6000])
    (said,) = decode(listener.recogniser, Features(spoken[None], None, samples))
    written = "".join(CLASSES[token] for token in said.tokens)
    assert set(written) & set("A.")
    (heard,) = listener([spoken], RATE)
    assert heard == " ".join(written.lower().replace(".", " ").split())


def test_speech_of_another_rate_is_heard_at_the_recognisers_own(listener):
    spoken = tune(12000)
    resampled = torchaudio.functional.resample(spoken, 2 * RATE, RATE)
    assert listener([spoken], 2 * RATE) == listener([resampled], RATE)
    assert listener([spoken], 2 * RATE) != listener([spoken], RATE)


def test_it_stays_as_it_is(listener):
    listener.train()
    assert not any(module.training for module in listener.modules())
    assert not any(weights.requires_grad for weights in listener.parameters())
