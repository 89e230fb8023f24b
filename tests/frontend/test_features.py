"""Log-mel and MFCC: against torchaudio, and what they promise about level, masks and batches."""

import math

import pytest
import torch
import torchaudio
from torch import Tensor

from kd_lightning.frontend.features import MFCC, LogMel, NormalisedLogMel, SpecMasks


def noise(clips: int = 3, samples: int = 16000) -> Tensor:
    return 0.1 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(0))


def masks(time: list[tuple[float, float]], frequency: list[tuple[float, float]]) -> SpecMasks:
    return SpecMasks(torch.tensor(time).view(1, -1, 2), torch.tensor(frequency).view(1, -1, 2))


def torchaudio_log_mel(waveform: Tensor, floor_db: float = 60.0) -> Tensor:
    """The definition, clip by clip: on a batch, torchaudio's floor would use the whole batch's peak."""
    mel = torchaudio.transforms.MelSpectrogram(
        sample_rate=16000, n_fft=512, win_length=480, hop_length=160, f_min=20.0, f_max=7600.0, n_mels=40
    )
    decibels = torchaudio.transforms.AmplitudeToDB(stype="power", top_db=floor_db)
    clips = [decibels(mel(clip)) for clip in waveform]
    return torch.stack([1 + 2 * (clip - clip.max()) / floor_db for clip in clips])


def test_log_mel_is_torchaudios_mel_spectrogram_in_decibels_below_each_clips_peak() -> None:
    speechlike = noise() * torch.linspace(0, 1, 16000) ** 4
    torch.testing.assert_close(LogMel()(speechlike), torchaudio_log_mel(speechlike), rtol=0, atol=2e-5)


def test_mfcc_is_the_orthonormal_dct_of_the_log_mel() -> None:
    waveform = noise()
    dct = torchaudio.functional.create_dct(13, 40, norm="ortho")
    expected = torch.einsum("bmt,mc->bct", LogMel()(waveform), dct)
    torch.testing.assert_close(MFCC(coefficients=13)(waveform), expected, rtol=0, atol=1e-5)


def test_all_coefficients_keep_the_energy_of_the_log_mel() -> None:
    waveform = noise()
    torch.testing.assert_close(MFCC()(waveform).square().sum(), LogMel()(waveform).square().sum())


@pytest.mark.parametrize("hertz", [440.0, 1000.0, 3000.0])
def test_a_tone_is_loudest_in_the_mel_band_around_it(hertz: float) -> None:
    tone = torch.sin(2 * math.pi * hertz * torch.arange(16000) / 16000)[None]
    low, high = (2595 * math.log10(1 + edge / 700) for edge in (20.0, 7600.0))
    # Band k peaks at low + (k + 1) steps of the mel scale.
    position = (2595 * math.log10(1 + hertz / 700) - low) / ((high - low) / 41) - 1
    loudest = LogMel()(tone)[0, :, 50].argmax().item()
    assert abs(loudest - position) <= 0.75


def test_the_frame_count_is_announced() -> None:
    frontend = LogMel(hop_seconds=0.0125)
    for samples in (8000, 16000, 16001, 16199, 16200):
        assert frontend(noise(1, samples)).shape == (1, 40, frontend.frames(samples))


def test_silence_is_the_floor_and_everything_stays_in_range() -> None:
    clips = torch.stack([torch.zeros(16000), torch.ones(16000), noise(1)[0], 1e-7 * noise(1)[0]])
    features = LogMel()(clips)
    assert features[0].eq(-1).all()
    assert features.isfinite().all()
    assert features.min() >= -1
    assert features.max() <= 1
    assert MFCC()(clips).isfinite().all()


@pytest.mark.parametrize("frontend", [LogMel(), MFCC()])
def test_gain_changes_nothing(frontend: LogMel) -> None:
    torch.testing.assert_close(frontend(0.01 * noise()), frontend(noise()), rtol=0, atol=1e-4)


@pytest.mark.parametrize("frontend", [LogMel(), MFCC()])
def test_a_clip_does_not_hear_its_neighbours(frontend: LogMel) -> None:
    quiet = 0.001 * noise(1)
    loud = torch.ones(1, 16000)
    torch.testing.assert_close(frontend(torch.cat([quiet, loud]))[:1], frontend(quiet), rtol=0, atol=1e-5)


def test_the_floor_follows_the_setting() -> None:
    # White noise, then silence: the silence is floor_db below the peak, whatever the floor.
    clip = torch.cat([noise(1, 8000), torch.zeros(1, 8000)], dim=1)
    narrow, wide = LogMel(floor_db=40.0)(clip), LogMel(floor_db=80.0)(clip)
    assert narrow[0, :, -1].eq(-1).all()
    assert wide[0, :, -1].eq(-1).all()
    # Where neither is floored, decibels below the peak agree.
    torch.testing.assert_close((narrow[0, :, :40] - 1) * 20, ((wide[0, :, :40] - 1) * 40).clamp(min=-40))


@pytest.mark.parametrize("frontend", [LogMel(), MFCC()])
def test_features_are_float32_and_unchanged_under_autocast(frontend: LogMel) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        features = frontend(noise())
    assert features.dtype == torch.float32
    assert torch.equal(features, frontend(noise()))


