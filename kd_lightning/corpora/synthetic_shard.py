"""Speak one shard of the embedded keywords in this process: ``python -m kd_lightning.corpora.synthetic_shard``.

Shard -1 is the background noise.
"""

from pathlib import Path

import numpy as np

from kd_lightning.corpora.acoustics import NOISE_KINDS, SAMPLE_RATE, noise
from kd_lightning.corpora.espeak import Espeak
from kd_lightning.corpora.recording import in_a_room, with_noise
from kd_lightning.corpora.speaking import resample, running_speech, serve, tell, trim, vary, write_wave
from kd_lightning.corpora.synthetic import RECIPE, SyntheticSpeechCommands, Utterance

LONGEST_WORD = 0.85  # seconds; a word that takes longer is said again, faster
SHORT_CLIPS = 0.1  # this share of the published clips is shorter than a second
NOISE_SECONDS = 60


def speak_background(root: Path, settings: SyntheticSpeechCommands, espeak: Espeak) -> None:
    """Write the long noises of ``_background_noise_``: the kinds that clips have, but other realisations.

    Args:
        root: the corpus root.
        settings: the corpus's settings; the talkers are training speakers.
        espeak: has not spoken yet.
    """
    rng = np.random.default_rng([settings.seed, RECIPE, 1])
    talk = running_speech([s for s in settings.speakers() if s.split == "train"], espeak, rng)
    for kind in NOISE_KINDS:
        samples = noise(kind, NOISE_SECONDS * SAMPLE_RATE, rng, talk)
        path = root / "_background_noise_" / f"{kind}_noise.wav"
        write_wave(path, samples * (0.5 / np.abs(samples).max()), SAMPLE_RATE)


def speak_shard(root: Path, settings: SyntheticSpeechCommands, shard: int, espeak: Espeak) -> None:
    """Write a shard's clips and tell of each.

    Args:
        root: the corpus root.
        settings: the corpus's settings.
        shard: index into ``settings.shards()``; -1 for the background noise.
        espeak: has not spoken yet.
    """
    if shard < 0:
        speak_background(root, settings, espeak)
        return
    utterances = settings.shards()[shard]
    rng = np.random.default_rng([settings.seed, RECIPE, 2, shard])
    talk = running_speech(list(dict.fromkeys(u.speaker for u in utterances)), espeak, rng)
    for utterance in utterances:
        word = _say(utterance, espeak, rng)
        clip, snr_db = render(word, settings, rng, talk)
        write_wave(root / utterance.path, clip, SAMPLE_RATE)
        tell(utterance.path, utterance.speaker, snr_db)


def render(
    word: np.ndarray, settings: SyntheticSpeechCommands, rng: np.random.Generator, talk: np.ndarray
) -> tuple[np.ndarray, float | None]:
    """Turn a spoken word into a clip of the corpus: room, tilt, place, noise, level.

    Args:
        word: (W,) dry speech at 16 kHz, at most ``LONGEST_WORD``.
        settings: ranges of the conditions.
        rng: every draw comes from it.
        talk: (S,) running speech at 16 kHz for babble.

    Returns:
        The clip, (T,) float32 in (-1, 1) with T one second or, for some, a little less; and its
        signal-to-noise ratio in dB, None for a clean one.
    """
    speech = in_a_room(word, 2 * SAMPLE_RATE, settings, rng)
    samples = SAMPLE_RATE
    if rng.random() < SHORT_CLIPS:
        samples = max(len(word), round(rng.uniform(0.75, 1) * SAMPLE_RATE))
    room_left = samples - len(word)
    shift = SAMPLE_RATE * rng.uniform(-settings.shift_seconds, settings.shift_seconds)
    start = round(min(max(room_left / 2 + shift, 0), room_left))
    clip = np.zeros(samples, np.float32)
    clip[start:] = speech[: samples - start]
    return with_noise(clip, settings, rng, talk)


def _say(utterance: Utterance, espeak: Espeak, rng: np.random.Generator) -> np.ndarray:
    """One word at 16 kHz without silence around it, each time a little different in rate, pitch, melody."""
    espeak.voice(utterance.speaker.voice)
    text = utterance.word + str(rng.choice(["", ".", "?", "!"]))
    rate, pitch, intonation = vary(utterance.speaker, rng)
    while True:
        spoken = espeak.say(text, round(min(max(rate, 80), 450)), pitch, intonation)
        word = resample(trim(spoken), espeak.sample_rate, SAMPLE_RATE)
        if len(word) <= LONGEST_WORD * SAMPLE_RATE or rate > 450:
            return word[: round(LONGEST_WORD * SAMPLE_RATE)]
        rate *= 1.2


if __name__ == "__main__":
    serve(speak_shard, SyntheticSpeechCommands)
