"""The DataModule from folder to batch."""

import hashlib
import http.server
import io
import logging
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import soundfile
import torch
from torch import nn

from kd_lightning.corpora.augment import Augment
from kd_lightning.corpora.batches import Item, KeywordBatch
from kd_lightning.corpora.download import Archive
from kd_lightning.corpora.layout import Split
from kd_lightning.corpora.speech_commands import SpeechCommands
from kd_lightning.losses.labels import IGNORE

Writer = Callable[..., Path]


def module(root: Path | None, data: Path, **settings: Any) -> SpeechCommands:
    ready = SpeechCommands(None if root is None else str(root), str(data), **({"batch_size": 8} | settings))
    ready.prepare_data()
    ready.setup("fit")
    return ready


def batches(loader: Any) -> list[KeywordBatch]:
    return list(loader)


def ids(loader: Any) -> list[str]:
    return [id for batch in loader for id in batch.ids]


def test_every_word_is_a_class_with_the_official_splits(corpus: Path, tmp_path: Path) -> None:
    ready = module(corpus.parent, tmp_path / "data")
    assert ready.classes == ["down", "no", "up", "yes"]
    assert (ready.train_size, ready.labelled_size, ready.skipped) == (40, 40, {})
    for loader, name in (
        (ready.val_dataloader(), "validation_list.txt"),
        (ready.test_dataloader(), "testing_list.txt"),
    ):
        assert sorted(ids(loader)) == sorted((corpus / name).read_text().split())
    assert {id.split("/")[1][0] for id in ids(ready.train_dataloader())} == {"a"}


def test_a_batch_holds_the_clips_of_the_files(corpus: Path, tmp_path: Path) -> None:
    ready = module(corpus, tmp_path / "data")
    batch = batches(ready.train_dataloader())[0]
    assert batch.waveform.shape == (8, ready.clip_samples)
    assert batch.waveform.dtype == torch.float32
    assert batch.labels.dtype == torch.int64
    assert batch.masks.time.shape == batch.masks.frequency.shape == (8, 0, 2)
    assert batch.snr.isnan().all()
    for waveform, label, id, speaker in zip(
        batch.waveform, batch.labels, batch.ids, batch.speakers, strict=True
    ):
        assert ready.classes[label] == id.split("/")[0]
        assert speaker == id.split("/")[1].split("_")[0]
        np.testing.assert_array_equal(waveform, soundfile.read(corpus / id, dtype="float32")[0])


def test_twelve_classes_take_the_official_test_set(
    corpus: Path, tmp_path: Path, test_set_writer: Writer
) -> None:
    test_set = test_set_writer(corpus.parent / "speech_commands_test_set_v0.02", ["yes", "no"], clips=3)
    ready = module(corpus, tmp_path / "data", words=["yes", "no"], unknown=True, silence=True)
    assert ready.classes == ["yes", "no", "_unknown_", "_silence_"]
    tested = ids(ready.test_dataloader())
    files = sorted(str(path.relative_to(test_set.parent)) for path in test_set.rglob("*.wav"))
    assert sorted(tested) == files
    labels = torch.cat([batch.labels for batch in ready.test_dataloader()])
    assert labels.bincount().tolist() == [3, 3, 3, 3]
    assert not set(tested) & set(ids(ready.train_dataloader()))


def test_without_the_test_set_unknown_and_silence_are_made_by_the_training_rule(
    corpus: Path, tmp_path: Path
) -> None:
    ready = module(corpus, tmp_path / "data", words=["yes", "no"], unknown=True, silence=True)
    for loader, average in ((ready.val_dataloader(), 3), (ready.test_dataloader(), 3)):
        assert torch.cat([batch.labels for batch in loader]).bincount().tolist() == [average] * 4
    assert ready.train_size == 40
    silent = [id for id in ids(ready.test_dataloader()) if id.startswith("_background_noise_/pink.wav@")]
    assert len(silent) == 3
    again = module(corpus, tmp_path / "data", words=["yes", "no"], unknown=True, silence=True, seed=5)
    assert ids(again.test_dataloader()) == ids(ready.test_dataloader())


def test_a_test_set_of_other_words_is_not_used(corpus: Path, tmp_path: Path, test_set_writer: Writer) -> None:
    test_set_writer(corpus.parent / "speech_commands_test_set_v0.02", ["yes", "no"])
    ready = module(corpus, tmp_path / "data", words=["up", "no"], unknown=True, silence=True)
    assert not any("test_set" in id for id in ids(ready.test_dataloader()))


