"""Long audio: words where they are said to be, at the level they are said to have, the same every time."""

import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kd_lightning.corpora.augment import active_power
from kd_lightning.corpora.layout import Split, find_corpus
from kd_lightning.corpora.long_audio import GAP_SECONDS, SCENE_SECONDS, WORDS_A_SCENE, LongAudio, word_ends
from kd_lightning.corpora.prepare import prepare
from kd_lightning.corpora.prepared import Prepared

RATE = 16000
WORDS = ("yes", "no", "up", "down")


@pytest.fixture
def bursts(corpus_writer: Callable[..., Path], tmp_path: Path) -> Path:
    """A corpus whose clips are bursts of a tone from 0.3 to 0.7 s."""
    root = corpus_writer(tmp_path / "bursts", speakers=(2, 2, 5))
    burst = np.zeros(RATE, np.float32)
    burst[4800:11200] = 0.3 * np.sin(2 * np.pi * 440 * np.arange(6400) / RATE)
    for clip in root.glob("[!_]*/*.wav"):
        soundfile.write(clip, burst, RATE)
    return root


def opened(root: Path, data: Path) -> Prepared:
    return prepare(find_corpus(root), data)


@pytest.fixture
def prepared(bursts: Path, tmp_path: Path) -> Prepared:
    return opened(bursts, tmp_path / "data")


def test_energy_rises_at_the_onset_and_falls_at_the_offset(prepared):
    audio = LongAudio(prepared, WORDS, minutes=1, snr=[25.0])
    for number, scene in enumerate(audio):
        begin = number * SCENE_SECONDS
        power = np.square(scene.waveform)
        for word in scene.spoken:
            assert word.offset - word.onset == pytest.approx(0.4, abs=0.021)
            onset, offset = (round((time - begin) * RATE) for time in (word.onset, word.offset))
            inside = power[onset + 320 : offset - 320].mean()
            assert inside > 50 * power[onset - 1600 : onset - 320].mean()
            assert inside > 50 * power[offset + 320 : offset + 1600].mean()


@pytest.mark.parametrize("snr", [20.0, 0.0])
def test_clips_lie_at_the_snr_above_the_background_under_them(prepared, monkeypatch, snr):
    audio = LongAudio(prepared, WORDS, minutes=0.5, snr=[snr])
    scene = audio.scene(0)
    monkeypatch.setattr(LongAudio, "_clip", lambda self, start: np.zeros(RATE, np.float32))
    background = audio.scene(0).waveform  # as recorded: the scene's is louder or quieter by one factor
    before = int((min(word.onset for word in scene.spoken) - 0.29) * RATE)
    background *= np.abs(scene.waveform[:before]).sum() / np.abs(background[:before]).sum()
    for word in scene.spoken:
        second = slice(start := round((word.onset - 0.3) * RATE), start + RATE)
        clip = scene.waveform[second] - background[second]
        noise = np.square(background[second]).mean()
        assert 10 * np.log10(active_power(clip, RATE) / noise) == pytest.approx(snr, abs=0.15)


def test_the_same_seed_gives_the_same_bytes_in_any_order_and_another_gives_others(prepared):
    first, again = (LongAudio(prepared, WORDS, 2, seed=3) for _ in range(2))
    scenes = list(first)
    for number in (3, 0, 2):
        scene = again.scene(number)
        np.testing.assert_array_equal(scene.waveform, scenes[number].waveform)
        assert scene.spoken == scenes[number].spoken
    other = LongAudio(prepared, WORDS, 2, seed=4).scene(0)
    assert not np.array_equal(other.waveform, scenes[0].waveform)
    assert not np.array_equal(scenes[1].waveform, scenes[0].waveform)


def test_words_are_of_the_test_split_and_keep_their_distance(prepared):
    spoken = [word for scene in LongAudio(prepared, WORDS, 10) for word in scene.spoken]
    testing = prepared.clips["id"][prepared.clips["split"] == Split.TESTING]
    assert {word.clip.encode() for word in spoken} <= set(testing.tolist())
    onsets = np.array([word.onset for word in spoken])
    for scene in range(20):
        within = np.sort(onsets[(onsets >= 30 * scene) & (onsets < 30 * scene + 30)])
        assert len(within) == WORDS_A_SCENE
        assert np.diff(within).min() >= 1 + GAP_SECONDS - 0.03
    assert {word.snr for word in spoken} == {20.0, 10.0, 5.0}


