"""What of a corpus students are told, in numbers: cuts, hours, speakers, classes; and what is too long to be learnt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import torch

from kd_lightning.checks.finding import Finding, ok, warning
from kd_lightning.corpora.batches import ClipDataset
from kd_lightning.corpora.buckets import padding_share
from kd_lightning.corpora.speech_commands import SpeechCommands
from kd_lightning.corpora.two_corpora import WithCommands
from kd_lightning.corpora.utterance_files import Split
from kd_lightning.corpora.utterances import Utterances
from kd_lightning.losses.ctc import too_long
from kd_lightning.models.recogniser import Recogniser

# With fewer labelled clips a class is hardly learnt.
FEWEST = 5
# Of batches whose padding is counted, and of transcripts that are measured.
BATCHES, TRANSCRIPTS = 200, 2000
# More padding than this is mostly computing on nothing.
MUCH_PADDING = 0.4


def labels_seen(datamodule: Any) -> Iterator[Finding]:
    """The labelled part of the training split, in numbers.

    Args:
        datamodule: of a stage without a teacher, so that it draws from the labelled cuts alone.
    """
    if isinstance(datamodule, WithCommands):
        yield from _of(datamodule.train_dataloader().sentences, datamodule)
        yield from _of(datamodule.clips.train_dataloader(), datamodule.clips)
    else:
        yield from _of(datamodule.train_dataloader(), datamodule)
    if skipped := len(datamodule.skipped):
        yield warning("left out", f"{skipped:,} files or utterances cannot be used, see the log")


def _of(loader: Any, datamodule: Any) -> Iterator[Finding]:
    dataset, size, labelled = loader.dataset, datamodule.train_size, datamodule.labelled_size
    places = np.arange(size)
    if labelled < size:  # an epoch goes several times through those that are seen
        places = np.array(sorted({place for items in loader.batch_sampler for place, _ in items}))
    clips = isinstance(dataset, ClipDataset)
    index = dataset.prepared.clips if clips else dataset.prepared.records
    records = index[dataset.rows]
    seconds = np.ones(len(records)) if clips else dataset.seconds
    speakers = len(np.unique(records["speaker"][places]))
    said = (
        f"{labelled:,} of {size:,} cuts ({labelled / size:.1%}), {seconds[places].sum() / 3600:.2g} of "
        f"{seconds.sum() / 3600:.2g} hours, {speakers} of {len(np.unique(records['speaker']))} speakers"
    )
    yield ok("labelled", said)
    if not clips:
        return
    # With unknown among the classes all other words are one.
    names = [word if word in datamodule.classes else "other words" for word in dataset.prepared.words]
    words = Counter(names[word] for word in records["word"][places].tolist())
    every = Counter(names[word] for word in records["word"].tolist())
    few = [f"{word} ({words[word]})" for word in every if words[word] < FEWEST]
    if few and len(few) <= len(every) // 2:
        yield warning("labelled", f"few clips of {', '.join(few)}: raise corpus.labelled_fraction")
    elif few:
        yield warning(
            "labelled",
            f"{len(few)} of {len(every)} classes have fewer than {FEWEST} clips with labels: raise "
            "corpus.labelled_fraction",
        )
    else:
        fewest, most = min(words.values()), max(words.values())
        count = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        yield ok("labelled", f"{count} clips of each of {len(words)} classes")


def padding(datamodule: Any) -> Iterator[Finding]:
    """The share of the batches that is padding, where cuts have lengths."""
    if isinstance(datamodule, SpeechCommands):
        yield ok("padding", "none: clips are all as long")
        return
    loader: Any = datamodule.train_dataloader()
    loader = getattr(loader, "sentences", loader)
    if type(loader.batch_sampler).__name__ != "Buckets":
        yield ok("padding", "none: segments are all as long")
        return
    batches = [np.array([place for place, _ in items]) for items in islice(loader.batch_sampler, BATCHES)]
    share = padding_share(loader.dataset.seconds, batches)
    sizes = sorted(map(len, batches))
    said = f"{share:.1%} of {len(batches)} batches of {sizes[0]} to {sizes[-1]} cuts"
    if share > MUCH_PADDING:
        yield warning("padding", f"{said}: raise corpus.min_seconds or lower corpus.max_seconds")
    else:
        yield ok("padding", said)


def transcripts(datamodule: Any, student: Any, learns_frames: bool) -> Iterator[Finding]:
    """Which transcripts need more frames than the student has for them: CTC has no path, and leaves them out.

    Args:
        datamodule: set up.
        student: a network.
        learns_frames: whether a term is CTC of the transcripts.
    """
    if not (isinstance(datamodule, Utterances) and isinstance(student, Recogniser) and learns_frames):
        return
    if not hasattr(student.network, "subsampling"):
        return
    worst, long, count = ("", 0.0), 0, 0
    for cut in islice(datamodule.cuts(Split.TRAIN), TRANSCRIPTS):
        tokens = datamodule.spell(cut.supervisions[0].text or "")
        if not tokens:
            continue
        count += 1
        frames = max(1, int(cut.duration / student.seconds_per_frame))
        if bool(too_long(torch.tensor([frames]), torch.tensor([tokens]), torch.tensor([len(tokens)]))):
            long += 1
            worst = max(worst, (cut.id, len(tokens) / frames), key=lambda one: one[1])
    if not long:
        yield ok("transcripts", f"the student has frames enough for each of {count:,}")
        return
    yield warning(
        "transcripts",
        f"{long} of {count:,} have more tokens than the student has frames, such as {worst[0]} ({worst[1]:.1f} "
        "tokens a frame), and CTC cannot learn them: choose a student with less subsampling or longer tokens "
        "(corpus.spelling=unigram)",
    )
