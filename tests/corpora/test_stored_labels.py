"""What a corpus says of its views, and what comes with its batches when a teacher has spoken."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from kd_lightning.corpora.augment import Augment
from kd_lightning.corpora.batches import Item
from kd_lightning.corpora.speech_commands import SpeechCommands
from kd_lightning.labels.format import Stored, Unit


def module(root: Path, data: Path, **settings: Any) -> SpeechCommands:
    ready = SpeechCommands(
        str(root), str(data), **({"batch_size": 8, "views": 4, "augment": Augment()} | settings)
    )
    ready.prepare_data()
    ready.setup("fit")
    return ready


def test_the_facts_of_the_views_do_not_tell_where_files_lie_or_who_sees_which_label(
    corpus: Path, tmp_path: Path
) -> None:
    facts = module(corpus, tmp_path / "data").view_facts()
    assert (facts["clips"], facts["views"], facts["classes"]) == (40, 4, ["down", "no", "up", "yes"])
    assert facts["augment"]["snr"] == [0.0, 20.0]
    elsewhere = tmp_path / "elsewhere" / corpus.name
    shutil.copytree(corpus, elsewhere)
    for ready in (
        module(elsewhere, tmp_path / "other"),
        module(corpus, tmp_path / "data", seed=5, labelled_fraction=0.2, unlabelled=True, batch_size=3),
    ):
        assert ready.view_facts() == facts


def new_sound(path: Path) -> None:
    samples, rate = soundfile.read(path, dtype="int16")
    samples[100] += 1
    soundfile.write(path, samples, rate)


@pytest.mark.parametrize(
    "change",
    [
        lambda corpus: new_sound(corpus / "yes" / "a0000003_nohash_0.wav"),
        lambda corpus: new_sound(corpus / "_background_noise_" / "pink.wav"),
        lambda corpus: (corpus / "yes" / "a0000003_nohash_0.wav").unlink(),
        lambda corpus: (corpus / "yes" / "a0000003_nohash_0.wav").rename(
            corpus / "yes" / "a0000009_nohash_3.wav"
        ),
    ],
    ids=["a sample", "the noise", "a clip less", "a name"],
)
def test_another_corpus_has_another_digest(
    corpus: Path, tmp_path: Path, change: Callable[[Path], Any]
) -> None:
    before = module(corpus, tmp_path / "data").view_facts()["corpus"]
    change(corpus)
    assert module(corpus, tmp_path / "data").view_facts()["corpus"] != before


def test_an_attribute_that_somebody_adds_to_the_augmentation_counts(corpus: Path, tmp_path: Path) -> None:
    augment = Augment()
    ready = module(corpus, tmp_path / "data", augment=augment)
    before = ready.view_facts()["augment"]
    augment.reverberation = 0.5  # type: ignore[attr-defined]
    assert ready.view_facts()["augment"] == before | {"reverberation": 0.5}
    assert module(corpus, tmp_path / "data", augment=None).view_facts()["augment"] is None


class Echo:
    """Says of a clip and view what they are."""

    def read(self, clips: Sequence[int], views: Sequence[int]) -> Stored:
        logits = torch.tensor([clips, views], dtype=torch.float32).T
        return Stored(logits, {"layer": logits.unsqueeze(2)})


def test_stored_labels_come_with_the_clip_and_the_view_they_were_made_of(
    corpus: Path, tmp_path: Path
) -> None:
    ready = module(corpus, tmp_path / "data", labelled_fraction=0.5, unlabelled=False)
    every = next(iter(ready.views_dataloader([Unit(0, 0, 40)], 40))).ids
    ready.use_labels(Echo())  # type: ignore[arg-type]
    dataset = ready.train_dataloader().dataset
    for batch in ready.train_dataloader():
        assert batch.stored is not None
        for n, (clip, view) in enumerate(batch.stored.logits.int().tolist()):
            assert every[clip] == batch.ids[n]
            np.testing.assert_array_equal(dataset[Item(clip, view)].waveform[0], batch.waveform[n])
    assert next(iter(ready.val_dataloader())).stored is None


def test_stored_labels_move_with_the_batch(corpus: Path, tmp_path: Path) -> None:
    ready = module(corpus, tmp_path / "data")
    ready.use_labels(Echo())  # type: ignore[arg-type]
    moved = next(iter(ready.train_dataloader())).to(torch.device("meta"))
    assert moved.stored is not None
    assert moved.stored.logits.is_meta
    assert moved.stored.taps["layer"].is_meta