def test_any_folders_train_when_they_are_named(tmp_path: Path, corpus_writer: Writer) -> None:
    root = corpus_writer(tmp_path / "mine", ["lamp", "door", "off"], speakers=(40, 0, 0), noise_seconds=0)
    (root / "validation_list.txt").unlink()
    (root / "testing_list.txt").unlink()
    ready = module(tmp_path, tmp_path / "data", words=["door", "lamp"])
    assert ready.classes == ["door", "lamp"]
    parts = [ids(ready.val_dataloader()), ids(ready.test_dataloader())]
    assert ready.train_size + sum(map(len, parts)) == 80
    speakers = [{id.split("/")[1] for id in part} for part in parts]
    assert not speakers[0] & speakers[1]


def test_hidden_labels_never_leave_the_dataset(corpus: Path, tmp_path: Path) -> None:
    ready = module(corpus, tmp_path / "data", labelled_fraction=0.2, unlabelled=True)
    assert (ready.train_size, ready.labelled_size) == (40, 8)
    seen = batches(ready.train_dataloader())
    labels = torch.cat([batch.labels for batch in seen])
    assert len({id for batch in seen for id in batch.ids}) == 40
    assert (labels != IGNORE).sum() == 8
    assert labels[labels != IGNORE].bincount().tolist() == [2, 2, 2, 2]
    for loader in (ready.val_dataloader(), ready.test_dataloader()):
        assert all((batch.labels != IGNORE).all() for batch in loader)


def test_supervised_stages_hear_the_labelled_clips_alone_in_as_many_steps(
    corpus: Path, tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"labelled_fraction": 0.2, "views": 4}
    every = module(corpus, tmp_path / "data", unlabelled=True, **settings)
    few = module(corpus, tmp_path / "data", unlabelled=False, **settings)
    labelled = {
        id
        for batch in every.train_dataloader()
        for id, label in zip(batch.ids, batch.labels, strict=True)
        if label != IGNORE
    }
    seen = batches(few.train_dataloader())
    assert {id for batch in seen for id in batch.ids} == labelled
    assert all((batch.labels != IGNORE).all() for batch in seen)
    assert len(seen) == len(few.train_dataloader()) == len(every.train_dataloader()) == 5


def test_a_view_is_the_same_in_any_batch_order_and_number_of_workers(corpus: Path, tmp_path: Path) -> None:
    def views(**settings: Any) -> dict[str, tuple[torch.Tensor, ...]]:
        ready = module(corpus, tmp_path / "data", augment=Augment(seed=1), **settings)
        return {
            id: (batch.waveform[n], batch.masks.time[n], batch.masks.frequency[n])
            for batch in ready.train_dataloader()
            for n, id in enumerate(batch.ids)
        }

    reference = views(batch_size=8)
    assert len(reference) == 40
    for other in (views(batch_size=5, seed=9), views(batch_size=8, workers=2)):
        for id, view in reference.items():
            for one, two in zip(view, other[id], strict=True):
                torch.testing.assert_close(one, two, rtol=0, atol=0)


def test_the_second_pass_shows_the_second_view(corpus: Path, tmp_path: Path) -> None:
    ready = module(corpus, tmp_path / "data", augment=Augment(), views=2)
    dataset = ready.train_dataloader().dataset
    first, second = (dataset.__getitems__([Item(3, view)]) for view in (0, 1))
    assert first.ids == second.ids
    assert not torch.equal(first.waveform, second.waveform)


def test_evaluation_is_not_augmented(corpus: Path, tmp_path: Path) -> None:
    ready = module(corpus, tmp_path / "data", augment=Augment())
    batch = batches(ready.val_dataloader())[0]
    np.testing.assert_array_equal(
        batch.waveform[0], soundfile.read(corpus / batch.ids[0], dtype="float32")[0]
    )


def test_zero_is_a_seed(corpus: Path, tmp_path: Path) -> None:
    orders = [ids(module(corpus, tmp_path / "data", seed=seed).train_dataloader()) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_a_limit_shrinks_every_split_and_keeps_the_classes(corpus: Path, tmp_path: Path) -> None:
    ready = module(corpus, tmp_path / "data", limit=8)
    assert ready.train_size == 8
    for loader in (ready.val_dataloader(), ready.test_dataloader()):
        assert torch.cat([batch.labels for batch in loader]).bincount().tolist() == [2, 2, 2, 2]


def test_the_manifest_of_a_split_is_open_to_the_user(corpus: Path, tmp_path: Path) -> None:
    cuts = module(corpus, tmp_path / "data").cuts(Split.VALIDATION)
    assert {cut.supervisions[0].text for cut in cuts} == {"down", "no", "up", "yes"}


def test_without_a_root_the_embedded_corpus_is_written(tmp_path: Path, corpus_writer: Writer) -> None:
    class Embedded:
        def write(self, data: Path) -> Path:
            return corpus_writer(data / "embedded" / "hash" / "speech_commands_v0.02", ["yes", "no"])

    assert module(None, tmp_path, synthetic=Embedded()).classes == ["no", "yes"]


def test_no_root_at_all_names_the_keys(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"corpus\.root is null: .* corpus\.download=true"):
        module(None, tmp_path)


def test_a_word_without_clips_is_named(corpus: Path, tmp_path: Path) -> None:
    (corpus / "left").mkdir()
    with pytest.raises(ValueError, match="class 'left' has no training clip"):
        module(corpus, tmp_path / "data")


def test_a_word_whose_clips_are_all_unreadable_is_named(corpus: Path, tmp_path: Path) -> None:
    for path in (corpus / "up").iterdir():
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"class 'up' has no training clip: 16 of its files cannot be read"):
        module(corpus, tmp_path / "data")