def test_keywords_come_equally_often_and_every_clip_in_turn(prepared):
    spoken = [word for scene in LongAudio(prepared, WORDS, 5) for word in scene.spoken]
    assert Counter(word.word for word in spoken) == dict.fromkeys(WORDS, 30)
    assert set(Counter(word.clip for word in spoken).values()) == {6}  # five clips a word


def test_half_of_the_clips_are_other_words_where_there_are_any(prepared):
    spoken = [word.word for scene in LongAudio(prepared, ["yes", "up"], 5) for word in scene.spoken]
    assert Counter(spoken) == {"yes": 30, "up": 30, "no": 30, "down": 30}
    assert spoken[:12] != sorted(spoken[:12])


def test_the_background_is_the_part_of_the_noise_that_no_training_hears(prepared):
    audio = LongAudio(prepared, WORDS, 1)
    ((start, length),) = audio.noise
    ((trained, many),) = prepared.noise
    assert start >= trained + many
    # The last tenth of 15 s; seconds of "silence" begin every twentieth.
    assert length == pytest.approx(1.5 * RATE, abs=0.05 * RATE)
    assert start == trained + round(13.5 * RATE)


def test_a_corpus_without_noise_gets_white_noise(corpus_writer, tmp_path):
    root = corpus_writer(tmp_path / "given", noise_seconds=0)
    audio = LongAudio(opened(root, tmp_path / "data"), WORDS, 0.5, snr=[0.0])
    assert audio.noise == []
    scene = audio.scene(0)
    gap = scene.waveform[200 : round((min(word.onset for word in scene.spoken) - 0.05) * RATE)]
    spectrum = np.abs(np.fft.rfft(gap[: len(gap) // 8 * 8])) ** 2
    octaves = [part.mean() for part in np.array_split(spectrum, 4)]
    assert max(octaves) < 1.5 * min(octaves)


def test_an_hour_takes_the_memory_of_a_scene(prepared):
    audio = LongAudio(prepared, WORDS, 60)
    audio.scene(0)
    tracemalloc.start()
    for number, _ in enumerate(audio):
        if number == 20:
            break
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert audio.minutes == 60
    assert peak < 12 * SCENE_SECONDS * RATE * 4


def test_loud_scenes_stay_within_full_scale(prepared):
    for scene in LongAudio(prepared, WORDS, 1, snr=[-20.0]):
        assert np.abs(scene.waveform).max() <= 1.0


@pytest.mark.parametrize(("snr", "within"), [(None, 0.011), (20, 0.03), (5, 0.05)])
def test_the_ends_of_a_burst_are_found_under_noise(snr, within):
    rng = np.random.default_rng(0)
    for begin, end in rng.uniform([0.1, 0.5], [0.4, 0.9], (20, 2)):
        clip = np.zeros(RATE, np.float32)
        first, last = int(begin * RATE), int(end * RATE)
        clip[first:last] = 0.2 * np.sin(2 * np.pi * 300 * np.arange(last - first) / RATE)
        clip[first + 1000 : first + 2000] = 0  # the pause of a stop
        if snr is not None:
            clip += rng.normal(0, 0.2 / np.sqrt(2) * 10 ** (-snr / 20), RATE).astype(np.float32)
        assert word_ends(clip) == pytest.approx((begin, end), abs=within)


def test_a_clip_of_digital_silence_is_no_event(bursts, tmp_path):
    for clip in (bursts / "yes").glob("*.wav"):
        soundfile.write(clip, np.zeros(RATE), RATE)
    spoken = [
        w.word for scene in LongAudio(opened(bursts, tmp_path / "data"), WORDS, 1) for w in scene.spoken
    ]
    assert Counter(spoken) == {"no": 6, "up": 6, "down": 6}


def test_what_cannot_be_made_is_refused(prepared, corpus_writer, tmp_path):
    for minutes in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="minutes="):
            LongAudio(prepared, WORDS, minutes)
    with pytest.raises(ValueError, match="no clip of the keyword 'go'"):
        LongAudio(prepared, ["yes", "go"], 1)
    with pytest.raises(ValueError, match="needs keywords and SNRs"):
        LongAudio(prepared, WORDS, 1, snr=[])
    with pytest.raises(ValueError, match="needs keywords and SNRs"):
        LongAudio(prepared, [], 1)
