"""The model card says what the run recorded, and where it recorded nothing, that."""

import json
from hashlib import sha256
from pathlib import Path

import pytest

from kd_lightning.deploy.card import card, corpus, licence
from kd_lightning.deploy.folder import complete, digests

RESULT = {
    "format": "onnx",
    "precision": "int8",
    "file": "network_int8.onnx",
    "size_bytes": 12_345,
    "clip_seconds": 1.0,
    "latency_ms": {"p50": 0.5, "p95": 0.75},
    "metrics": {"accuracy": 0.812, "accuracy_change": -0.013},
    "intervals": {"accuracy": [0.79, 0.83], "accuracy_change": [-0.02, -0.001]},
}
METRICS = {
    "size_bytes": 43_112,
    "latency_ms": {"p50": 0.9, "p95": 1.1},
    "params": 8884,
    "macs": 1_436_113,
    "steps": 186,
    "train_seconds": 6.5,
    "metrics": {"accuracy": 0.825},
    "intervals": {"accuracy": [0.80, 0.85]},
    "commit": "0123456789abcdef",
    "versions": {"python": "3.11.4", "torch": "2.11.0"},
}


def stage(
    folder: Path, name: str, before: Path | None = None, teacher: str | None = None, **more: object
) -> Path:
    """A stage of a keyword spotter without its weights."""
    config = {
        "stage": name,
        "seed": 3,
        "classes": ["yes", "no"],
        "corpus": {
            "_target_": "kd_lightning.corpora.speech_commands.SpeechCommands",
            "root": None,
            "data": "data",
            "labelled_fraction": 0.1,
            "silence": False,
            "unknown": False,
            "synthetic": {"_target_": "kd_lightning.corpora.synthetic.SyntheticSpeechCommands"},
        },
        "student": {
            "network": {"_target_": "kd_lightning.models.tc_resnet.TCResNet"},
            "run": before and str(before),
        },
        "teacher": teacher
        and {"run": teacher, "network": {"_target_": "kd_lightning.models.bc_resnet.BCResNet"}},
        "distiller": {"weights": {"labels": 1.0}},
        "transfer": {"weights": {"labels": 0.1, "soft_targets": 0.9}} if teacher else None,
        **more,
    }
    run = folder / name
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps(config))
    return run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A student that was distilled and fine-tuned; its folders were moved since."""
    stage(tmp_path, "distill", teacher="/elsewhere/runs/words/teacher")
    run = stage(tmp_path, "finetune", before=Path("/elsewhere/runs/words/distill"))
    (run / "metrics.json").write_text(json.dumps(METRICS))
    (run / "deploy").mkdir()
    (run / "deploy" / "onnx_int8.json").write_text(json.dumps(RESULT))
    (run / "deploy" / "network_int8.onnx").write_bytes(b"a network")
    return run


def test_a_card_says_data_teacher_method_metrics_cost_and_origin(run: Path):
    said = card(run, "keyword", [RESULT])
    for line in (
        "| PyTorch | 43 kB | 0.90 / 1.10 | 82.5 [80.0, 85.0] |  |",
        "| `network_int8.onnx` | 12 kB | 0.50 / 0.75 | 81.2 [79.0, 83.0] | -1.3 [-2.0, -0.1] |",
        "- int8 costs more than 0.5 points of accuracy: -1.3 [-2.0, -0.1] points; train the student for it with",
        "1. **distill**: labels 0.1, soft_targets 0.9; teacher BCResNet (words/teacher)",
        "2. **finetune**: labels 1; no teacher; 186 steps, 6 s",
        "of 10 % of the training clips",
        "8,884 parameters, 1.4 million multiply-accumulates for 1 s of audio.",
        "commit 0123456789abcdef, with python 3.11.4, torch 2.11.0",
        "no recording of a person is in it",
        "Licence of the data: not recorded",
    ):
        assert line in said
    assert "/elsewhere" not in said


def test_what_was_not_recorded_is_said(run: Path):
    (run / "metrics.json").unlink()
    said = card(run, "keyword", [RESULT])
    assert "| PyTorch | not recorded |" in said
    assert "commit not recorded" in said


def test_the_licence_is_the_one_that_lies_with_the_corpus(tmp_path: Path):
    assert licence(tmp_path) == "not recorded"
    (tmp_path / "LibriTTS").mkdir()
    (tmp_path / "LibriTTS" / "LICENSE.txt").write_text("\n  CC BY 4.0 \nmore\n")
    assert licence(tmp_path) == "CC BY 4.0 (LibriTTS/LICENSE.txt)"
    settings = {
        "_target_": "kd_lightning.corpora.synthesis.SpokenSentences",
        "root": str(tmp_path),
        "data": "data",
    }
    assert corpus({"corpus": settings})["licence"] == "CC BY 4.0 (LibriTTS/LICENSE.txt)"


def test_the_sums_are_of_all_files_but_hidden_ones_and_themselves(run: Path):
    folder = run / "deploy"
    (folder / ".network.part").write_bytes(b"")
    complete(run, "keyword")
    sums = dict(reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert set(sums) == {"README.md", "network_int8.onnx", "onnx_int8.json", "run.py"}
    assert sums == digests(folder)
    assert sums["network_int8.onnx"] == sha256(b"a network").hexdigest()
