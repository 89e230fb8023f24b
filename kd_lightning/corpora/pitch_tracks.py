"""The fundamental frequency of every recording of a prepared corpus, found once.

- ``f0.npy``: float32 Hz every 5 ms, 0 where there is no voice, all recordings after each other
- ``ends.npy``: int64, where each recording ends
"""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from kd_lightning.corpora.growing_npy import GrowingNpy
from kd_lightning.corpora.mapped import Mapped
from kd_lightning.corpora.prepared_utterances import PreparedUtterances
from kd_lightning.frontend.pitch import fundamental_frequency

FOLDER = "pitch"
_F0, _ENDS = "f0.npy", "ends.npy"


class PitchTracks(Mapped):
    """Fundamental frequencies by the number of a record; everything stays mapped."""

    arrays: ClassVar[dict[str, str]] = {"_f0": _F0, "_ends": _ENDS}
    _f0: npt.NDArray[np.float32]
    _ends: npt.NDArray[np.int64]

    def __getitem__(self, record: int) -> npt.NDArray[np.float32]:
        """(N,) Hz every 5 ms of a recording, 0 where there is no voice."""
        return self._f0[int(self._ends[record - 1]) if record else 0 : int(self._ends[record])]


def pitch_tracks(prepared: PreparedUtterances) -> PitchTracks:
    """Find how high every recording of a corpus is, or open what was found before; one process at a time.

    Raises:
        ModuleNotFoundError: pyworld is not installed.
        OSError: the disk is full (or the like); nothing is left behind.
    """
    folder = prepared.folder / FOLDER
    if not folder.is_dir():
        aside = folder.with_name(folder.name + ".partial")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        try:
            _write(aside, prepared)
            aside.rename(folder)
        except OSError as error:
            raise OSError(error.errno, f"cannot write {folder}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return PitchTracks(folder)


def _write(folder: Path, prepared: PreparedUtterances) -> None:
    records, audio = prepared.records, prepared.audio

    def found(number: int) -> npt.NDArray[np.float64]:
        # In the thread that needs it: as float64 a corpus is four times as large as on the disk.
        begin, length = int(records["start"][number]), int(records["samples"][number])
        return fundamental_frequency(audio[begin : begin + length] / 32768, prepared.sample_rate)

    with ExitStack() as files, ThreadPoolExecutor(os.cpu_count()) as pool:
        tracks = files.enter_context(GrowingNpy(folder / _F0, np.dtype("<f4")))
        ends = files.enter_context(GrowingNpy(folder / _ENDS, np.dtype("<i8")))
        each = pool.map(found, range(len(records)))
        for f0 in tqdm(each, total=len(records), desc="pitch", unit="clip", mininterval=0.5, disable=None):
            tracks.append(f0)
            ends.append(np.array([tracks.length]))
