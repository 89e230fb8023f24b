"""Speak one shard of embedded sentences in this process: ``python -m kd_lightning.corpora.sentence_shard``."""

from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
from scipy import fft

from kd_lightning.corpora.acoustics import SAMPLE_RATE
from kd_lightning.corpora.espeak import Espeak
from kd_lightning.corpora.recording import in_a_room, with_noise
from kd_lightning.corpora.sentences import with_numerals
from kd_lightning.corpora.speaking import resample, running_speech, serve, tell, trim, vary, write_wave
from kd_lightning.corpora.synthetic_sentences import (
    SyntheticCommonVoice,
    SyntheticLibriTTS,
    SyntheticSentences,
    Utterance,
)

_MP3_COMPRESSION = 0.8  # of 0 to 1, variable: about 45 kbit/s, as published clips have


def speak_shard(root: Path, settings: SyntheticSentences, shard: int, espeak: Espeak) -> None:
    """Write a shard's clips, with their texts where the layout has them beside the clips, and tell of each.

    Args:
        root: the corpus root.
        settings: the corpus's settings.
        shard: index into ``settings.shards()``.
        espeak: has not spoken yet.
    """
    utterances = settings.shards()[shard]
    rng = settings.rng(2, shard)
    talk = running_speech(list(dict.fromkeys(u.speaker for u in utterances)), espeak, rng)
    for utterance in utterances:
        clip, snr_db = render(_say(utterance, espeak, rng), settings, rng, talk)
        clip = resample(clip, SAMPLE_RATE, settings.sample_rate)
        clip *= np.float32(min(1, 0.98 / np.abs(clip).max()))  # between two samples it may have been higher
        path = root / utterance.path
        if path.suffix == ".mp3":
            _write_mp3(path, clip, settings.sample_rate)
        else:
            write_wave(path, clip, settings.sample_rate)
            path.with_suffix(".original.txt").write_text(with_numerals(utterance.text))
            path.with_suffix(".normalized.txt").write_text(utterance.text)
        tell(utterance.path, utterance.speaker, snr_db, samples=len(clip))


def render(
    sentence: np.ndarray, settings: SyntheticSentences, rng: np.random.Generator, talk: np.ndarray
) -> tuple[np.ndarray, float | None]:
    """Turn a spoken sentence into a clip of the corpus: room, tilt, pauses, noise, level.

    Args:
        sentence: (S,) dry speech at 16 kHz.
        settings: ranges of the conditions.
        rng: every draw comes from it.
        talk: (N,) running speech at 16 kHz for babble.

    Returns:
        The clip, (T,) float32 in (-1, 1) with T the sentence and its pauses; and its signal-to-noise ratio in dB,
        None for a clean one.
    """
    before, after = (round(rng.uniform(*settings.pause_seconds) * SAMPLE_RATE) for _ in range(2))
    room = round(settings.decay_seconds[1] * SAMPLE_RATE)
    heard = in_a_room(sentence, fft.next_fast_len(len(sentence) + max(room, after), real=True), settings, rng)
    clip = np.zeros(before + len(sentence) + after, np.float32)
    clip[before:] = heard[: len(sentence) + after]
    return with_noise(clip, settings, rng, talk)


def _say(utterance: Utterance, espeak: Espeak, rng: np.random.Generator) -> np.ndarray:
    """One sentence at 16 kHz without silence around it."""
    espeak.voice(utterance.speaker.voice)
    rate, pitch, intonation = vary(utterance.speaker, rng)
    spoken = espeak.say(utterance.text, round(min(max(rate, 80), 450)), pitch, intonation)
    return resample(trim(spoken), espeak.sample_rate, SAMPLE_RATE)


def _write_mp3(path: Path, samples: np.ndarray, rate: int) -> None:
    # Encoded in memory and written by Python: a full disk is an OSError that names itself.
    encoded = BytesIO()
    soundfile.write(
        encoded, samples, rate, format="MP3", bitrate_mode="VARIABLE", compression_level=_MP3_COMPRESSION
    )
    path.write_bytes(encoded.getvalue())


if __name__ == "__main__":
    serve(speak_shard, SyntheticCommonVoice, SyntheticLibriTTS)
