"""A tiny corpus in the published layout: each word is a tone, each speaker has a phase of their own."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 16000
WORDS = ("yes", "no", "up", "down")


def tone(hertz: float, seconds: float = 1.0, rate: int = RATE, phase: float = 0.0) -> np.ndarray:
    """(T,) float32 sine of amplitude 0.5."""
    time = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * time + phase)).astype(np.float32)


def hertz_of(word: str) -> float:
    return 300.0 + 100.0 * (sum(map(ord, word)) % 20)


def clip_name(split: str, speaker: int, take: int = 0) -> str:
    return f"{'abc'[('train', 'validation', 'test').index(split)]}{speaker:07x}_nohash_{take}.wav"


def write_corpus(
    root: Path,
    words: Sequence[str] = WORDS,
    speakers: tuple[int, int, int] = (10, 3, 3),
    noise_seconds: float = 15.0,
) -> Path:
    """One clip a word and speaker, with train, validation and test ``speakers``; returns the corpus root."""
    lists: dict[str, list[str]] = {"validation": [], "test": []}
    for word in words:
        (root / word).mkdir(parents=True)
        for split, count in zip(("train", "validation", "test"), speakers, strict=True):
            for speaker in range(count):
                name = clip_name(split, speaker)
                soundfile.write(root / word / name, tone(hertz_of(word), phase=0.1 * speaker), RATE)
                if split in lists:
                    lists[split].append(f"{word}/{name}")
    (root / "validation_list.txt").write_text("\n".join(lists["validation"]) + "\n")
    (root / "testing_list.txt").write_text("\n".join(lists["test"]) + "\n")
    if noise_seconds:
        (root / "_background_noise_").mkdir()
        noise = np.random.default_rng(0).normal(0, 0.1, round(noise_seconds * RATE))
        soundfile.write(root / "_background_noise_" / "pink.wav", noise, RATE)
        (root / "_background_noise_" / "README.md").write_text("where the noise is from")
    return root


def write_test_set(root: Path, words: Sequence[str], clips: int = 2) -> Path:
    """The official 12-class test set: ``clips`` clips of each word, of _unknown_ and of _silence_."""
    for word in (*words, "_unknown_", "_silence_"):
        (root / word).mkdir(parents=True)
        for speaker in range(clips):
            soundfile.write(root / word / clip_name("test", speaker), tone(hertz_of(word)), RATE)
    return root


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A written corpus; its folder has the published name."""
    return write_corpus(tmp_path / "given" / "speech_commands_v0.02")


@pytest.fixture
def corpus_writer() -> Callable[..., Path]:
    return write_corpus


@pytest.fixture
def test_set_writer() -> Callable[..., Path]:
    return write_test_set


@pytest.fixture
def make_tone() -> Callable[..., np.ndarray]:
    return tone