def test_an_empty_split_is_an_error_and_a_word_missing_in_it_a_warning(
    tmp_path: Path, corpus_writer: Writer, caplog: pytest.LogCaptureFixture
) -> None:
    root = corpus_writer(tmp_path / "corpus", ["yes", "no"], speakers=(4, 1, 1))
    (root / "validation_list.txt").write_text("yes/b0000000_nohash_0.wav\n")
    with caplog.at_level(logging.WARNING):
        module(root, tmp_path / "data")
    assert "no validation clip of no" in caplog.text
    (root / "validation_list.txt").write_text("")
    with pytest.raises(ValueError, match="the validation split of the corpus has no clips"):
        module(root, tmp_path / "data")


def test_a_fraction_that_leaves_a_word_without_labels_is_an_error(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"corpus.labelled_fraction=0.01 leaves class 'down'"):
        module(corpus, tmp_path / "data", labelled_fraction=0.01)


class _Listener(pl.LightningModule):
    """Writes down what it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, ...]] = []
        self.weight = nn.Parameter(torch.zeros(()))

    def training_step(self, batch: KeywordBatch, index: int) -> torch.Tensor:
        self.heard.append(tuple(batch.ids))
        return self.weight * batch.waveform.square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def _fit(corpus: Path, data: Path, steps: int, resume: Path | None = None) -> tuple[_Listener, pl.Trainer]:
    listener = _Listener()
    trainer = pl.Trainer(
        max_steps=steps,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    trainer.fit(
        listener, datamodule=SpeechCommands(str(corpus), str(data), batch_size=8, views=2), ckpt_path=resume
    )
    return listener, trainer


def test_training_resumes_in_the_middle_of_an_epoch_with_the_next_batch(corpus: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    unbroken, _ = _fit(corpus, data, 12)
    begun, trainer = _fit(corpus, data, 7)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    resumed, _ = _fit(corpus, data, 12, tmp_path / "last.ckpt")
    assert begun.heard + resumed.heard == unbroken.heard
    assert len(unbroken.heard) == 12


@pytest.fixture
def published(
    tmp_path: Path, corpus_writer: Writer, test_set_writer: Writer
) -> Iterator[tuple[Archive, Archive]]:
    """Both archives, packed as they are published and served on this machine."""
    served = tmp_path / "served"
    folders = [
        corpus_writer(tmp_path / "sources" / "speech_commands_v0.02"),
        test_set_writer(tmp_path / "sources" / "speech_commands_test_set_v0.02", ["yes", "no"]),
    ]
    served.mkdir()
    archives = []
    handler = partial(_Quiet, directory=str(served))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        for folder in folders:
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
                archive.add(folder, ".")
            (served / f"{folder.name}.tar.gz").write_bytes(buffer.getvalue())
            url = f"http://127.0.0.1:{server.server_port}/{folder.name}.tar.gz"
            archives.append(Archive(url, hashlib.sha256(buffer.getvalue()).hexdigest(), folder.name))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield archives[0], archives[1]
        server.shutdown()
    shutil.rmtree(tmp_path / "sources")


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


def test_the_published_archives_are_downloaded_where_they_are_missing(
    tmp_path: Path, published: tuple[Archive, Archive], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SpeechCommands, "archives", published)
    words = module(None, tmp_path / "data", download=True)
    assert words.classes == ["down", "no", "up", "yes"]
    folder = tmp_path / "data" / "published"
    assert [path.name for path in folder.iterdir()] == ["speech_commands_v0.02"]
    twelve: dict[str, Any] = {"words": ["yes", "no"], "unknown": True, "silence": True, "download": True}
    ready = module(None, tmp_path / "data", **twelve)
    assert all(id.startswith("speech_commands_test_set_v0.02/") for id in ids(ready.test_dataloader()))
    # Everything is there now: nothing is asked for, and a corpus at the root is not fetched again.
    monkeypatch.setattr(SpeechCommands, "archives", (None, None))
    module(None, tmp_path / "data", **twelve)
    module(folder / "speech_commands_v0.02", tmp_path / "data", **twelve)
