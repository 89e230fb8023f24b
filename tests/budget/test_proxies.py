"""Short runs: who is trained for how long, who is left out, and what a run leaves behind."""

import json
import logging

import pytest

from kd_lightning.budget import proxies
from kd_lightning.budget.candidates import Candidate
from kd_lightning.budget.proxies import Proxy, rank_by_proxies, run_proxy, shortened
from kd_lightning.experiment.compose import stage_config


@pytest.fixture
def trained(monkeypatch):
    """Instead of training, a student's name is its score; those of 0.5 and above get better with time."""
    seen = []

    def run(config):
        name, epochs = config["name"], config["trainer"]["max_epochs"]
        seen.append((name, epochs))
        if name == "0.99":
            raise ValueError("hints: the student has no layer 7\nand so on")
        score = float(name) + (0.1 * epochs if float(name) >= 0.5 else 0)
        return Proxy(config["monitor"], score, 100 * epochs, 1.0)

    monkeypatch.setattr(proxies, "run_proxy", run)
    return seen


def ranked(names, tmp_path, monitor="validation/accuracy", longest=4):
    candidates = [Candidate(name, name, (), {}) for name in names]

    def distill(candidate):
        return {"name": candidate.name, "trainer": {"max_epochs": 20}, "monitor": monitor, "folder": ""}

    return rank_by_proxies(candidates, distill, tmp_path, longest), candidates


def test_a_handful_is_trained_once_and_the_best_is_first(trained, tmp_path):
    best, _ = ranked(["0.2", "0.7", "0.4"], tmp_path)
    assert [(each.name, each.rank) for each in best] == [("0.7", 1), ("0.4", 2), ("0.2", 3)]
    assert trained == [("0.2", 4), ("0.7", 4), ("0.4", 4)]


def test_an_error_rate_is_the_better_the_lower(trained, tmp_path):
    best, _ = ranked(["0.2", "0.4", "0.1"], tmp_path, "validation/wer")
    assert [each.name for each in best] == ["0.1", "0.2", "0.4"]


def test_only_the_better_half_goes_on_and_the_others_stay_behind_them(trained, tmp_path):
    best, _ = ranked(["0.1", "0.6", "0.3", "0.8", "0.2", "0.7"], tmp_path)
    assert trained[6:] == [("0.8", 4), ("0.7", 4), ("0.6", 4)]
    assert [each.name for each in best] == ["0.8", "0.7", "0.6", "0.3", "0.2", "0.1"]
    assert best[0].steps == {2: 200, 4: 400}
    assert best[-1].steps == {2: 200}


def test_a_student_that_does_not_fit_the_recipe_is_left_out(trained, tmp_path):
    best, candidates = ranked(["0.99", "0.2"], tmp_path)
    assert [each.name for each in best] == ["0.2"]
    assert candidates[0].rank is None
    assert candidates[0].reasons == ["failed in its short run: hints: the student has no layer 7"]


@pytest.mark.parametrize(("fewest", "warned"), [(400, False), (401, True)])
def test_runs_that_are_too_short_to_tell_students_apart_are_warned_of(
    trained, tmp_path, caplog, monkeypatch, fewest, warned
):
    monkeypatch.setattr(proxies, "FEWEST_STEPS", fewest)
    ranked(["0.2", "0.4"], tmp_path, longest=4)
    assert ("short runs of 400 steps rank students by how they begin" in caplog.text) == warned


def test_if_nobody_comes_through_the_first_reason_is_said(trained, tmp_path):
    with pytest.raises(ValueError, match=r"no student came through its short run: .*no layer 7"):
        ranked(["0.99"], tmp_path)


def test_a_short_run_looks_at_validation_alone_and_is_not_repeated(typed, teacher_run, tmp_path, caplog):
    config = stage_config(typed(f"teacher.run={teacher_run}"), "distill")
    config = shortened(config, tmp_path / "proxy", 1)
    with caplog.at_level(logging.INFO, "kd_lightning"):
        proxy = run_proxy(config)
    folder = tmp_path / "proxy" / "1_epochs"
    # 96 clips in batches of 16, all of which the teacher hears.
    assert (proxy.monitor, proxy.steps) == ("validation/accuracy", 6)
    assert json.loads((folder / "proxy.json").read_text()) == proxy._asdict()
    assert not (folder / "predictions.jsonl").exists()
    assert not (folder / "checkpoints").exists()
    before = (folder / "curves.csv").read_bytes()
    assert run_proxy(config) == proxy
    assert (folder / "curves.csv").read_bytes() == before
    with pytest.raises(FileExistsError, match=r"optimizer.lr: .* -> 0.5"):
        run_proxy(config | {"optimizer": config["optimizer"] | {"lr": 0.5}})
