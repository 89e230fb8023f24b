"""A few sentences of two people in the layout of LibriTTS, with the times of their phones; the sound is noise."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from kd_lightning.corpora.phone_times import Phone, write_phones
from kd_lightning.frontend.phonemes import phonemised
from kd_lightning.frontend.sentences import MARKS

RATE = 24000
SPEAKERS = ("1034", "84")
SENTENCES = {"train-clean-100": 12, "dev-clean": 4, "test-clean": 4}
SILENCE, PAUSE = 0.125, 0.25
_BEGINNINGS = ("Yes, we", "No, they", "Then, my dear friend, you", "If so, all of them")
_ENDS = ("saw the old house.", "went home.", "will buy green apples today!", "sat down?", "ran.")


def texts(count: int) -> list[str]:
    return [f"{_BEGINNINGS[n % 4]} {_ENDS[n % 5]}" for n in range(count)]


def phones_of(text: str) -> list[Phone]:
    """Every phone lasts 1/16 s, every mark a pause, and silence is at both ends."""
    phones, time = [Phone(0.0, SILENCE, "")], SILENCE
    spelt = phonemised([text], "en-us")[0]
    for piece in spelt[:-1] if spelt[-1] in MARKS else spelt:
        name, seconds = ("", PAUSE) if piece in MARKS else (piece, 0.0625)
        phones.append(Phone(time, time + seconds, name))
        time += seconds
    return [*phones, Phone(time, time + SILENCE, "")]


def write_voice(
    root: Path, parts: Sequence[str] = tuple(SENTENCES), phones: bool = True, rate: int = RATE
) -> Path:
    """Speakers in turn, all in every part; returns the corpus root."""
    said = texts(sum(SENTENCES.values()))
    rng = np.random.default_rng(0)
    for part in parts:
        for number in range(SENTENCES[part]):
            speaker = SPEAKERS[number % 2]
            folder = root / part / speaker / f"{speaker}00"
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{speaker}_{speaker}00_{list(SENTENCES).index(part):06d}_{number:06d}.wav"
            text = said.pop(0)
            path.with_suffix(".normalized.txt").write_text(text, encoding="utf-8")
            times = phones_of(text)
            noise = rng.uniform(-0.5, 0.5, round(times[-1].end * rate))
            soundfile.write(path, noise, rate)
            if phones:
                write_phones(path.with_suffix(".phones.tsv"), times)
    return root
