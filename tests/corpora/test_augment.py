"""Views: pure functions of (seed, cut id, view), and each effect measured on tones."""

from pathlib import Path

import numpy as np
import pytest
import torch

from kd_lightning.corpora.augment import (
    Augment,
    NoiseBank,
    active_power,
    mixed,
    noise_gain,
    through_telephone,
    warp,
)
from kd_lightning.corpora.batches import Item
from kd_lightning.corpora.speech_commands import SpeechCommands
from kd_lightning.losses.labels import IGNORE

RATE = 16000
TIME = np.arange(RATE) / RATE
QUIET = {"shift": 0.0, "speed": (1.0, 1.0), "gain": (0.0, 0.0), "clean": 1.0, "telephone": 0.0}
BANK = NoiseBank((np.random.default_rng(1).normal(0, 3000, 5 * RATE)).astype(np.int16), [(0, 5 * RATE)])


def tone(hertz: float, amplitude: float = 0.5) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hertz * TIME)).astype(np.float32)


def loudest_hertz(waveform: np.ndarray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))) * RATE / len(waveform))


def test_a_view_is_the_same_whatever_was_drawn_before() -> None:
    clip = tone(440)
    alone = Augment(seed=3)(clip, "yes/a.wav", 7, BANK)
    other = Augment(seed=3)
    np.random.seed(0)
    for view in range(5):
        other(clip, "no/b.wav", view, BANK)
    again = other(clip, "yes/a.wav", 7, BANK)
    for one, two in zip(alone, again, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("seed", "cut", "view"), [(4, "yes/a.wav", 7), (3, "yes/b.wav", 7), (3, "yes/a.wav", 8)]
)
def test_seed_cut_and_view_each_make_another_view(seed: int, cut: str, view: int) -> None:
    reference = Augment(seed=3)(tone(440), "yes/a.wav", 7, BANK)
    assert not np.array_equal(Augment(seed=seed)(tone(440), cut, view, BANK).waveform, reference.waveform)


def test_the_clip_itself_is_left_as_it_is() -> None:
    clip = tone(440)
    Augment()(clip, "a", 0, BANK)
    np.testing.assert_array_equal(clip, tone(440))


def test_settings_do_not_change_the_draws_of_others() -> None:
    clip = tone(440)
    plain, masked = (Augment(time_masks=masks)(clip, "a", 0, BANK) for masks in (0, 2))
    np.testing.assert_array_equal(plain.waveform, masked.waveform)


def test_views_are_those_of_stored_labels_and_finished_runs() -> None:
    # Recorded from the first version of the draws: they may get company, but they may not move.
    clip = (np.arange(RATE) * 37 % 401 / 401 - 0.5).astype(np.float32)
    bank = NoiseBank((np.arange(40000) * 7919 % 20011 - 10000).astype(np.int16), [(0, 40000)])
    view = Augment(seed=3)(clip, "yes/a.wav", 7, bank)
    recorded = [-0.3267388939857483, 0.03911261260509491, -0.12286253273487091]
    np.testing.assert_allclose(view.waveform[[2000, 8000, 14000]], recorded, rtol=1e-5)
    time = [[0.9133652448654175, 0.9156839847564697], [0.03495245426893234, 0.06072811782360077]]
    np.testing.assert_array_equal(view.time_masks, np.float32(time))
    frequency = [[0.38651955127716064, 0.5257644057273865], [0.7850111722946167, 0.7909108400344849]]
    np.testing.assert_array_equal(view.frequency_masks, np.float32(frequency))


@pytest.mark.parametrize("settings", [{}, {"telephone": 1.0, "clean": 0.0}, {"time_masks": 1}])
def test_mixup_changes_nothing_else_of_a_view(settings: dict[str, float]) -> None:
    for view in range(10):
        without, half, all_ = (
            Augment(seed=3, mixup=share, **settings)(tone(440), "a", view, BANK) for share in (0.0, 0.5, 1.0)
        )
        for plain, *others in zip(without, half, all_, strict=True):
            for other in others:
                np.testing.assert_array_equal(plain, other)


