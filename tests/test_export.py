"""Finished runs as files, in float and in int8."""

import json
import shutil
from pathlib import Path

import onnx
import pytest

from kd_lightning import export as command
from kd_lightning.export import export


@pytest.fixture
def run(teacher_run: Path, tmp_path: Path) -> Path:
    """A finished teacher in a folder of its own, with a report beside it."""
    shutil.copytree(teacher_run, tmp_path / "runs" / "teacher")
    (tmp_path / "runs" / "report").mkdir()
    return tmp_path / "runs" / "teacher"


def test_int8_enters_the_report_beside_float_and_says_what_it_costs(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    export({"run": str(run)})
    assert "points of accuracy" not in capsys.readouterr().out
    monkeypatch.setattr(command, "HALF_A_POINT", -1.0)  # as if any change were a loss
    export({"run": str(run), "precision": "int8"})
    said = capsys.readouterr().out
    assert "points of accuracy: train the student for it with quantisation=int8" in said

    files = {path.name for path in (run / "deploy").iterdir()}
    assert files == {"network_fp32.onnx", "network_int8.onnx", "onnx_fp32.json", "onnx_int8.json"}
    comparison = json.loads((run.parent / "report" / "comparison.json").read_text())
    rows = {row["precision"]: row for row in comparison["exports"]}
    in_float, in_int8 = rows["fp32"], rows["int8"]
    assert in_int8["size_bytes"] < in_float["size_bytes"]
    assert in_float["max_abs_difference"] < 1e-4 < in_int8["max_abs_difference"]
    assert in_float["metrics"]["accuracy_change"] == 0
    change = in_int8["metrics"]["accuracy"] - in_float["metrics"]["accuracy"]
    assert in_int8["metrics"]["accuracy_change"] == pytest.approx(change, abs=1e-6)
    low, high = in_int8["intervals"]["accuracy_change"]
    assert low <= change <= high


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"precision": "int4"}, "precision=int4: what can be exported"),
        ({"format": "tflite"}, "format=tflite"),
        ({"precision": "int8", "calibration_clips": 0}, "calibration_clips=0: int8 is calibrated"),
        ({"precision": "int8", "calibration_clips": "all"}, "calibration_clips=all"),
    ],
)
def test_what_cannot_be_exported_is_one_message(run: Path, words: dict, said: str):
    with pytest.raises(ValueError, match=said):
        export({"run": str(run)} | words)
    assert not (run / "deploy").exists()


def test_a_float_file_that_differs_is_not_kept(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "kd_lightning.deploy.onnx_file.to_onnx", lambda model, clip_samples: onnx.ModelProto()
    )
    monkeypatch.setattr(
        "kd_lightning.deploy.scoring.score_keywords", lambda *_: {"max_abs_difference": 0.002}
    )
    with pytest.raises(ValueError, match=r"differs from PyTorch by 0\.002 .* nothing was written"):
        export({"run": str(run)})
    assert list((run / "deploy").iterdir()) == []
