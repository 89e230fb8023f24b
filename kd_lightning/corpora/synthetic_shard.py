"""Speak one shard of the embedded corpus in this process: ``python -m kd_lightning.corpora.synthetic_shard``.

Three arguments: the corpus root, the shard's number (-1 is the background noise) and the settings as JSON.
Prints one JSON object a clip, ``{"path", "voice", "snr_db"}``, or ``{"errno", "message"}`` when the disk
refuses. It imports no torch: eight such processes start for one corpus.
"""

import json
import signal
import sys
import wave
from pathlib import Path

import numpy as np
from scipy import fft

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
from kd_lightning.corpora.synthetic import RECIPE, Speaker, SyntheticSpeechCommands, Utterance

LONGEST_WORD = 0.85  # seconds; a word that takes longer is said again, faster
SHORT_CLIPS = 0.1  # this share of the published clips is shorter than a second
NOISE_SECONDS = 60
SENTENCES = (
    "The train to the coast was late again this morning, so we had breakfast at the station.",
    "My neighbour grows tomatoes on the balcony and gives most of them away in August.",
    "Could you bring the blue chairs inside before the rain gets any worse?",
    "We walked along the river for hours and talked about nothing in particular.",
    "She keeps every letter in a wooden box under the window.",
    "The recipe says to wait, but nobody in this kitchen is patient enough.",
)


def speak_background(root: Path, settings: SyntheticSpeechCommands, espeak: Espeak) -> None:
    """Write the long noises of ``_background_noise_``: the kinds that clips have, but other realisations.

    Args:
        root: the corpus root.
        settings: the corpus's settings; the talkers are training speakers.
        espeak: has not spoken yet.
    """
    rng = np.random.default_rng([settings.seed, RECIPE, 1])
    talk = _talk([s for s in settings.speakers() if s.split == "train"], espeak, rng)
    for kind in NOISE_KINDS:
        samples = noise(kind, NOISE_SECONDS * SAMPLE_RATE, rng, talk)
        path = root / "_background_noise_" / f"{kind}_noise.wav"
        _write_wave(path, samples * (0.5 / np.abs(samples).max()))


def speak_shard(root: Path, settings: SyntheticSpeechCommands, shard: int, espeak: Espeak) -> None:
    """Write a shard's clips and print a line for each.

    Args:
        root: the corpus root.
        settings: the corpus's settings.
        shard: index into ``settings.shards()``.
        espeak: has not spoken yet.
    """
    utterances = settings.shards()[shard]
    rng = np.random.default_rng([settings.seed, RECIPE, 2, shard])
    talk = _talk(list(dict.fromkeys(u.speaker for u in utterances)), espeak, rng)
    for utterance in utterances:
        word = _say(utterance, espeak, rng)
        clip, snr_db = render(word, settings, rng, talk)
        _write_wave(root / utterance.path, clip)
        voice = f"{utterance.speaker.voice}/{utterance.speaker.rate}/{utterance.speaker.pitch}"
        heard = "" if snr_db is None else f"{snr_db:.2f}"
        print(json.dumps({"path": utterance.path, "voice": voice, "snr_db": heard}), flush=True)


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
    size = 2 * SAMPLE_RATE  # the word and the longest tail fit, so the circular convolution does not wrap
    room = room_response(rng, rng.uniform(*settings.decay_seconds), rng.uniform(*settings.tail_db))
    tilt = tilt_gains(fft.rfftfreq(size, 1 / SAMPLE_RATE), rng.uniform(-settings.tilt_db, settings.tilt_db))
    speech = fft.irfft(fft.rfft(word, size) * fft.rfft(room, size) * tilt, size)

    samples = SAMPLE_RATE
    if rng.random() < SHORT_CLIPS:
        samples = max(len(word), round(rng.uniform(0.75, 1) * SAMPLE_RATE))
    room_left = samples - len(word)
    shift = SAMPLE_RATE * rng.uniform(-settings.shift_seconds, settings.shift_seconds)
    start = round(min(max(room_left / 2 + shift, 0), room_left))
    clip = np.zeros(samples, np.float32)
    clip[start:] = speech[: samples - start]

    level = 10 ** (rng.uniform(-34, -16) / 20) / active_level(clip)
    snr_db = None
    if rng.random() >= settings.clean_share:
        snr_db = rng.uniform(*settings.snr_db)
        clip = mix(clip, noise(NOISE_KINDS[rng.integers(len(NOISE_KINDS))], samples, rng, talk), snr_db)
    return clip * np.float32(min(level, 0.98 / np.abs(clip).max())), snr_db