def test_partner_and_share_are_the_last_draws_of_the_view() -> None:
    mix = Augment(seed=3, mixup=1.0).mix("yes/a.wav", 7)
    assert mix == (0.3185071293069056, 0.763627146398544)  # numbers 17 and 18 of SHAKE-128("3/7/yes/a.wav")
    assert Augment(seed=3, mixup=0.5).mix("yes/a.wav", 7) == mix  # number 16 is 0.327
    assert Augment(seed=3, mixup=0.3).mix("yes/a.wav", 7) is None
    others = [Augment(seed=4, mixup=1.0).mix("yes/a.wav", 7), Augment(seed=3, mixup=1.0).mix("yes/a.wav", 8)]
    assert len({mix, *others}) == 3


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_share_of_the_views_is_mixed_evenly_with_all_clips_and_in_all_shares(share: float) -> None:
    augment = Augment(mixup=share)
    mixes = [augment.mix(f"cut{n}", view) for n in range(500) for view in range(4)]
    found = np.array([mix for mix in mixes if mix is not None]).reshape(-1, 2)
    assert len(found) / len(mixes) == pytest.approx(share, abs=0.03)
    if share:
        # Uniform on [0, 1) and of one another: means 1/2, variances 1/12, correlation 0.
        assert found.min() >= 0
        assert found.max() < 1
        np.testing.assert_allclose(found.mean(axis=0), 0.5, atol=0.04)
        np.testing.assert_allclose(found.var(axis=0), 1 / 12, atol=0.01)
        assert abs(np.corrcoef(found.T)[0, 1]) < 0.12


def test_a_mixture_holds_both_tones_at_their_shares_and_stays_in_range() -> None:
    mixture = mixed(tone(440, 1.0), tone(1000, 1.0), 0.25)
    assert mixture.dtype == np.float32
    spectrum = np.abs(np.fft.rfft(mixture)) * 2 / RATE
    assert spectrum[440] == pytest.approx(0.25, abs=1e-4)
    assert spectrum[1000] == pytest.approx(0.75, abs=1e-4)
    assert np.abs(mixture).max() <= 1
    np.testing.assert_array_equal(mixed(tone(440), tone(1000), 1.0), tone(440))


def test_batches_hold_mixtures_of_two_views_whose_labels_are_hidden(corpus: Path, tmp_path: Path) -> None:
    def dataset(mixup: float):
        module = SpeechCommands(str(corpus), str(tmp_path), augment=Augment(mixup=mixup), views=4)
        module.prepare_data()
        module.setup("fit")
        return module.train_dataloader().dataset

    plain, half = dataset(0.0), dataset(0.5)
    items = [Item(clip, view) for clip in range(len(plain)) for view in (0, 3)]
    views, batch = plain.__getitems__(items), half.__getitems__(items)
    # Alone or in a batch, a mixture is the same.
    one_by_one = torch.cat([half[item].waveform for item in items])
    assert torch.equal(batch.waveform, one_by_one)
    chosen = 0
    for number, (item, id) in enumerate(zip(items, batch.ids, strict=True)):
        mix = Augment(mixup=0.5).mix(id, item.view)
        if mix is None:
            assert torch.equal(batch.waveform[number], views.waveform[number])
            assert batch.labels[number] == views.labels[number] != IGNORE
            continue
        chosen += 1
        partner = plain[Item(int(mix.place * len(plain)), item.view)].waveform[0]
        expected = mix.share * views.waveform[number].double() + (1 - mix.share) * partner.double()
        torch.testing.assert_close(batch.waveform[number].double(), expected, rtol=0, atol=1e-6)
        assert batch.labels[number] == IGNORE
    assert 0.3 * len(items) < chosen < 0.7 * len(items)
    # The corpus keeps its labels, and masks are the clip's own.
    assert (plain.__getitems__(items).labels != IGNORE).all()
    assert (half.__getitems__(items).labels != IGNORE).sum() == len(items) - chosen
    assert torch.equal(batch.masks.time, views.masks.time)


