"""Two tasks, one encoder: all stages run, each task is taught and scored, and a cut run ends like the uncut one."""

import json
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from kills import Killed, Points, results
from untrained import untrained_run

from kd_lightning.evaluate import evaluate
from kd_lightning.experiment.build import build_experiment
from kd_lightning.experiment.compose import Request, conf_folder, stage_config
from kd_lightning.experiment.stored_labels import fingerprint_of
from kd_lightning.pipeline import stage_configs
from kd_lightning.reports.page import write_report
from kd_lightning.stages import run_stage

SIZES = [f"{role}.network.encoder.hidden={size}" for role, size in (("teacher", 12), ("student", 8))]


@pytest.fixture
def words(sentence_words, corpus_root, tmp_path):
    """The recipe over both small corpora."""
    clips = ("root=" + str(corpus_root), "words=[yes,no,stop]", "batch_size=8")
    return [
        *sentence_words,
        "experiment=two_tasks",
        *SIZES,
        *(f"corpus.clips.{word}" for word in clips),
        "distiller.log_every=1",
        f"paths.runs={tmp_path / 'runs'}",
    ]


@pytest.fixture
def composed(words):
    def make(*more: str) -> Request:
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return Request(compose("config", overrides=[*words, *more]), more)

    return make


def test_all_stages_score_both_tasks(composed):
    configs = stage_configs(composed())
    for stage, config in configs.items():
        found = run_stage(config)
        assert found["metrics"].keys() >= {"wer", "cer", "accuracy", "f1"}
        for key in ("wer", "cer", "accuracy"):
            low, high = found["intervals"][key]
            assert low - 1e-6 <= found["metrics"][key] <= high + 1e-6
        lines = Path(config["folder"], "curves.csv").read_text().splitlines()
        last = {key: float(value) for _, key, value in (line.split(",") for line in lines[1:])}
        mean = (last["validation/wer"] + 1 - last["validation/accuracy"]) / 2
        assert last["validation/error"] == pytest.approx(mean)
        assert found["validation"]["error"] <= mean + 1e-6
        taught = {"train/hypotheses", "train/frames", "train/soft_targets"}
        assert last.keys() >= {"train/ctc", "train/labels"} | (taught if stage == "distill" else set())
    report = write_report(Path(configs["teacher"]["folder"]).parent)
    table = (report / "comparison.md").read_text()
    assert "keywords %" in table
    rows = json.loads((report / "comparison.json").read_text())["rows"]
    assert all(0 <= row["metrics"]["accuracy"] <= 1 for row in rows)


def test_one_teacher_teaches_both_tasks(composed, words, tmp_path):
    teacher = untrained_run(tmp_path, *words, "student.network.encoder.hidden=12")
    config = stage_config(composed(f"teacher.run={teacher}"), "distill")
    built = build_experiment(config, tmp_path / "distill")
    distiller = built.distiller
    step = distiller.run_networks(next(iter(built.datamodule.train_dataloader())))
    parts = {key: term(distiller.part(step, term)).sum for key, term in distiller.terms.items()}
    reached = {}
    for key, loss in parts.items():
        names = [name for name, _ in distiller.student.named_parameters()]
        found = torch.autograd.grad(
            loss, list(distiller.student.parameters()), retain_graph=True, allow_unused=True
        )
        reached[key] = {
            name for name, grad in zip(names, found, strict=True) if grad is not None and grad.any()
        }
    shared = {"network.encoder.stem.projection.weight", "network.encoder.layers.1.norm.weight"}
    assert all(shared <= names for names in reached.values())
    for key in ("labels", "soft_targets"):
        assert "network.classifier.weight" in reached[key]
        assert "network.encoder.ctc.weight" not in reached[key]
    for key in ("ctc", "frames", "hypotheses"):
        assert "network.encoder.ctc.weight" in reached[key]
        assert "network.classifier.weight" not in reached[key]
    assert all(p.grad is None for p in distiller.teacher.parameters())


@pytest.mark.parametrize("point", [("on_train_batch_start", 4), ("after last.ckpt", 2)])
def test_a_cut_run_ends_like_the_uncut_one(point, composed, tmp_path, monkeypatch):
    more = ("corpus.batch_seconds=12", "save_every_steps=2", "student.network.encoder.dropout=0.2")

    def config(name: str):
        return stage_config(composed(*more, f"folder={tmp_path / name}"), "baseline")

    run_stage(config("uncut"))
    with monkeypatch.context() as patch:
        Points(patch, tmp_path / "cut", point)
        with pytest.raises(Killed):
            run_stage(config("cut"))
    run_stage(config("cut"))
    assert results(tmp_path / "cut") == results(tmp_path / "uncut")


def test_a_finished_run_is_scored_on_both_tasks(words, tmp_path):
    run = untrained_run(tmp_path, *words)
    evaluate({"run": str(run)})
    found = json.loads((run / "evaluation" / "metrics.json").read_text())
    assert found["metrics"].keys() >= {"wer", "accuracy"}
    assert found["intervals"].keys() == {"wer", "cer", "accuracy"}


def test_what_does_not_fit_is_refused(composed, words, sentence_words, tmp_path):
    deaf = ("experiment=common_voice", "distiller=two_tasks", f"paths.runs={tmp_path}")
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        request = Request(compose("config", overrides=[*sentence_words, *deaf]))
    with pytest.raises(ValueError, match="the student does not classify clips"):
        build_experiment(stage_config(request, "baseline"), tmp_path / "deaf")
    other = untrained_run(tmp_path, *words, "student.network.keywords=[no,yes,stop]")
    with pytest.raises(ValueError, match="the teacher knows the keywords"):
        build_experiment(stage_config(composed(f"teacher.run={other}"), "distill"), tmp_path)
    config = stage_config(composed(f"teacher.run={other}", "teacher.stored=true"), "distill")
    datamodule = build_experiment(stage_config(composed(), "baseline"), tmp_path).datamodule
    with pytest.raises(ValueError, match=r"teacher\.stored=false"):
        fingerprint_of(config, datamodule)
