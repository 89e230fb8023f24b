"""How fast the DataModule reads and augments, against bare soundfile; what a corpus of a million clips costs."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import soundfile
from loading_script import make_up

from kd_lightning.corpora.batches import KeywordBatch
from kd_lightning.corpora.speech_commands import SpeechCommands
from kd_lightning.experiment.build import build_corpus
from kd_lightning.experiment.targets import build

ROUNDS = 15
BATCHES = 16
FEW, MANY = 10_000, 1_000_000
SCRIPT = Path(__file__).with_name("loading_script.py")


def endless(datamodule: SpeechCommands) -> Iterator[KeywordBatch]:
    while True:
        yield from datamodule.train_dataloader()


def test_clips_per_second(default_config, say):
    corpus = default_config("teacher")["corpus"]
    root = build(corpus["synthetic"]).write(Path(corpus["data"]))
    mapped, augmented = (
        endless(build_corpus({"corpus": each, "transfer": None}))
        for each in (corpus | {"augment": None}, corpus)
    )
    times: list[tuple[float, float, float]] = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        ids = [id for _ in range(BATCHES) for id in next(mapped).ids]
        after_mapped = time.perf_counter()
        for _ in range(BATCHES):
            next(augmented)
        after_augmented = time.perf_counter()
        for id in ids:
            soundfile.read(root / id, dtype="int16")
        end = time.perf_counter()
        times.append((after_mapped - start, after_augmented - after_mapped, end - after_augmented))
    plain, views, bare = (len(ids) / median(column) for column in zip(*times, strict=True))
    say(
        f"clips a second in one process: {plain:,.0f} from the DataModule, {views:,.0f} augmented, "
        f"{bare:,.0f} by bare soundfile: ratios {plain / bare:.2f} and {views / bare:.2f}"
    )


def test_memory_does_not_grow_with_the_corpus(tmp_path, say):
    few, many = (first_batch(clips, tmp_path / str(clips)) for clips in (FEW, MANY))
    say(f"opening and the first batch at {FEW:,} manifest lines: {shown(few)}; at {MANY:,}: {shown(many)}")
    assert many["own"] + many["mapped"] <= few["own"] + few["mapped"] + 100


def first_batch(clips: int, folder: Path) -> dict[str, float]:
    """MB and seconds in a fresh process."""
    folder.mkdir()
    make_up(clips, folder)
    command = [sys.executable, str(SCRIPT), str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def shown(cost: dict[str, float]) -> str:
    return (
        f"{cost['own']:.0f} MB of its own, {cost['mapped']:.0f} MB of mapped files, {cost['seconds']:.2f} s"
    )