def test_neutral_settings_return_the_clip() -> None:
    augmented = Augment(**QUIET, time_masks=0, frequency_masks=0)(tone(440), "a", 0, BANK)
    np.testing.assert_array_equal(augmented.waveform, tone(440))
    assert augmented.time_masks.shape == augmented.frequency_masks.shape == (0, 2)


@pytest.mark.parametrize("speed", [0.9, 1.1])
def test_speed_moves_the_pitch(speed: float) -> None:
    assert loudest_hertz(warp(tone(1000), speed, 0)) == pytest.approx(1000 * speed, abs=2)


def test_a_view_that_may_change_its_length_is_as_long_as_its_speed_says() -> None:
    augment = Augment(seed=3, shift=0.0, keep_length=False)
    clip = np.zeros(16000, np.float32)
    for view in range(20):
        heard = augment(clip, "cut", view, NoiseBank(np.empty(0, np.int16), [])).waveform
        assert len(heard) == pytest.approx(16000 / augment.speed_of("cut", view), abs=1)


def test_shift_moves_the_clip_and_fills_with_silence() -> None:
    clip = tone(440)
    later, earlier = warp(clip, 1.0, 1600), warp(clip, 1.0, -1600)
    np.testing.assert_allclose(later[1600:], clip[:-1600], atol=1e-6)
    np.testing.assert_allclose(earlier[:-1600], clip[1600:], atol=1e-6)
    assert not later[:1600].any()
    assert not earlier[-1600:].any()


