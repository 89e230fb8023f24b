"""A store of labels: what comes back, what is written again, and what is refused."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from full_disk import no_file_beyond
from kills import Killed
from made_up import CLIPS, VIEWS, fingerprint, said, write_all, write_some
from safetensors.torch import load_file, save_file

from kd_lightning.labels.format import BLOCK
from kd_lightning.labels.reader import open_labels
from kd_lightning.labels.writer import LabelWriter

SHARD = "view_001/block_0001.safetensors"


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_any_clips_in_any_views_come_back_in_their_order(make_store) -> None:
    labels = open_labels(
        make_store(taps=["blocks.2"], dtype="float32"), fingerprint(taps=["blocks.2"], dtype="float32")
    )
    logits, taps = said(["blocks.2"])
    drawn = np.random.default_rng(0)
    clips, views = drawn.integers(CLIPS, size=64).tolist(), drawn.integers(VIEWS, size=64).tolist()
    clips[:4], views[:4] = [0, BLOCK - 1, BLOCK, CLIPS - 1], [0, 1, 2, 0]
    stored = labels.read(clips, views)
    assert torch.equal(stored.logits, logits[views, clips])
    assert torch.equal(stored.taps["blocks.2"], taps["blocks.2"][views, clips])


def test_what_is_read_is_float32_and_rounded_once(make_store) -> None:
    stored = open_labels(make_store(taps=["a"]), fingerprint(taps=["a"])).read([5, 4], [1, 2])
    logits, taps = said(["a"])
    assert stored.logits.dtype == stored.taps["a"].dtype == torch.float32
    assert torch.equal(stored.logits, logits[[1, 2], [5, 4]].half().float())
    assert torch.equal(stored.taps["a"], taps["a"][[1, 2], [5, 4]].half().float())


def test_a_run_reads_the_activations_that_it_wants(make_store) -> None:
    labels = open_labels(make_store(taps=["a", "b"]), fingerprint(taps=["b"]))
    assert list(labels.read([0], [0]).taps) == ["b"]


def test_a_pickled_store_carries_no_labels(make_store) -> None:
    labels = open_labels(make_store(), fingerprint())
    before = labels.read([7], [1])
    pickled = pickle.dumps(labels)
    assert len(pickled) < 10_000
    assert torch.equal(pickle.loads(pickled).read([7], [1]).logits, before.logits)


def test_a_cut_labelling_goes_on_and_leaves_the_same_bytes(make_store, tmp_path) -> None:
    whole = content(make_store())
    writer = LabelWriter(tmp_path / "cut", fingerprint())
    write_some(writer, 4)
    first = {name: path.stat().st_mtime_ns for name in whole if (path := writer.folder / name).is_file()}
    assert len(first) == 4
    again = LabelWriter(tmp_path / "cut", fingerprint())
    assert len(again.pending()) == 5
    write_all(again)
    assert content(tmp_path / "cut") == whole
    assert {name: (tmp_path / "cut" / name).stat().st_mtime_ns for name in first} == first


@pytest.mark.parametrize("nth", [1, 5, 9, 10])
def test_a_kill_before_any_rename_leaves_whole_files_alone(make_store, tmp_path, monkeypatch, nth) -> None:
    whole = content(make_store())
    folder = tmp_path / "killed"
    passed = iter(range(1, 100))
    own = Path.replace

    def dying(beside: Path, path: Path) -> Path:
        if next(passed) == nth:
            raise Killed
        return own(beside, path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", dying)
        writer = LabelWriter(folder, fingerprint())
        with pytest.raises(Killed):
            write_all(writer)
    left = content(folder)
    assert len(left) == nth - 1
    assert left.items() <= whole.items()
    with pytest.raises(FileNotFoundError, match=r"not finished|holds no labels"):
        open_labels(folder, fingerprint())
    write_all(writer)
    assert content(folder) == whole


def test_a_full_disk_names_the_shard_and_leaves_nothing(tmp_path) -> None:
    refused = pytest.raises(OSError, match=r"view_000/block_0000\.safetensors could not be written")
    with no_file_beyond(20_000), refused:
        write_some(LabelWriter(tmp_path / "label", fingerprint()))
    assert content(tmp_path) == {}


def test_a_folder_without_labels_says_what_to_do(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no labels: python -m kd_lightning\.label"):
        open_labels(tmp_path, fingerprint())


def test_unfinished_labels_are_refused(tmp_path) -> None:
    write_some(LabelWriter(tmp_path, fingerprint()), 2)
    with pytest.raises(FileNotFoundError, match="are not finished"):
        open_labels(tmp_path, fingerprint())


OTHERS = [
    ({"teacher": "9e8f"}, r'another teacher \(teacher: "0a1b" stored, "9e8f" in this run\)'),
    ({"frontend": {"frontend": "MFCC", "bins": 32}}, r"another frontend \(frontend\.bins: 40 stored, 32 in"),
    ({"corpus": "4e5f"}, r'another corpus \(corpus: "2c3d" stored, "4e5f"'),
    ({"classes": ["yes", "no", "stop", "go", "tree"]}, "another set of classes"),
    (
        {"augment": {"seed": 1, "snr": [5.0, 25.0]}},
        r"another seed \(augment\.seed: 0 stored, 1 in this run\)",
    ),
    (
        {"augment": {"seed": 0, "snr": [0.0, 9.0]}},
        r"another augmentation \(augment\.snr: \[5\.0, 25\.0\] stored",
    ),
    ({"augment": {"seed": 0, "snr": [5.0, 25.0], "mixup": 0.5}}, r"augment\.mixup: not set stored, 0\.5 in"),
    ({"augment": None}, r"another augmentation \(augment: not set stored, null"),
    ({"views": 8}, r"another number of views \(views: 3 stored, 8 in this run\)"),
    ({"top_k": 2}, r"another top-k \(top_k: null stored, 2 in this run\)"),
    ({"dtype": "float32"}, r'another precision \(dtype: "float16" stored, "float32"'),
    ({"taps": ["blocks.2"]}, r'another choice of activations \(taps: \[\] stored, \["blocks\.2"\]'),
]


@pytest.mark.parametrize(("change", "said"), OTHERS, ids=lambda value: str(value)[:40])
def test_labels_of_another_origin_name_the_field_with_both_values(make_store, change, said) -> None:
    folder = make_store()
    before = content(folder)
    with pytest.raises(ValueError, match=f"holds labels of .*{said}"):
        open_labels(folder, fingerprint(**change))
    with pytest.raises(FileExistsError, match=f"holds labels of .*{said}"):
        LabelWriter(folder, fingerprint(**change)).pending()
    assert content(folder) == before


def test_a_missing_shard_is_named_and_written_again(make_store) -> None:
    folder = make_store()
    whole = content(folder)
    (folder / SHARD).unlink()
    with pytest.raises(FileNotFoundError, match=f"{SHARD} is missing: start kd_lightning.label again"):
        open_labels(folder, fingerprint())
    mend(folder)
    assert content(folder) == whole


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def test_a_shortened_shard_is_refused_at_once(make_store) -> None:
    folder = make_store()
    whole = content(folder)
    cut_short(folder / SHARD)
    with pytest.raises(ValueError, match=rf"{SHARD} is damaged \(\d+ bytes instead of \d+\)"):
        open_labels(folder, fingerprint())
    mend(folder)
    assert content(folder) == whole


def change_a_value(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def break_the_header(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8] = 0
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [change_a_value, break_the_header])
def test_a_changed_shard_teaches_nobody(make_store, harm) -> None:
    folder = make_store()
    whole = content(folder)
    harm(folder / SHARD)
    labels = open_labels(folder, fingerprint())
    assert labels.read([0], [0]).logits.isfinite().all()
    with pytest.raises(ValueError, match=f"{SHARD} is damaged"):
        labels.read([0, BLOCK], [0, 1])
    mend(folder)
    assert content(folder) == whole


def mend(folder: Path) -> None:
    writer = LabelWriter(folder, fingerprint())
    assert not writer.is_finished
    assert [unit.shard for unit in writer.pending()] == [SHARD]
    write_all(writer)
    assert writer.is_finished


@pytest.mark.parametrize("index", ["{", "[]", '{"format": 1}', '{"format": 1, "fingerprint": 3}'])
def test_a_damaged_index_is_named_and_written_again(make_store, index) -> None:
    folder = make_store()
    whole = content(folder)
    (folder / "labels.json").write_text(index)
    with pytest.raises(ValueError, match=r"labels\.json is damaged"):
        open_labels(folder, fingerprint())
    writer = LabelWriter(folder, fingerprint())
    assert writer.pending() == []
    writer.finish()
    assert content(folder) == whole


def test_another_format_is_refused(make_store) -> None:
    folder = make_store()
    index = json.loads((folder / "labels.json").read_text())
    (folder / "labels.json").write_text(json.dumps(index | {"format": 99}))
    with pytest.raises(ValueError, match="has the format 99"):
        open_labels(folder, fingerprint())


def test_a_file_of_somebody_else_in_a_shards_place_is_written_over(tmp_path) -> None:
    writer = LabelWriter(tmp_path, fingerprint())
    (tmp_path / SHARD).parent.mkdir()
    save_file({"weights": torch.zeros(3)}, tmp_path / SHARD)
    write_some(writer)
    assert set(load_file(tmp_path / SHARD)) == {"logits"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"top_k": 6}, r"labels\.top_k=6 of 5 classes: keep fewer"),
        ({"top_k": 5}, r"labels\.top_k=5 of 5 classes: keep fewer than there are, or null"),
        ({"top_k": 0}, r"labels\.top_k=0"),
        ({"views": 0}, r"labels\.views=0: label one view or more"),
        ({"dtype": "int8"}, r"labels\.dtype=int8: there are float16, float32"),
    ],
)
def test_impossible_settings_name_their_key(tmp_path, change, said) -> None:
    with pytest.raises(ValueError, match=said):
        LabelWriter(tmp_path / "label", fingerprint(**change))
    assert not (tmp_path / "label").exists()


def test_the_top_k_are_read_as_log_probabilities(make_store) -> None:
    labels = open_labels(make_store(top_k=2, dtype="float32"), fingerprint(top_k=2, dtype="float32"))
    logits, _ = said([])
    stored = labels.read([9, BLOCK], [0, 2]).logits
    true = logits[[0, 2], [9, BLOCK]].log_softmax(dim=1)
    torch.testing.assert_close(stored.topk(2).values, true.topk(2).values)
    torch.testing.assert_close(stored.exp().sum(dim=1), torch.ones(2))
