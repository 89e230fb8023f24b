import importlib.util
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from kd_lightning.metrics import intelligibility
from kd_lightning.metrics.intelligibility import pesq, stoi

RATE = 16000
INSTALLED = importlib.util.find_spec("pesq") is not None


def modulated_noise(seconds: float = 1.5) -> Tensor:
    """Noise that swells four times a second, as syllables do."""
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(int(RATE * seconds)) / RATE
    return torch.randn(len(time), generator=generator) * (0.02 + (torch.pi * 4 * time).sin().square()) * 0.1


def test_a_recording_is_as_intelligible_as_itself_and_noise_takes_that_away() -> None:
    speech = modulated_noise()
    noise = torch.randn(len(speech), generator=torch.Generator().manual_seed(1)) * speech.std()
    clean, some, none = (stoi(speech, heard, RATE) for heard in (speech, speech + noise, noise))
    assert clean == pytest.approx(1, abs=1e-4)
    assert some is not None
    assert none is not None
    assert none < 0.4 < some < 0.95


def test_of_a_short_word_it_cannot_tell() -> None:
    assert stoi(modulated_noise(0.3), modulated_noise(0.3), RATE) is None
    assert stoi(modulated_noise(0.6), modulated_noise(0.6), RATE) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("metric", [stoi, pesq])
def test_other_lengths_are_refused(metric: object) -> None:
    assert callable(metric)
    speech = modulated_noise()
    with pytest.raises(ValueError, match="the same samples"):
        metric(speech, speech[:-1], RATE)


@pytest.mark.skipif(INSTALLED, reason="pesq is installed")
def test_without_the_extra_there_is_no_pesq() -> None:
    assert pesq(modulated_noise(), modulated_noise(), RATE) is None


def test_pesq_is_told_which_is_the_recording_at_the_rate_of_its_wide_band(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class PesqError(RuntimeError):
        pass

    def rated(heard: Tensor, recorded: Tensor, rate: int, mode: str) -> Tensor:
        if not recorded.any():
            raise PesqError("no utterances")
        assert (rate, mode) == (16000, "wb")
        assert len(heard) == len(recorded) == 24000
        assert heard.abs().max() < recorded.abs().max()
        return torch.tensor(3.5)

    monkeypatch.setitem(sys.modules, "pesq", SimpleNamespace(PesqError=PesqError))
    monkeypatch.setattr(intelligibility, "perceptual_evaluation_speech_quality", rated)
    speech = modulated_noise()
    assert pesq(speech, speech / 2, RATE) == 3.5
    assert pesq(speech.repeat(2), speech.repeat(2) / 2, 2 * RATE) == 3.5
    assert pesq(torch.zeros(RATE), speech[:RATE], RATE) is None


@pytest.mark.skipif(not INSTALLED, reason="needs the extra pesq")
def test_pesq_of_a_recording_and_itself_is_the_best_there_is() -> None:
    speech = modulated_noise()
    # 4.6439: what P.862.2 maps the best raw score, 4.5, to.
    assert pesq(speech, speech, RATE) == pytest.approx(4.644, abs=1e-3)
    assert pesq(torch.zeros(RATE), torch.zeros(RATE), RATE) is None
