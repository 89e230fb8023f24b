"""What the programs that speak a shard of an embedded corpus share. It imports no torch: many of them start."""

import json
import signal
import sys
import wave
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
from scipy import fft

from kd_lightning.corpora.acoustics import SAMPLE_RATE, active_level
from kd_lightning.corpora.embedded import EmbeddedCorpus
from kd_lightning.corpora.espeak import Espeak
from kd_lightning.corpora.voices import Speaker

SENTENCES = (
    "The train to the coast was late again this morning, so we had breakfast at the station.",
    "My neighbour grows tomatoes on the balcony and gives most of them away in August.",
    "Could you bring the blue chairs inside before the rain gets any worse?",
    "We walked along the river for hours and talked about nothing in particular.",
    "She keeps every letter in a wooden box under the window.",
    "The recipe says to wait, but nobody in this kitchen is patient enough.",
)

C = TypeVar("C", bound=EmbeddedCorpus)


def serve(speak: Callable[[Path, C, int, Espeak], None], *corpora: type[C]) -> None:
    """Speak the shard that the command line names: a corpus's class, its root, a number and its settings as JSON.

    Prints what :func:`tell` is told of each clip, or ``{"errno", "message"}`` when the disk refuses.

    Args:
        speak: writes the clips of a shard and tells of each; gets the root, the settings, the shard's number and an
            espeak that has not spoken yet.
        corpora: the classes that it can speak for.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asked; it ends this one
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # nobody listens any more: end, without a traceback
    name, root, shard, settings = sys.argv[1:]
    corpus = {kind.__name__: kind for kind in corpora}[name](**json.loads(settings))
    try:
        speak(Path(root), corpus, int(shard), Espeak())
    except OSError as error:
        print(json.dumps({"errno": error.errno, "message": error.strerror or str(error)}), flush=True)
        sys.exit(1)


def tell(path: str, speaker: Speaker, snr_db: float | None, **more: object) -> None:
    """Print a clip's line: path, voice, signal-to-noise ratio in dB (empty for a clean clip) and what else there is."""
    heard = "" if snr_db is None else f"{snr_db:.2f}"
    print(json.dumps({"path": path, "voice": speaker.described, "snr_db": heard, **more}), flush=True)


def vary(speaker: Speaker, rng: np.random.Generator) -> tuple[float, int, int]:
    """Rate, pitch and intonation of one utterance: each time a little different."""
    rate = speaker.rate * rng.uniform(0.9, 1.1)
    pitch = round(min(max(speaker.pitch + rng.uniform(-8, 8), 0), 99))
    return rate, pitch, round(rng.uniform(30, 80))


def running_speech(speakers: list[Speaker], espeak: Espeak, rng: np.random.Generator) -> np.ndarray:
    """Several speakers one after the other, each at the same level, at 16 kHz: what babble is made of."""
    sentences = []
    for index in rng.permutation(len(speakers))[:8]:
        speaker = speakers[index]
        espeak.voice(speaker.voice)
        for text in rng.choice(SENTENCES, 2, replace=False):
            spoken = espeak.say(str(text), speaker.rate, speaker.pitch)
            sentence = resample(spoken, espeak.sample_rate, SAMPLE_RATE)
            sentences.append(sentence / active_level(sentence))
    return np.concatenate(sentences)


def trim(speech: np.ndarray) -> np.ndarray:
    """Cut what is more than 50 dB below the peak at either end."""
    loud = np.flatnonzero(np.abs(speech) > np.abs(speech).max() * 10 ** (-50 / 20))
    return speech[loud[0] : loud[-1] + 1]


def resample(samples: np.ndarray, rate: int, to: int) -> np.ndarray:
    """Band-limited resampling by cutting or extending the spectrum of whole seconds.

    Args:
        samples: (T,) float32.
        rate: theirs, Hz.
        to: the new one, Hz.

    Returns:
        (⌈T · to / rate⌉,) float32.
    """
    seconds = -(-len(samples) // rate)
    spectrum = fft.rfft(samples, seconds * rate)[: seconds * to // 2 + 1]
    resampled = fft.irfft(spectrum, seconds * to) * np.float32(to / rate)
    return resampled[: -(-len(samples) * to // rate)]


def write_wave(path: Path, samples: np.ndarray, rate: int) -> None:
    """Write mono 16-bit PCM.

    The standard library writes through Python's files: a full disk is an OSError, not a short file.
    """
    with path.open("wb") as file, wave.open(file) as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(rate)
        target.writeframes(np.round(samples * 32767).astype("<i2").tobytes())
