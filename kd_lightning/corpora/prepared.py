"""A corpus decoded once: clips of one second in a mapped int16 file, an index, and lhotse manifests.

- ``audio.npy``: int16, all clips of one second after each other, then the background noise
- ``clips.npy``: one record a clip: where its second starts in ``audio.npy``, split, word, speaker, SNR
- ``cuts_<split>.jsonl.gz``: lhotse cuts of the files themselves, to be opened lazily
- ``noise.jsonl.gz``: the same for the background noise
- ``corpus.json``: words, spans of noise that training may use, skipped files with the reason
- ``audio.digest``: of ``audio.npy``, once somebody has asked for it
"""

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from lhotse import CutSet

from kd_lightning.corpora.layout import Split
from kd_lightning.corpora.mapped import AUDIO, Mapped

CLIPS = "clips.npy"
FACTS = "corpus.json"
NOISE_CUTS = "noise.jsonl.gz"


def cuts_name(split: Split) -> str:
    """The file name of a split's manifest."""
    return f"cuts_{split.name.lower()}.jsonl.gz"


def clip_dtype(id_bytes: int, speaker_bytes: int) -> np.dtype[Any]:
    """The record of a clip.

    Id and speaker (UTF-8), first sample in the audio, word by number, Split, and SNR in dB (NaN: unknown).
    """
    return np.dtype(
        [
            ("id", f"S{id_bytes}"),
            ("speaker", f"S{speaker_bytes}"),
            ("start", "<i8"),
            ("word", "<i4"),
            ("split", "<i1"),
            ("snr", "<f4"),
        ]
    )


class Prepared(Mapped):
    """A prepared corpus, opened without reading it; audio and index stay mapped, also when it is pickled.

    Attributes:
        folder: where it lies.
        words: the words, by number as in the index; SILENCE stands for seconds of background noise.
        noise: (first sample, samples) in the audio of each stretch of noise that training may use.
        skipped: reason by clip id, for the files that could not be read.
        audio: (S,) int16, mapped.
        clips: (N,) one record a clip, mapped.
    """

    arrays: ClassVar[dict[str, str]] = {"audio": AUDIO, "clips": CLIPS}
    audio: npt.NDArray[np.int16]
    clips: npt.NDArray[np.void]

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        self.words: list[str] = facts["words"]
        self.noise: list[tuple[int, int]] = [(start, length) for start, length in facts["noise"]]
        self.skipped: dict[str, str] = facts["skipped"]

    def cuts(self, split: Split) -> CutSet:
        """The lhotse cuts of a split, lazily opened; all words, whichever are classes."""
        return CutSet.from_jsonl_lazy(self.folder / cuts_name(split))