def test_speed_keeps_the_middle_in_place() -> None:
    clip = np.zeros(RATE + 1, np.float32)
    clip[RATE // 2] = 1
    for speed in (0.8, 1.0, 1.25):
        assert np.argmax(warp(clip, speed, 0)) == RATE // 2


def test_interpolation_is_exact_for_a_line() -> None:
    line = np.linspace(-1, 1, RATE, dtype=np.float32)
    warped = warp(line, 0.9, 0)
    np.testing.assert_allclose(warped, 0.9 * line, atol=1e-6)


def test_active_power_of_a_tone_ignores_the_silence_around_it() -> None:
    clip = tone(1000)
    clip[: RATE // 2] = 0
    assert active_power(clip, RATE) == pytest.approx(0.5**2 / 2, rel=1e-3)
    assert active_power(np.zeros(RATE, np.float32), RATE) == 0


@pytest.mark.parametrize("snr", [-5.0, 0.0, 20.0])
def test_noise_has_the_asked_ratio_to_the_active_speech(snr: float) -> None:
    speech = tone(1000)
    speech[: RATE // 2] = 0
    noise = BANK.draw(0.3, RATE)
    added = noise_gain(speech, noise, snr, RATE) * noise
    ratio = 10 * np.log10((0.5**2 / 2) / np.mean(np.square(added, dtype=np.float64)))
    assert ratio == pytest.approx(snr, abs=0.01)


def test_noise_in_a_view_keeps_its_range_and_a_quarter_stays_clean() -> None:
    augment = Augment(**(QUIET | {"clean": 0.25}), snr=(5.0, 15.0))
    clip = tone(1000, 0.1)
    added = [augment(clip, f"cut{n}", 0, BANK).waveform - clip for n in range(1000)]
    power = np.array([np.mean(np.square(noise, dtype=np.float64)) for noise in added])
    assert np.mean(power == 0) == pytest.approx(0.25, abs=0.04)
    ratios = 10 * np.log10(0.1**2 / 2 / power[power > 0])
    assert ratios.min() == pytest.approx(5, abs=0.2)
    assert ratios.max() == pytest.approx(15, abs=0.2)


def test_a_silent_clip_stays_silent_and_finite() -> None:
    silent = Augment(clean=0.0, telephone=1.0)(np.zeros(RATE, np.float32), "a", 0, BANK)
    assert not silent.waveform.any()


def test_gain_is_in_decibels() -> None:
    louder = Augment(**(QUIET | {"gain": (-6.0, -6.0)}))(tone(440), "a", 0, BANK).waveform
    np.testing.assert_allclose(louder, tone(440) * 10 ** (-6 / 20), rtol=1e-5)


def test_a_view_never_leaves_the_range() -> None:
    augment = Augment(gain=(20.0, 20.0), snr=(-5.0, -5.0), clean=0.0)
    peaks = [np.abs(augment(tone(440), f"{n}", 0, BANK).waveform).max() for n in range(20)]
    assert max(peaks) <= 1
    assert min(peaks) > 0.9


@pytest.mark.parametrize(("hertz", "passes"), [(100, False), (500, True), (3000, True), (5000, False)])
def test_the_telephone_passes_its_band_only(hertz: float, passes: bool) -> None:
    clip = tone(hertz)
    heard = through_telephone(clip, RATE)
    power = np.mean(heard**2) / np.mean(clip**2)
    assert power == pytest.approx(1, abs=0.05) if passes else power < 1e-4


def test_the_telephone_quantises_to_eight_bits_of_mu_law() -> None:
    heard = through_telephone(tone(1000, 0.9), RATE)
    assert len(np.unique(heard)) <= 256
    # Mu-law keeps the error of a loud tone about 38 dB below it (Jayant and Noll 1984).
    noise = heard - tone(1000, 0.9)
    assert 34 < 10 * np.log10(np.mean(tone(1000, 0.9) ** 2) / np.mean(noise**2)) < 42


def test_masks_lie_inside_and_hide_at_most_a_quarter_of_the_clip() -> None:
    augment = Augment(**QUIET, time_masks=3, time_mask=0.9, frequency_masks=2, frequency_mask=0.3)
    views = [augment(tone(440), f"{n}", 0, BANK) for n in range(300)]
    time = np.stack([view.time_masks for view in views])
    frequency = np.stack([view.frequency_masks for view in views])
    assert time.shape == (300, 3, 2)
    assert frequency.shape == (300, 2, 2)
    assert time.min() >= 0
    assert time.max() <= 1
    widths = time[..., 1] - time[..., 0]
    assert widths.sum(axis=1).max() <= 0.25 + 1e-6
    assert widths.mean() == pytest.approx(0.25 / 3 / 2, rel=0.1)
    assert (frequency[..., 1] - frequency[..., 0]).max() <= 0.3
    assert frequency.max() <= 1


def test_noise_comes_from_the_given_spans_only() -> None:
    audio = np.zeros(4 * RATE, np.int16)
    audio[RATE : 2 * RATE] = 1
    audio[3 * RATE :] = 2
    bank = NoiseBank(audio, [(RATE, RATE), (3 * RATE, RATE)])
    drawn = [bank.draw(place, RATE // 2) for place in np.linspace(0, 1, 50, endpoint=False)]
    assert {float(value) for noise in drawn for value in np.unique(noise)} == {1.0, 2.0}


def test_without_recordings_the_noise_is_white() -> None:
    bank = NoiseBank(np.zeros(0, np.int16), [])
    noise = bank.draw(0.4, RATE)
    np.testing.assert_array_equal(noise, bank.draw(0.4, RATE))
    power = np.abs(np.fft.rfft(noise)) ** 2
    assert power[: RATE // 4].mean() == pytest.approx(power[RATE // 4 :].mean(), rel=0.1)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"snr": (10.0, 0.0)}, "snr"),
        ({"clean": 1.5}, "clean"),
        ({"mixup": -0.1}, "mixup"),
        ({"speed": (0.0, 1.0)}, "speed"),
    ],
)
def test_impossible_settings_name_their_key(settings: dict[str, float], key: str) -> None:
    with pytest.raises(ValueError, match=f"augment.{key}"):
        Augment(**settings)
