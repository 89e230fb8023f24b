"""The length of an mp3: counted where no first frame tells it, whatever its tags and its bit rate."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kd_lightning.frontend import mp3
from kd_lightning.frontend.audio_file import read_mono

SECONDS = 3.0
ID3V2 = b"ID3\x04\x00\x00\x00\x00\x02\x00" + bytes(256)
ID3V1 = b"TAG" + bytes(125)


def recorded(path: Path, rate: int, mode: str, channels: int = 1) -> bytes:
    """An mp3 of silence and a tone, of which a variable bit rate makes little and much."""
    tone = 0.5 * np.sin(2 * math.pi * 440 * np.arange(round(rate * SECONDS)) / rate)
    tone += 0.1 * np.random.default_rng(0).standard_normal(len(tone)) * (np.arange(len(tone)) > len(tone) / 2)
    with soundfile.SoundFile(
        path, "w", rate, channels, format="MP3", bitrate_mode=mode, compression_level=0.5
    ) as file:
        file.write(np.stack([tone] * channels, axis=1))
    return path.read_bytes()


def streamed(whole: bytes) -> bytes:
    """The same as a stream leaves it: without the first frame, which says how many there are."""
    said = max(whole.find(b"Xing"), whole.find(b"Info"))
    return whole[whole.find(whole[:2], said) :]


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE", "AVERAGE"])
@pytest.mark.parametrize(("rate", "channels"), [(48000, 1), (44100, 2), (32000, 1), (16000, 2), (8000, 1)])
def test_a_stream_is_read_to_its_end(tmp_path: Path, rate: int, channels: int, mode: str):
    path = tmp_path / "tone.mp3"
    stream = streamed(recorded(path, rate, mode, channels))
    assert mp3.counted(stream) is not None
    lengths = []
    for tagged in (stream, ID3V2 + stream, stream + ID3V1, ID3V2 + stream + ID3V1):
        path.write_bytes(tagged)
        lengths.append(len(read_mono(path, rate)) / rate)
    # Whole frames of up to 72 ms, and what encoder and decoder add before and after.
    assert SECONDS <= lengths[0] <= SECONDS + 0.25
    assert set(lengths) == {lengths[0]}


def test_damage_in_the_middle_hides_no_end(tmp_path: Path):
    path = tmp_path / "tone.mp3"
    stream = streamed(recorded(path, 32000, "VARIABLE"))
    half = stream.find(stream[:2], len(stream) // 2)
    path.write_bytes(stream[:half] + bytes(50) + stream[half:])
    assert SECONDS <= len(read_mono(path, 32000)) / 32000 <= SECONDS + 0.25


def test_a_stream_that_breaks_off_in_a_frame_is_truncated(tmp_path: Path):
    path = tmp_path / "tone.mp3"
    stream = streamed(recorded(path, 48000, "CONSTANT"))
    path.write_bytes(stream[: len(stream) // 2 + 100])
    with pytest.raises(ValueError, match="truncated"):
        read_mono(path, 16000)


def test_what_says_its_length_or_has_no_frame_stays(tmp_path: Path):
    assert mp3.counted(recorded(tmp_path / "tone.mp3", 16000, "CONSTANT")) is None
    for nothing in (b"", b"ID3", bytes(100), b"\xff" * 100, b"RIFF and so on"):
        assert mp3.counted(nothing) is None
