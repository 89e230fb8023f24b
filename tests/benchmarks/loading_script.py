"""Makes up a prepared corpus of any size and opens it; run by test_loading.py, each time in a fresh process.

Argument: the folder. Prints MB and seconds from opening to the first batch, as JSON.
"""

import gzip
import json
import sys
import time
from pathlib import Path

import numpy as np
from lhotse import AudioSource, MonoCut, Recording, SupervisionSegment

from kd_lightning.corpora.augment import Augment
from kd_lightning.corpora.decoding import CLIP_SAMPLES, SAMPLE_RATE
from kd_lightning.corpora.growing_npy import GrowingNpy
from kd_lightning.corpora.layout import SILENCE, Split
from kd_lightning.corpora.mapped import AUDIO
from kd_lightning.corpora.prepared import CLIPS, FACTS, Prepared, clip_dtype, cuts_name
from kd_lightning.corpora.speech_commands import SpeechCommands

WORDS = [f"word{number}" for number in range(35)]
TOGETHER = 10_000


def make_up(clips: int, folder: Path) -> None:
    """Write ``clips`` training clips and a few of the other splits; the audio is a hole in the file."""
    held_out = len(WORDS)
    total = clips + 2 * held_out
    dtype = clip_dtype(id_bytes=32, speaker_bytes=8)
    with GrowingNpy(folder / CLIPS, dtype) as index:
        for begin in range(0, total, TOGETHER):
            rows = np.arange(begin, min(begin + TOGETHER, total))
            records = np.zeros(len(rows), dtype)
            records["id"] = [clip_id(row).encode() for row in rows.tolist()]
            records["speaker"] = [b"%08x" % (row // 50) for row in rows.tolist()]
            records["start"] = rows * CLIP_SAMPLES
            records["word"] = rows % len(WORDS)
            records["split"] = np.where(rows < clips, Split.TRAIN, Split.VALIDATION)
            records["split"][rows >= clips + held_out] = Split.TESTING
            records["snr"] = np.nan
            index.append(records)
    with GrowingNpy(folder / AUDIO, np.dtype("<i2")) as audio:
        audio.length = total * CLIP_SAMPLES
    with (folder / AUDIO).open("r+b") as file:
        file.truncate(file.seek(0, 2) + 2 * total * CLIP_SAMPLES)
    cut = json.dumps(a_cut("CUT").to_dict())
    with gzip.open(folder / cuts_name(Split.TRAIN), "wt", compresslevel=1) as manifest:
        manifest.writelines(cut.replace("CUT", clip_id(row)) + "\n" for row in range(clips))
    facts = {"root": "", "words": [*WORDS, SILENCE], "noise": [], "skipped": {}}
    (folder / FACTS).write_text(json.dumps(facts))


def clip_id(row: int) -> str:
    return f"{WORDS[row % len(WORDS)]}/{row // 50:08x}_nohash_{row % 50}.wav"


def a_cut(id: str) -> MonoCut:
    source = AudioSource(type="file", channels=[0], source=f"/corpus/{id}")
    recording = Recording(id, [source], SAMPLE_RATE, CLIP_SAMPLES, duration=1.0)
    supervision = SupervisionSegment(id, id, 0.0, 1.0, text="word", speaker="speaker")
    return MonoCut(id, 0.0, 1.0, 0, [supervision], recording=recording)


def private() -> dict[str, float]:
    """MB of this process that it shares with nobody: written, and read from mapped files."""
    lines = (line.split() for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    kilobytes = {words[0]: int(words[1]) for words in lines}
    return {"own": kilobytes["Private_Dirty:"] / 1024, "mapped": kilobytes["Private_Clean:"] / 1024}


def main() -> None:
    folder = Path(sys.argv[1])
    before, begin = private(), time.perf_counter()
    prepared = Prepared(folder)
    # The folder of a million files that it would have been prepared from does not exist.
    SpeechCommands._open = lambda self: prepared  # type: ignore[method-assign]
    datamodule = SpeechCommands(
        None, str(folder), labelled_fraction=0.1, unlabelled=True, views=64, augment=Augment(), batch_size=64
    )
    datamodule.setup()
    batch = next(iter(datamodule.train_dataloader()))
    first_cut = next(iter(datamodule.cuts(Split.TRAIN)))
    seconds, after = time.perf_counter() - begin, private()
    assert len(batch.ids) == 64
    assert first_cut.id == clip_id(0)
    print(json.dumps({"seconds": seconds} | {key: after[key] - before[key] for key in after}))


if __name__ == "__main__":
    main()