def _say(utterance: Utterance, espeak: Espeak, rng: np.random.Generator) -> np.ndarray:
    """One word at 16 kHz without silence around it, each time a little different in rate, pitch, melody."""
    speaker = utterance.speaker
    espeak.voice(speaker.voice)
    text = utterance.word + str(rng.choice(["", ".", "?", "!"]))
    rate = speaker.rate * rng.uniform(0.9, 1.1)
    pitch = round(min(max(speaker.pitch + rng.uniform(-8, 8), 0), 99))
    intonation = round(rng.uniform(30, 80))
    while True:
        spoken = espeak.say(text, round(min(max(rate, 80), 450)), pitch, intonation)
        word = _resample(_trim(spoken), espeak.sample_rate)
        if len(word) <= LONGEST_WORD * SAMPLE_RATE or rate > 450:
            return word[: round(LONGEST_WORD * SAMPLE_RATE)]
        rate *= 1.2


def _talk(speakers: list[Speaker], espeak: Espeak, rng: np.random.Generator) -> np.ndarray:
    """Running speech of several speakers, one after the other, each at the same level, at 16 kHz."""
    sentences = []
    for index in rng.permutation(len(speakers))[:8]:
        speaker = speakers[index]
        espeak.voice(speaker.voice)
        for text in rng.choice(SENTENCES, 2, replace=False):
            sentence = _resample(espeak.say(str(text), speaker.rate, speaker.pitch), espeak.sample_rate)
            sentences.append(sentence / active_level(sentence))
    return np.concatenate(sentences)


def _trim(speech: np.ndarray) -> np.ndarray:
    """Cut what is more than 50 dB below the peak at either end."""
    loud = np.flatnonzero(np.abs(speech) > np.abs(speech).max() * 10 ** (-50 / 20))
    return speech[loud[0] : loud[-1] + 1]


def _resample(speech: np.ndarray, sample_rate: int) -> np.ndarray:
    """Band-limited resampling to 16 kHz by cutting the spectrum of whole seconds."""
    seconds = -(-len(speech) // sample_rate)
    spectrum = fft.rfft(speech, seconds * sample_rate)[: seconds * SAMPLE_RATE // 2 + 1]
    resampled = fft.irfft(spectrum, seconds * SAMPLE_RATE) * np.float32(SAMPLE_RATE / sample_rate)
    return resampled[: -(-len(speech) * SAMPLE_RATE // sample_rate)]


def _write_wave(path: Path, samples: np.ndarray) -> None:
    # The standard library writes through Python's files: a full disk is an OSError, not a short file.
    with path.open("wb") as file, wave.open(file) as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(SAMPLE_RATE)
        target.writeframes(np.round(samples * 32767).astype("<i2").tobytes())


def main() -> None:
    """Speak the shard that the command line names."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asked; it ends this one
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # nobody listens any more: end, without a traceback
    root, shard = Path(sys.argv[1]), int(sys.argv[2])
    settings = SyntheticSpeechCommands(**json.loads(sys.argv[3]))
    try:
        if shard < 0:
            speak_background(root, settings, Espeak())
        else:
            speak_shard(root, settings, shard, Espeak())
    except OSError as error:
        print(json.dumps({"errno": error.errno, "message": error.strerror or str(error)}), flush=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
