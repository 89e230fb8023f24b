"""What int8 saves and costs on one thread, for a network of each kind, each trained for a few epochs on all labels."""

import json
from pathlib import Path
from typing import Any

import pytest

from kd_lightning.export import export
from kd_lightning.stages import run_stage

EPOCHS = 4
BOUND = 0.05


@pytest.mark.parametrize("student", ["tc_resnet8", "bc_resnet1", "mobilenet_v2"])
def test_int8_against_float(student, default_config, tmp_path, say, monkeypatch):
    words = ("logger=csv", "callbacks=none", "corpus.labelled_fraction=1.0", f"student={student}")
    epochs = f"stages.baseline.trainer.max_epochs={EPOCHS}"
    config = default_config("baseline", *words, epochs, f"paths.runs={tmp_path}", f"name={student}")
    run_stage(config)
    run = Path(config["folder"])
    for precision in ("fp32", "int8"):
        export({"run": str(run), "precision": precision})
    results = {path.stem: json.loads(path.read_text()) for path in (run / "deploy").glob("*.json")}
    say("\n".join(line(student, name, result) for name, result in sorted(results.items())))
    assert results["onnx_int8"]["metrics"]["accuracy_change"] > -BOUND


def line(student: str, name: str, result: dict[str, Any]) -> str:
    latency, (low, high) = result["latency_ms"], result["intervals"]["accuracy_change"]
    return (
        f"{student} {name}: {result['size_bytes'] / 1000:.0f} kB, p50 {latency['p50']:.2f} ms, "
        f"p95 {latency['p95']:.2f} ms, accuracy {100 * result['metrics']['accuracy']:.1f} %, "
        f"change {100 * result['metrics']['accuracy_change']:+.2f} points ({100 * low:+.2f} to {100 * high:+.2f})"
    )