def test_masks_replace_their_frames_and_bands_by_the_clips_mean() -> None:
    waveform = noise(1)
    plain = LogMel()(waveform)
    masked = LogMel()(waveform, masks([(0.195, 0.295)], [(0.5, 0.75)]))
    hidden = torch.zeros(40, 101, dtype=torch.bool)
    hidden[:, 20:30] = True
    hidden[20:30] = True
    torch.testing.assert_close(masked[0, hidden], plain.mean().expand(int(hidden.sum())))
    assert torch.equal(masked[0, ~hidden], plain[0, ~hidden])


def test_each_clip_has_its_own_masks() -> None:
    spans = torch.tensor([[[0.0, 0.0]], [[0.495, 2.0]]])
    plain = LogMel()(noise(2))
    masked = LogMel()(noise(2), SpecMasks(spans, torch.zeros(2, 0, 2)))
    assert torch.equal(masked[0], plain[0])
    assert torch.equal(masked[1, :, :50], plain[1, :, :50])
    torch.testing.assert_close(masked[1, :, 50:], plain[1].mean().expand(40, 51))


@pytest.mark.parametrize("frontend", [LogMel(), MFCC()])
def test_no_masks_and_empty_masks_are_the_same(frontend: LogMel) -> None:
    assert torch.equal(frontend(noise(1), masks([], [])), frontend(noise(1)))
    assert torch.equal(frontend(noise(1), masks([(0.4, 0.4)], [(0.1, 0.1)])), frontend(noise(1)))


def test_mfcc_masks_bands_not_coefficients() -> None:
    waveform, hidden = noise(1), masks([(0.1, 0.2)], [(0.25, 0.5)])
    frontend = MFCC()
    expected = frontend.dct.mT @ LogMel()(waveform, hidden)
    torch.testing.assert_close(frontend(waveform, hidden), expected)


def test_settings_tell_frontends_apart() -> None:
    assert LogMel().settings == LogMel().settings
    others = [LogMel(floor_db=50.0), LogMel(hop_seconds=0.02), MFCC(), MFCC(coefficients=13)]
    settings = [LogMel().settings] + [frontend.settings for frontend in others]
    assert all(a != b for i, a in enumerate(settings) for b in settings[:i])
    assert (MFCC(coefficients=13).bins, LogMel().bins) == (13, 40)


def test_a_frontend_has_no_weights() -> None:
    assert MFCC().state_dict() == {}


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"8000 Hz: set 0 <= low_hz < high_hz <= 4000"):
        LogMel(sample_rate=8000)
    with pytest.raises(ValueError, match="narrower than the spectrum's resolution"):
        LogMel(bins=200)
    with pytest.raises(ValueError, match="41 coefficients of 40 mel bands"):
        MFCC(coefficients=41)


RAGGED = [4321, 16000, 640, 9999]


def ragged() -> Tensor:
    """Utterances of different lengths, the second the loudest, zero beyond their ends."""
    batch = noise(4) * torch.tensor([0.1, 1.0, 0.3, 0.5])[:, None]
    return batch * (torch.arange(batch.shape[1]) < torch.tensor(RAGGED)[:, None])


def test_an_utterance_has_the_same_features_alone_and_in_a_ragged_batch() -> None:
    frontend = LogMel(padding="zeros")
    hidden = masks([(0.0, 0.02)], [(0.25, 0.5)])
    batch_masks = SpecMasks(*(spans.expand(4, -1, -1) for spans in hidden))
    together = frontend(ragged(), batch_masks, torch.tensor(RAGGED))
    for row, length in enumerate(RAGGED):
        alone = frontend(ragged()[row, None, :length], hidden)[0]
        frames = frontend.frames(length)
        assert alone.shape[1] == frames
        torch.testing.assert_close(together[row, :, :frames], alone, rtol=0, atol=1e-5)
        assert (together[row, :, frames:] == -1).all()


def test_reflected_padding_refuses_ragged_batches() -> None:
    with pytest.raises(ValueError, match=r"frontend\.padding=zeros"):
        LogMel()(ragged(), lengths=torch.tensor(RAGGED))
    with pytest.raises(ValueError, match="reflect, zeros"):
        LogMel(padding="same")


def test_each_band_of_each_utterance_is_normalised_over_its_own_frames() -> None:
    frontend = NormalisedLogMel(padding="zeros")
    lengths = torch.tensor([16000, 9000, 4000])
    ragged = noise() * (torch.arange(16000) < lengths[:, None])
    features = frontend(ragged, None, lengths)
    for clip, length, computed in zip(ragged, lengths.tolist(), features, strict=True):
        frames = frontend.frames(length)
        heard = LogMel(padding="zeros")(clip[None, :length])[0].double()
        expected = (heard - heard.mean(dim=1, keepdim=True)) / (
            heard.var(dim=1, keepdim=True, correction=0) + 1e-4
        ).sqrt()
        torch.testing.assert_close(computed[:, :frames].double(), expected, rtol=0, atol=2e-4)
        torch.testing.assert_close(computed[:, :frames], frontend(clip[None, :length])[0], rtol=0, atol=1e-5)
        assert (computed[:, frames:] == 0).all()


def test_masks_hide_normalised_features_by_their_mean() -> None:
    hidden = NormalisedLogMel()(noise(1), masks([(0.195, 0.395)], [(0.5, 0.6)]))[0]
    assert hidden[:, 20:40].abs().max() < 1e-5
    assert hidden[20:24].abs().max() < 1e-5


def test_a_normalised_silent_clip_is_zero() -> None:
    assert (NormalisedLogMel()(torch.zeros(1, 16000)) == 0).all()
