"""Finished recognisers as files, in float and in int8."""

import json
from pathlib import Path

import pytest
from untrained import untrained_run

from kd_lightning.export import export


@pytest.fixture
def run(sentence_words: list[str], tmp_path: Path) -> Path:
    words = ("experiment=common_voice", "transfer=none", *sentence_words)
    return untrained_run(tmp_path, *words)


def test_int8_is_scored_beside_float(run: Path, capsys: pytest.CaptureFixture[str]):
    export({"run": str(run)})
    export({"run": str(run), "precision": "int8", "calibration_clips": 5})
    said = capsys.readouterr().out
    assert "WER " in said
    assert "fp32 keeps WER within 0.5 points of PyTorch" in said
    assert "int8 keeps WER" in said or "int8 costs more than 0.5 points of WER" in said
    files = {path.name for path in (run / "deploy").iterdir()}
    assert {"network_fp32.onnx", "network_int8.onnx", "onnx_fp32.json", "onnx_int8.json"} < files
    in_float, in_int8 = (
        json.loads((run / "deploy" / f"onnx_{each}.json").read_text()) for each in ("fp32", "int8")
    )
    assert in_int8["size_bytes"] < in_float["size_bytes"]
    assert 10 * in_float["max_abs_difference"] < in_int8["max_abs_difference"] < 0.1
    assert in_float["metrics"]["wer_change"] == 0
    change = in_int8["metrics"]["wer"] - in_float["metrics"]["wer"]
    assert in_int8["metrics"]["wer_change"] == pytest.approx(change, abs=1e-6)
    for found in (in_float, in_int8):
        assert set(found["metrics"]) == {
            "wer",
            "cer",
            "substitutions",
            "deletions",
            "insertions",
            "wer_change",
        }
        assert set(found["intervals"]) == {"wer", "cer", "wer_change"}
        low, high = found["intervals"]["wer_change"]
        assert low <= found["metrics"]["wer_change"] <= high
        assert found["real_time_factor"] == pytest.approx(found["latency_ms"]["p50"] / 4000)


def test_no_calibration_utterances_are_one_message(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("kd_lightning.exporting.training_clips", lambda evaluation, count: [])
    with pytest.raises(ValueError, match=r"calibrated on training clips, and there are none"):
        export({"run": str(run), "precision": "int8"})
    assert not (run / "deploy").exists()


def test_a_speller_cannot_be_exported(sentence_words: list[str], tmp_path: Path):
    sizes = (f"student.network.{size}" for size in ("hidden=16", "speller_hidden=16", "embedding=8"))
    words = ("experiment=common_voice", "transfer=none", "student=las_small", *sizes, *sentence_words)
    with pytest.raises(ValueError, match="ListenAttendSpell writes with an attention decoder"):
        export({"run": str(untrained_run(tmp_path, *words))})
