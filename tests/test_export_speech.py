"""Finished networks that speak as files, in float and in int8."""

import json
import shutil
from pathlib import Path

import onnx
import onnxruntime
import pytest
from spoken_runs import speaking_run, write_voice

from kd_lightning.export import export


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voice(tmp_path_factory.mktemp("voice"))


@pytest.fixture(scope="module")
def acoustic(voice: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speaking_run(tmp_path_factory.mktemp("acoustic"), voice, "libritts_tts")


@pytest.fixture(scope="module")
def vocoder(voice: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speaking_run(tmp_path_factory.mktemp("vocoder"), voice, "libritts_vocoder")


def exported(run: Path, precision: str) -> tuple[dict, dict]:
    """What export wrote of a file, and what the file says of itself."""
    export({"run": str(run), "precision": precision, "calibration_clips": 4})
    path = run / "deploy" / f"network_{precision}.onnx"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    told = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    return json.loads((run / "deploy" / f"onnx_{precision}.json").read_text()), told


def assert_scored(found: dict, keys: set[str]) -> None:
    assert set(found["metrics"]) == keys | {"mcd_change"}
    assert set(found["intervals"]) == set(found["metrics"])
    for key in ("mcd", "mcd_change"):
        low, high = found["intervals"][key]
        assert low <= found["metrics"][key] <= high
    assert found["real_time_factor"] == pytest.approx(
        found["latency_ms"]["p50"] / 1000 / found["clip_seconds"]
    )


def test_an_acoustic_network_is_scored_in_float_and_in_int8(
    acoustic: Path, capsys: pytest.CaptureFixture[str]
):
    config = json.loads((acoustic / "config.json").read_text())
    in_float, told = exported(acoustic, "fp32")
    assert "fp32 keeps MCD within 0.1 dB of PyTorch" in capsys.readouterr().out
    in_int8, _ = exported(acoustic, "int8")
    assert told["classes"] == config["classes"]
    assert told["speakers"] == config["speakers"]
    assert (told["spelling"], told["voice"], told["sample_rate"]) == ("phonemes", "en-us", 16000)
    assert told["mel"]["hop_length"] == 200
    for found in (in_float, in_int8):
        assert_scored(found, {"mcd", "f0_rmse", "voicing_error", "duration_error"} & set(found["metrics"]))
    assert in_float["max_abs_difference"] < 1e-4 < in_int8["max_abs_difference"]
    assert in_float["other_durations"] == 0
    assert in_float["metrics"]["mcd_change"] == pytest.approx(0, abs=1e-4)
    change = in_int8["metrics"]["mcd"] - in_float["metrics"]["mcd"]
    assert in_int8["metrics"]["mcd_change"] == pytest.approx(change, abs=1e-4)
    assert in_int8["metrics"]["mcd_change"] != 0


def test_a_vocoder_is_scored_in_float_and_in_int8(vocoder: Path):
    in_float, told = exported(vocoder, "fp32")
    in_int8, _ = exported(vocoder, "int8")
    assert set(told) == {"mel", "sample_rate"}
    assert told["mel"]["bins"] == 80
    for found in (in_float, in_int8):
        assert_scored(
            found, {"mcd", "stft_distance", "stoi", "f0_rmse", "voicing_error"} & set(found["metrics"])
        )
        assert {"mcd", "stft_distance", "stoi"} < set(found["metrics"])
    assert in_float["max_abs_difference"] < 1e-4 < in_int8["max_abs_difference"]
    assert in_float["metrics"]["mcd_change"] == pytest.approx(0, abs=1e-3)


def test_a_decoder_cannot_be_exported(voice: Path, tmp_path: Path):
    words = ("student=tacotron2_small", "distiller=synthesis_decoder")
    run = speaking_run(tmp_path, voice, "libritts_tts", *words)
    with pytest.raises(ValueError, match=r"Tacotron2 speaks with an attention decoder.*feed_forward_small"):
        export({"run": str(run)})


def test_a_file_that_gives_other_durations_is_not_kept(
    acoustic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = Path(shutil.copytree(acoustic, tmp_path / "run", ignore=shutil.ignore_patterns("deploy")))
    found = {"max_abs_difference": 0.0, "other_durations": 0.02}
    monkeypatch.setattr("kd_lightning.exporting.to_onnx", lambda *_: onnx.ModelProto())
    monkeypatch.setattr("kd_lightning.exporting.score_speech", lambda *_: found)
    with pytest.raises(
        ValueError, match=r"gives 2\.0 % of the tokens another duration .* nothing was written"
    ):
        export({"run": str(run)})
    assert not (run / "deploy").exists()
