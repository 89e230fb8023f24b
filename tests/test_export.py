"""Finished runs as files, in float and in int8."""

import json
import shutil
from pathlib import Path

import onnx
import pytest

from kd_lightning.corpora.synthetic import SyntheticSpeechCommands
from kd_lightning.deploy.folder import digests
from kd_lightning.experiment.command import nested
from kd_lightning.export import export

BESIDE = {"run.py", "README.md", "SHA256SUMS"}


@pytest.fixture
def run(teacher_run: Path, tmp_path: Path) -> Path:
    """A finished teacher in a folder of its own, with a report beside it."""
    shutil.copytree(teacher_run, tmp_path / "runs" / "teacher")
    (tmp_path / "runs" / "report").mkdir()
    return tmp_path / "runs" / "teacher"


def test_each_precision_enters_the_folder_its_card_and_the_report(
    run: Path, capsys: pytest.CaptureFixture[str]
):
    for precision in ("fp32", "fp16", "int8"):
        export({"run": str(run), "precision": precision})
        assert f"\n{precision} " in capsys.readouterr().out  # what it keeps or costs
        folder = run / "deploy"
        sums = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
        assert sums == digests(folder)
        assert f"`network_{precision}.onnx`" in (folder / "README.md").read_text()

    networks = {f"network_{precision}.onnx" for precision in ("fp32", "fp16", "int8")}
    scores = {f"onnx_{precision}.json" for precision in ("fp32", "fp16", "int8")}
    assert {path.name for path in folder.iterdir()} == networks | scores | BESIDE
    assert set(sums) == networks | scores | BESIDE - {"SHA256SUMS"}
    comparison = json.loads((run.parent / "report" / "comparison.json").read_text())
    rows = {row["precision"]: row for row in comparison["exports"]}
    in_float, in_half, in_int8 = rows["fp32"], rows["fp16"], rows["int8"]
    assert max(in_half["size_bytes"], in_int8["size_bytes"]) < in_float["size_bytes"]
    in_order = [row["max_abs_difference"] for row in (in_float, in_half, in_int8)]
    assert sorted(in_order) == in_order
    assert in_order[0] < 1e-4 < in_order[2]
    assert abs(in_half["metrics"]["accuracy_change"]) <= 0.05  # two of forty clips
    assert in_float["metrics"]["accuracy_change"] == 0
    change = in_int8["metrics"]["accuracy"] - in_float["metrics"]["accuracy"]
    assert in_int8["metrics"]["accuracy_change"] == pytest.approx(change, abs=1e-6)
    low, high = in_int8["intervals"]["accuracy_change"]
    assert low <= change <= high


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"precision": "int4"}, "precision=int4: what can be exported"),
        (
            {"precision": "int8", "format": "savedmodel"},
            "format=savedmodel precision=int8: what can be exported",
        ),
        ({"precision": "half"}, "format=onnx with precision=fp32|fp16|int8"),
        ({"precision": "int8", "calibration_clips": 0}, "calibration_clips=0: int8 is calibrated"),
        ({"precision": "int8", "calibration_clips": "all"}, "calibration_clips=all"),
    ],
)
def test_what_cannot_be_exported_is_one_message(run: Path, words: dict, said: str):
    with pytest.raises(ValueError, match=said):
        export({"run": str(run)} | words)
    assert not (run / "deploy").exists()


def test_a_run_that_has_not_finished_is_refused(run: Path):
    (run / "network.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="finish that stage first"):
        export({"run": str(run)})
    with pytest.raises(FileNotFoundError, match="is not a run"):
        export({"run": str(run / "checkpoints")})


def test_no_calibration_clips_are_one_message(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("kd_lightning.exporting.islice", lambda batches, count: iter(()))
    with pytest.raises(ValueError, match=r"calibrated on training clips, and there are none: give a corpus"):
        export({"run": str(run), "precision": "int8"})
    assert not (run / "deploy").exists()


def test_a_file_that_gives_no_numbers_is_not_kept(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("kd_lightning.exporting.write_onnx", lambda path, *_: path.write_bytes(b"a network"))
    found = {"max_abs_difference": float("nan")}
    monkeypatch.setattr("kd_lightning.exporting.score_keywords", lambda *_: found)
    with pytest.raises(ValueError, match=r"no numbers in fp16: nothing was written; export precision=fp32"):
        export({"run": str(run), "precision": "fp16"})
    assert not (run / "deploy").exists()


def test_a_float_file_that_differs_is_not_kept(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("kd_lightning.exporting.to_onnx", lambda model, clip_samples: onnx.ModelProto())
    monkeypatch.setattr("kd_lightning.exporting.score_keywords", lambda *_: {"max_abs_difference": 0.002})
    with pytest.raises(ValueError, match=r"differs from PyTorch by 0\.002 .* nothing was written"):
        export({"run": str(run)})
    assert not (run / "deploy").exists()


def test_what_an_earlier_export_wrote_outlives_one_that_is_refused(
    run: Path, monkeypatch: pytest.MonkeyPatch
):
    export({"run": str(run)})
    before = digests(run / "deploy")
    found = {"max_abs_difference": float("nan")}
    monkeypatch.setattr("kd_lightning.exporting.score_keywords", lambda *_: found)
    with pytest.raises(ValueError, match="no numbers in fp16"):
        export({"run": str(run), "precision": "fp16"})
    assert digests(run / "deploy") == before


def test_a_job_of_a_sweep_is_exported_and_its_report_is_left_alone(teacher_run: Path, tmp_path: Path):
    job = tmp_path / "multirun" / "b" / "seed=0,transfer=logits"
    shutil.copytree(teacher_run, job)
    (job.parent / "report").mkdir()
    export(nested([f"run={job}"]))
    assert (job / "deploy" / "README.md").is_file()
    assert list((job.parent / "report").iterdir()) == []


def test_another_test_set_is_refused(run: Path):
    with pytest.raises(
        ValueError,
        match=r"tested on 40 cuts, and this corpus has 8 test cuts, 8 of them the same: nothing was written; .*"
        r"kd_lightning\.evaluate",
    ):
        export({"run": str(run), "corpus": {"limit": 8}})
    assert not (run / "deploy").exists()


def test_other_data_of_the_same_layout_are_refused(run: Path, tmp_path: Path):
    others = SyntheticSpeechCommands(
        words=("yes", "no", "stop", "tree"), clips=(8, 8, 8), voices=(1, 1, 1), seed=1
    )
    words = {"corpus": {"root": str(others.write(tmp_path / "others")), "data": str(tmp_path / "data")}}
    with pytest.raises(ValueError, match=r"40 cuts, and this corpus has 8 test cuts, 0 of them the same"):
        export({"run": str(run)} | words)
    assert not (run / "deploy").exists()


def test_the_same_data_elsewhere_are_the_runs_own(run: Path, corpus_root: Path, tmp_path: Path):
    moved = shutil.copytree(corpus_root, tmp_path / "moved, with = in its name")
    export(nested([f"run={run}", f"corpus.root={moved}", f"corpus.data={tmp_path / 'data'}"]))
    found = json.loads((run / "deploy" / "onnx_fp32.json").read_text())
    own = json.loads((run / "metrics.json").read_text())
    assert found["metrics"]["accuracy"] == pytest.approx(own["metrics"]["accuracy"])
