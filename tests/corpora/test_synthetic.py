"""The embedded corpus: what is written, that it is repeatable, and that nothing half-written remains."""

import csv
import dataclasses
import signal
import subprocess
import sys
import time
import wave
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from full_disk import no_file_beyond

from kd_lightning.corpora import embedded, voices
from kd_lightning.corpora.acoustics import (
    NOISE_KINDS,
    SAMPLE_RATE,
    active_level,
    mix,
    noise,
    room_response,
    tilt_gains,
)
from kd_lightning.corpora.espeak import Espeak
from kd_lightning.corpora.synthetic import SyntheticSpeechCommands
from kd_lightning.corpora.synthetic_shard import render

pytest.importorskip("espeakng_loader")

SMALL = SyntheticSpeechCommands(words=("yes", "no", "tree", "three"), clips=(50, 12, 21), voices=(17, 3, 4))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return SMALL.write(tmp_path_factory.mktemp("data"))


def everything(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def conditions(root: Path) -> list[dict[str, str]]:
    with (root / "conditions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def samples(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, SAMPLE_RATE)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768


def lists(root: Path) -> dict[str, set[str]]:
    clips = {str(path.relative_to(root)) for word in SMALL.words for path in (root / word).iterdir()}
    validation = set((root / "validation_list.txt").read_text().split())
    test = set((root / "testing_list.txt").read_text().split())
    return {"train": clips - validation - test, "validation": validation, "test": test}


def test_counts_per_split_are_as_asked(root: Path) -> None:
    splits = lists(root)
    assert tuple(len(paths) for paths in splits.values()) == SMALL.clips
    assert tuple(len({path.split("/")[1][:8] for path in paths}) for paths in splits.values()) == SMALL.voices
    for paths in splits.values():  # words are spread evenly, to one clip a speaker
        words = Counter(path.split("/")[0] for path in paths)
        assert set(words) == set(SMALL.words)


def test_splits_share_no_speaker_and_no_espeak_variant(root: Path) -> None:
    splits = lists(root)
    voice = {row["path"]: row["voice"] for row in conditions(root)}
    assert voice.keys() == set().union(*splits.values())
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        for trait in (
            lambda path: path.split("/")[1][:8],
            lambda path: voice[path].partition("+")[2].partition("/")[0],
        ):
            assert not {trait(path) for path in splits[one]} & {trait(path) for path in splits[other]}


def test_the_default_speakers_are_all_different() -> None:
    speakers = SyntheticSpeechCommands().speakers()
    assert len({speaker.name for speaker in speakers}) == len({speaker.voice for speaker in speakers}) == 105


def test_every_default_voice_is_known_to_espeak() -> None:
    espeak = Espeak()
    for voice in [f"en-us+{v}" for v in voices.VARIANTS] + [f"{a}+f2" for a in voices.ACCENTS]:
        espeak.voice(voice)
    for unknown in ("en-us+nobody", "xx+f2"):
        with pytest.raises(ValueError, match="no voice"):
            espeak.voice(unknown)


def test_a_default_sized_plan_balances_words_and_has_no_path_twice() -> None:
    settings = SyntheticSpeechCommands()
    utterances = [utterance for shard in settings.shards() for utterance in shard]
    assert len({utterance.path for utterance in utterances}) == 10_500
    counts = Counter((utterance.speaker.name, utterance.word) for utterance in utterances)
    assert set(counts.values()) == {5}
    assert len(counts) == 105 * 20


def test_clips_are_one_second_or_a_little_less_and_never_clip(root: Path) -> None:
    lengths = []
    for row in conditions(root):
        clip = samples(root / row["path"])
        lengths.append(len(clip))
        assert 0.01 < np.abs(clip).max() < 0.99
    assert max(lengths) == np.median(lengths) == SAMPLE_RATE
    assert 0.75 * SAMPLE_RATE <= min(lengths) < SAMPLE_RATE


def test_noise_is_where_the_conditions_say(root: Path) -> None:
    """Around the word a clean clip is digitally silent, a noisy one never is for 10 ms."""
    rows = conditions(root)
    silent: dict[bool, list[bool]] = {True: [], False: []}
    for row in rows:
        clip = samples(root / row["path"])
        frames = clip[: len(clip) // 160 * 160].reshape(-1, 160)
        silent[row["snr_db"] == ""].append(not frames.any(axis=1).all())
    assert not any(silent[False])
    assert np.mean(silent[True]) > 0.8  # a long word in a live room can fill its clip
    assert 0.1 < len(silent[True]) / len(rows) < 0.45
    assert all(-5 <= float(row["snr_db"]) <= 20 for row in rows if row["snr_db"])


def test_background_noises_are_a_minute_each(root: Path) -> None:
    files = sorted((root / "_background_noise_").iterdir())
    assert [file.stem for file in files] == sorted(f"{kind}_noise" for kind in NOISE_KINDS)
    for file in files:
        level = np.abs(samples(file))
        assert len(level) == 60 * SAMPLE_RATE
        assert 0.4 < level.max() < 0.6


def test_the_same_settings_give_the_same_bytes_with_one_process_or_two(root: Path, tmp_path: Path) -> None:
    assert everything(SMALL.write(tmp_path, processes=1)) == everything(root)


def test_other_seeds_are_other_corpora() -> None:
    other = dataclasses.replace(SMALL, seed=1)
    assert other.fingerprint != SMALL.fingerprint
    assert not {s.name for s in other.speakers()} & {s.name for s in SMALL.speakers()}


def test_lists_and_whole_numbers_from_a_config_are_the_same_settings() -> None:
    config = {
        "words": list(SMALL.words),
        "clips": [50, 12, 21],
        "voices": [17, 3, 4],
        "snr_db": [-5, 20],
        "tilt_db": 3,
    }
    plain = SyntheticSpeechCommands(**config)  # type: ignore[arg-type]
    assert plain == SMALL
    assert plain.fingerprint == SMALL.fingerprint


def test_a_finished_corpus_is_not_touched(root: Path) -> None:
    before = (root / "conditions.csv").stat()
    assert SMALL.write(root.parents[2]) == root
    assert (root / "conditions.csv").stat() == before


def test_a_write_that_was_killed_leaves_nothing_finished_and_is_repaired(root: Path, tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from kd_lightning.corpora.synthetic import SyntheticSpeechCommands as S; "
        f"S(**{dataclasses.asdict(SMALL)!r}).write(Path({str(tmp_path)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any(tmp_path.rglob("*_nohash_*.wav")) and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert any(tmp_path.rglob("*_nohash_*.wav"))
    assert not (tmp_path / "embedded" / SMALL.fingerprint).exists()
    assert everything(SMALL.write(tmp_path)) == everything(root)
    assert [path.name for path in (tmp_path / "embedded").iterdir() if path.is_dir()] == [SMALL.fingerprint]


def test_a_disk_that_refuses_leaves_nothing_and_names_the_folder(tmp_path: Path) -> None:
    """A limit on file sizes, inherited by the speaking processes, stands in for a full disk."""
    refused = pytest.raises(OSError, match=f"embedded/{SMALL.fingerprint}.*make room there or set paths.data")
    with no_file_beyond(20_000), refused:
        SMALL.write(tmp_path)
    assert not any(path.is_dir() for path in (tmp_path / "embedded").iterdir())


def test_without_espeak_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "kd_lightning\[synthetic\]"'):
        SMALL.write(tmp_path)


def test_speaking_imports_no_torch() -> None:
    program = "import sys, kd_lightning.corpora.synthetic_shard; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"words": ()},
        {"words": ("yes", "yes")},
        {"words": ("../up",)},
        {"clips": (10, 0, 10)},
        {"voices": (1, 1)},
        {"snr_db": (20.0, -5.0)},
        {"clean_share": 1.5},
        {"decay_seconds": (0.1, 2.0)},
    ],
)
def test_settings_that_cannot_be_spoken_are_named(wrong: dict[str, tuple[object, ...]]) -> None:
    with pytest.raises(ValueError, match=f"synthetic.{next(iter(wrong))}"):
        SyntheticSpeechCommands(**wrong)  # type: ignore[arg-type]


def test_active_level_ignores_pauses() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE).astype(np.float32)
    paused = np.concatenate([np.zeros(4000, np.float32), tone, np.zeros(4000, np.float32)])
    assert active_level(tone) == pytest.approx(np.sqrt(0.5), rel=1e-3)
    assert active_level(paused) == pytest.approx(active_level(tone), rel=0.02)


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
def test_the_stated_ratio_is_the_mixed_one(snr_db: float) -> None:
    """A tone fills half of the clip: its active level is known, and what was added is the difference."""
    rng = np.random.default_rng(0)
    speech = np.zeros(SAMPLE_RATE, np.float32)
    speech[:8000] = 0.3 * np.sin(2 * np.pi * 500 * np.arange(8000) / SAMPLE_RATE)
    added = mix(speech, rng.standard_normal(SAMPLE_RATE, dtype=np.float32), snr_db) - speech
    assert 20 * np.log10(0.3 / np.sqrt(2) / np.sqrt(np.mean(added**2))) == pytest.approx(snr_db, abs=0.02)


def test_the_ratio_of_a_rendered_clip_is_measured_back() -> None:
    """With a dry, untilted room the word is known: regress the clip on it and measure what remains."""
    settings = SyntheticSpeechCommands(clean_share=0, tail_db=(-100, -100), tilt_db=0, shift_seconds=0)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        time_axis = np.arange(8000) / SAMPLE_RATE
        word = (np.sin(2 * np.pi * 1700 * time_axis) * np.hanning(8000)).astype(np.float32)
        clip, snr_db = render(word, settings, rng, rng.standard_normal(SAMPLE_RATE * 3, dtype=np.float32))
        assert snr_db is not None
        speech = np.zeros(len(clip))
        start = round((len(clip) - len(word)) / 2)
        speech[start : start + len(word)] = word
        speech *= clip @ speech / (speech @ speech)
        rest = clip - speech
        measured = 20 * np.log10(active_level(speech.astype(np.float32)) / np.sqrt(np.mean(rest**2)))
        assert measured == pytest.approx(snr_db, abs=1.0)


def test_room_has_the_asked_energy_and_decay() -> None:
    response = room_response(np.random.default_rng(0), decay_seconds=0.4, tail_db=-6.0).astype(np.float64)
    assert response[0] == 1
    assert 10 * np.log10(np.sum(response[1:] ** 2)) == pytest.approx(-6.0, abs=0.01)
    quarters = [np.sum(part**2) for part in np.split(response[1:], [1600, 3200, 4800])]
    falls = 10 * np.log10(np.array(quarters[:-1]) / quarters[1:])  # 60 dB in four quarters
    np.testing.assert_allclose(falls, 15, atol=1.5)


def test_tilt_is_exact_at_octaves() -> None:
    gains = 20 * np.log10(tilt_gains(np.array([50.0, 100.0, 500.0, 1000.0, 2000.0, 8000.0]), 3.0))
    np.testing.assert_allclose(gains, [3 * np.log2(0.1), 3 * np.log2(0.1), -3, 0, 3, 9], atol=1e-4)


def test_noise_colours_fall_as_named() -> None:
    """Power an octave: white rises by 3 dB, pink is level, brown falls by 3 dB."""
    for kind, slope in (("white", 3.01), ("pink", 0.0), ("brown", -3.01)):
        wave_ = noise(kind, 1 << 18, np.random.default_rng(0), np.ones(1, np.float32))  # type: ignore[arg-type]
        assert np.sqrt(np.mean(wave_**2)) == pytest.approx(1, rel=1e-3)
        power = np.abs(np.fft.rfft(wave_)) ** 2
        hertz = np.fft.rfftfreq(1 << 18, 1 / SAMPLE_RATE)
        octaves = [power[(hertz >= low) & (hertz < 2 * low)].sum() for low in (250, 500, 1000, 2000)]
        np.testing.assert_allclose(np.diff(10 * np.log10(octaves)), slope, atol=0.4)
