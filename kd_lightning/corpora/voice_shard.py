"""Speak one shard of an embedded voice in this process: ``python -m kd_lightning.corpora.voice_shard``."""

from pathlib import Path

import numpy as np

from kd_lightning.corpora.espeak import Espeak, Spoken
from kd_lightning.corpora.phone_times import SUFFIX, Phone, write_phones
from kd_lightning.corpora.sentences import with_numerals
from kd_lightning.corpora.speaking import resample, serve, tell, write_wave
from kd_lightning.corpora.synthetic_voice import SyntheticVoice


def speak_shard(root: Path, settings: SyntheticVoice, shard: int, espeak: Espeak) -> None:
    """Write a shard's recordings, each with its texts and the times of its phones, and tell of each.

    Args:
        root: the corpus root.
        settings: the corpus's settings.
        shard: index into ``settings.shards()``.
        espeak: has not spoken yet.
    """
    rng = settings.rng(2, shard)
    for utterance in settings.shards()[shard]:
        rate, pitch = (round(rng.uniform(*bounds)) for bounds in (settings.rate_wpm, settings.pitch))
        espeak.voice(utterance.speaker.voice)
        spoken = espeak.speak(utterance.text, rate, pitch, settings.intonation)
        recording, phones = between_pauses(spoken, espeak.sample_rate, settings)
        path = root / utterance.path
        write_wave(path, recording, settings.sample_rate)
        write_phones(path.with_suffix(SUFFIX), phones)
        path.with_suffix(".original.txt").write_text(with_numerals(utterance.text))
        path.with_suffix(".normalized.txt").write_text(utterance.text)
        said = utterance.speaker._replace(rate=rate, pitch=pitch)
        tell(utterance.path, said, None, samples=len(recording))


def between_pauses(spoken: Spoken, rate: int, settings: SyntheticVoice) -> tuple[np.ndarray, list[Phone]]:
    """Cut a sentence at its first and its last phone and put it between two pauses.

    Args:
        spoken: at ``rate``, Hz.
        rate: espeak's.
        settings: the pause, and the sample rate of the corpus.

    Returns:
        (T,) float32 at the corpus's sample rate, zero before the first phone and after the last; and the phones from 0
        to T.
    """
    named = [index for index, phone in enumerate(spoken.phones) if phone.name]
    speech = spoken.phones[named[0] : named[-1] + 1]
    start, end = speech[0].start, speech[-1].end
    samples = resample(spoken.samples[round(start * rate) : round(end * rate)], rate, settings.sample_rate)
    samples *= np.float32(min(1, 0.98 / np.abs(samples).max()))  # between two samples it may have been higher
    pause = round(settings.pause_seconds * settings.sample_rate)
    recording = np.pad(samples, pause)
    before, after = pause / settings.sample_rate, len(recording) / settings.sample_rate
    moved = [Phone(before + (p.start - start), before + (p.end - start), p.name) for p in speech]
    return recording, [Phone(0.0, before, ""), *moved, Phone(moved[-1].end, after, "")]


if __name__ == "__main__":
    serve(speak_shard, SyntheticVoice)
