"""The command lines, as a user types them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from kd_lightning.corpora.synthetic import SyntheticSpeechCommands

# Nobody has logged in to wandb, and nobody has said that it is offline.
ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")} | {
    "OMP_NUM_THREADS": "1"
}


def command(module: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"kd_lightning.{module}", *words],
        cwd=cwd,
        env=ENVIRONMENT,
        text=True,
        capture_output=True,
        timeout=280,
        check=False,
    )


@pytest.mark.parametrize(
    "module",
    [
        *("train", "pipeline", "label", "evaluate", "export", "report", "synthesize"),
        *("doctor", "search", "dashboard"),
    ],
)
def test_help_needs_no_torch(module, tmp_path):
    code = "\n".join(
        (
            "import sys; sys.argv = ['x', '--help']",
            f"from kd_lightning.{module} import main",
            "try: main()",
            "except SystemExit: pass",
            "assert 'torch' not in sys.modules",
        )
    )
    done = subprocess.run(
        [sys.executable, "-c", code], text=True, capture_output=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "kd_lightning" in done.stdout or "Configuration groups" in done.stdout


@pytest.mark.parametrize(
    ("module", "words", "said"),
    [
        ("train", ["optimiser=adam"], "optimiser: the config has no such key; did you mean optimizer?"),
        (
            "train",
            ["student.network.widht=1"],
            "student.network.widht: the config has no such key; did you mean width?",
        ),
        (
            "train",
            ["-m", "seed=0,1", "stgae=teacher"],
            "stgae: the config has no such key; did you mean stage",
        ),
        (
            "train",
            ["corpus.words=[yes,"],
            "corpus.words=[yes,: no viable alternative at input '[yes,'; type key=value",
        ),
        ("train", ["stages.basline.seed=1"], "stages.basline: there are teacher, assistant, baseline"),
        ("train", ["paths.runs=null"], "paths.runs names a folder, and is not set"),
        ("train", ["stage=tune"], "stage=tune: there are teacher, assistant, baseline, distill, finetune"),
        ("train", ["trainer.max_epochs=1"], "type stages.distill.trainer.max_epochs=1"),
        ("train", ["student=nothing"], "there is no conf/student/nothing.yaml; there are bc_resnet1, "),
        ("train", ["student=tc_resnet"], "no conf/student/tc_resnet.yaml; did you mean tc_resnet8"),
        ("evaluate", ["run=nowhere"], "run=nowhere is not a folder"),
        ("dashboard", ["runs=nowhere"], "runs=nowhere is not a folder"),
        ("export", ["format=onnx"], "say which: run=<folder>"),
        ("report", ["runs=nowhere"], "runs=nowhere is not a folder"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_one_message(module, words, said, tmp_path):
    done = command(module, *words, cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture(scope="module")
def finished(quick_words, tmp_path_factory):
    """A finished pipeline, made by its command line with wandb offline."""
    folder = tmp_path_factory.mktemp("pipeline")
    words = [word for word in quick_words if word != "logger=csv"]
    done = command("pipeline", *words, "name=whole", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_the_pipeline_leaves_four_stages_and_a_report(finished):
    folder, done = finished
    for stage in ("teacher", "baseline", "distill", "finetune"):
        assert (folder / "runs" / "whole" / stage / "metrics.json").is_file()
        assert list((folder / "runs" / "whole" / stage / "wandb").glob("offline-run-*"))
    assert done.stderr.count("wandb sync") == 4
    comparison = json.loads((folder / "runs" / "whole" / "report" / "comparison.json").read_text())
    assert [row["stage"] for row in comparison["rows"]] == ["teacher", "baseline", "distill", "finetune"]
    steps = {row["stage"]: row["steps"] for row in comparison["rows"]}
    assert steps["baseline"] == steps["distill"] + steps["finetune"]
    assert "accuracy" in done.stdout


def test_finished_stages_are_skipped_by_the_next_start(finished, quick_words):
    folder, _ = finished
    before = (folder / "runs" / "whole" / "teacher" / "network.safetensors").stat().st_mtime_ns
    words = [word for word in quick_words if word != "logger=csv"]
    done = command("pipeline", *words, "name=whole", "logger=csv", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("is finished: skipped") == 4
    assert (folder / "runs" / "whole" / "teacher" / "network.safetensors").stat().st_mtime_ns == before


def test_evaluate_finds_the_accuracy_of_the_run_again(finished):
    folder, _ = finished
    run = folder / "runs" / "whole" / "finetune"
    done = command("evaluate", f"run={run}", cwd=folder)
    assert done.returncode == 0, done.stderr
    again = json.loads((run / "evaluation" / "metrics.json").read_text())
    assert again["metrics"] == pytest.approx(
        json.loads((run / "metrics.json").read_text())["metrics"], abs=1e-6
    )
    assert (run / "evaluation" / "predictions.jsonl").read_text() == (run / "predictions.jsonl").read_text()


def test_evaluate_asks_another_corpus_for_the_classes_of_the_run(finished):
    folder, _ = finished
    run = folder / "runs" / "whole" / "baseline"
    other = SyntheticSpeechCommands(
        words=("yes", "no", "stop", "tree", "bird"), clips=(5, 5, 50), voices=(1, 1, 2), seed=1
    ).write(folder / "other")
    done = command("evaluate", f"run={run}", f"corpus.root={other}", cwd=folder)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (run / "evaluation" / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == 40
    assert {line["reference"] for line in lines} == {"no", "stop", "tree", "yes"}


def test_an_exported_student_scores_as_in_pytorch_and_enters_the_report(finished):
    folder, _ = finished
    run = folder / "runs" / "whole" / "finetune"
    done = command("export", f"run={run}", cwd=folder)
    assert done.returncode == 0, done.stderr
    exported = json.loads((run / "deploy" / "onnx_fp32.json").read_text())
    assert exported["max_abs_difference"] < 1e-4
    trained = json.loads((run / "metrics.json").read_text())["metrics"]
    assert exported["metrics"]["accuracy"] == pytest.approx(trained["accuracy"], abs=1 / 40)

    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(str(run / "deploy" / exported["file"]))
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == ["no", "stop", "tree", "yes"]
    for clips in (1, 3):
        waveform = np.random.default_rng(0).normal(0, 0.1, (clips, 16000)).astype(np.float32)
        scores = session.run(["scores"], {"waveform": waveform})[0]
        assert scores.shape == (clips, 4)
        np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)

    done = command("report", f"runs={folder / 'runs' / 'whole'}", cwd=folder)
    assert done.returncode == 0, done.stderr
    comparison = json.loads((folder / "runs" / "whole" / "report" / "comparison.json").read_text())
    assert comparison["exports"][0]["format"] == "onnx"


def test_a_sweep_reports_each_setting_against_no_transfer(finished, quick_words):
    folder, _ = finished
    teacher = folder / "runs" / "whole" / "teacher"
    words = [*quick_words, "stage=distill", f"teacher.run={teacher}", "transfer=none,logits", "seed=0,1"]
    done = command("train", "-m", *words, "hydra.sweep.dir=sweep", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert len(list((folder / "sweep").glob("*/metrics.json"))) == 4
    done = command("report", "runs=sweep", cwd=folder)
    assert done.returncode == 0, done.stderr
    sweep = json.loads((folder / "sweep" / "report" / "comparison.json").read_text())
    seeds = {row["setting"]: row["seeds"] for row in sweep["rows"]}
    assert seeds == {"transfer=none": [0, 1], "transfer=logits": [0, 1]}


@pytest.mark.slow
def test_two_jobs_of_a_sweep_run_at_once_with_joblib(finished, quick_words):
    folder, _ = finished
    words = [*quick_words, "stage=baseline", "seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    done = command("train", "-m", *words, "hydra.sweep.dir=joblib", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert len(list((folder / "joblib").glob("*/metrics.json"))) == 2


def test_a_device_that_is_not_there_is_one_message(quick_words, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    done = command("train", *quick_words, "trainer=gpu", "stage=baseline", cwd=tmp_path)
    assert done.returncode == 1
    assert "MisconfigurationException" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in (tmp_path / "runs" / "speech_commands" / "baseline" / "train.log").read_text()


def test_a_job_that_fails_does_not_stop_the_sweep(finished, quick_words):
    folder, _ = finished
    words = [*quick_words, "stage=baseline", "optimizer.lr=1e30,0.01", "hydra.sweep.dir=failing"]
    done = command("train", "-m", *words, cwd=folder)
    assert done.returncode == 1
    assert "the loss is not finite" in done.stderr
    (finished,) = (folder / "failing").glob("*/metrics.json")
    assert json.loads((finished.parent / "config.json").read_text())["optimizer"]["lr"] == 0.01


def test_a_sweep_that_would_start_ranks_is_refused(finished, quick_words):
    folder, _ = finished
    done = command("train", "-m", *quick_words, "trainer=ddp", "stage=baseline", "seed=0,1", cwd=folder)
    assert done.returncode == 1
    assert "hydra/launcher=slurm" in done.stderr
