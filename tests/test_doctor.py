"""The doctor: what it finds is what training would end with, and it touches no run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from untrained import untrained_run

from kd_lightning.checks.finding import Level
from kd_lightning.checks.proxies import Plan, chance, error_of, mistakes, teacher_error
from kd_lightning.checks.stage import check_stage
from kd_lightning.checks.stand_ins import StandIns
from kd_lightning.doctor import doctor
from kd_lightning.experiment.build import build_experiment
from kd_lightning.labelling import run_label
from kd_lightning.stages import run_stage


@pytest.fixture
def checked(tmp_path):
    """Findings of a stage."""

    def check(config):
        return check_stage(config, StandIns(tmp_path / "stand_ins")).findings

    return check


def wrong(findings):
    return [finding.says for finding in findings if finding.level is Level.WRONG]


def error_of_training(config, folder):
    with pytest.raises((ValueError, OSError)) as error:
        build_experiment(config, folder)
    return f"{type(error.value).__name__}: {error.value}"


def test_a_sound_experiment_of_a_new_user(request_of, capsys):
    request = request_of()
    doctor(request)
    said = capsys.readouterr().out
    assert "0 wrong" in said
    for line in (
        "is not trained yet: checked with random weights",
        "eval mode, no gradients",
        "labels 0.1 x",
    ):
        assert line in " ".join(said.split())
    for stage in ("teacher", "baseline", "distill", "finetune", "together"):
        assert f"\n {stage}" in said
    assert not Path(request.config.paths.runs).exists()


def test_something_wrong_is_an_exit_status(request_of, capsys):
    with pytest.raises(SystemExit) as status:
        doctor(request_of("corpus.labelled_fraction=0"))
    assert status.value.code == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "ValueError: corpus.labelled_fraction=0 is not in (0, 1]" in said


@pytest.mark.parametrize(
    "words",
    [
        ("corpus.words=[yes,no,stop]",),
        ("transfer=hints", "transfer.terms.hint.student=blocks.99"),
        ("corpus.labelled_fraction=0",),
        ("corpus.labelled_fraction=0.01",),
        ("trainer.accumulate_grad_batches=2",),
    ],
    ids=lambda words: words[-1].partition("=")[0] + words[-1][-3:],
)
def test_contradictions_are_said_as_training_says_them(words, config_of, teacher_run, checked, tmp_path):
    plus = [f"+{word}" if "accumulate" in word else word for word in words]
    config = config_of("distill", f"teacher.run={teacher_run}", *plus)
    assert wrong(checked(config)) == [error_of_training(config, tmp_path / "training")]
    assert not Path(config["folder"]).exists()


def test_a_teacher_of_other_mels_is_wrong(voice_words, checked, request_voice, tmp_path):
    words = ("experiment=libritts_vocoder", *(word for word in voice_words if "batch" not in word))
    teacher = untrained_run(tmp_path / "teacher", *words, "frontend.low_hz=50", "student=vocos_small")
    config = request_voice(*words, f"teacher.run={teacher}")
    (said,) = wrong(checked(config))
    assert "the teacher speaks other mels (low_hz: 50 there, 0.0 here)" in said
    assert said == error_of_training(config, tmp_path / "training")


@pytest.fixture
def request_voice(tmp_path):
    from hydra import compose, initialize_config_dir

    from kd_lightning.experiment.compose import Request, conf_folder, stage_config

    def make(*words):
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            composed = compose("config", overrides=[*words, f"paths.runs={tmp_path / 'runs'}"])
        return stage_config(Request(composed, words), "distill")

    return make


def test_stored_labels_answer_or_are_of_another_teacher(config_of, teacher_run, checked, tmp_path):
    folder = tmp_path / "labels"
    words = ("labels.views=2", "corpus.views=2", f"teacher.stored={folder}")
    run_label(config_of("distill", f"teacher.run={teacher_run}", *words), folder)
    findings = checked(config_of("distill", f"teacher.run={teacher_run}", *words))
    assert not wrong(findings)
    (said,) = (finding.says for finding in findings if finding.what == "stored labels")
    assert said.startswith("4 of 4 batches are answered")
    assert "all 96 cuts are, in 2 views" in said

    other = json.loads((teacher_run / "config.json").read_text())
    stranger = config_of("teacher", "seed=1", f"folder={tmp_path / 'other'}")
    run_stage(stranger)
    assert other["seed"] != stranger["seed"]
    config = config_of("distill", f"teacher.run={tmp_path / 'other'}", *words)
    findings = check_stage(config, StandIns(tmp_path / "again")).findings
    (said,) = wrong(findings)
    assert said == error_of_training(config, tmp_path / "training")
    assert f"{folder} holds labels of another teacher" in said


def test_a_student_that_hears_another_rate_is_wrong(config_of, checked):
    (said,) = wrong(checked(config_of("baseline", "frontend.sample_rate=8000", "frontend.high_hz=3800")))
    assert "the student hears 8000 Hz and the corpus has 16000 Hz" in said


def test_a_run_with_another_config_is_said(config_of, checked):
    config = config_of("baseline")
    Path(config["folder"]).mkdir(parents=True)
    (Path(config["folder"]) / "config.json").write_text(json.dumps(config | {"seed": 7}))
    (said,) = wrong(checked(config))
    assert "seed: 7 -> 0" in said


def test_a_finished_stage_costs_nothing_more(config_of, teacher_run, tmp_path):
    config = json.loads((teacher_run / "config.json").read_text())
    for key in ("classes", "sources"):
        config.pop(key)
    before = {path: path.stat().st_mtime_ns for path in teacher_run.rglob("*")}
    checked = check_stage(config, StandIns(tmp_path))
    assert not wrong(checked.findings)
    assert checked.costs.seconds() == checked.costs.disk == 0
    assert {path: path.stat().st_mtime_ns for path in teacher_run.rglob("*")} == before


def test_time_is_steps_and_validations(config_of, tmp_path):
    costs = check_stage(config_of("baseline"), StandIns(tmp_path)).costs
    # 96 clips in batches of 16, for three epochs; a validation before them and after each.
    assert (costs.epochs, costs.epoch_steps) == (3, 6)
    assert costs.seconds() == pytest.approx(18 * costs.step_seconds + 4 * costs.validation_seconds)
    assert costs.seconds(1) == pytest.approx(6 * costs.step_seconds + 2 * costs.validation_seconds)
    assert costs.disk > 3 * 4 * costs.parameters
    assert costs.memory > 1e8


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"fractions": [0.1]}, "two labelled fractions or more"),
        ({"fractions": 0.1}, "two labelled fractions or more"),
        ({"fractions": [0.0, 0.1]}, "above 0 and at most 1"),
        ({"fractions": [0.1, 1], "seeds": 1}, "seeds=1"),
        ({"fractions": [0.1, 1], "proxy": 2}, "proxy=2"),
    ],
)
def test_a_plan_that_makes_no_curve_is_refused(words, said):
    with pytest.raises(ValueError, match=said):
        Plan.of(words)


def test_a_plan_is_sorted_and_short():
    plan = Plan.of({"fractions": [1, 0.1, 0.3], "proxy": 0.25})
    assert plan == Plan((0.1, 0.3, 1.0), 3, 0.25)
    assert plan.epochs({"trainer": {"max_epochs": 20}}) == 5
    assert plan.epochs({"trainer": {"max_epochs": 1}}) == 1


def test_scores_as_errors():
    assert error_of("validation/accuracy", 0.9) == pytest.approx(0.1)
    assert error_of("validation/wer", 0.3) == 0.3
    assert mistakes("validation/wer", 0.3) == 0.3
    assert mistakes("validation/mcd", 4.0) == 0.0  # a distance is not right or wrong
    assert chance("validation/accuracy", 20) == pytest.approx(0.95)


def test_fractions_end_in_a_prediction(request_of, capsys):
    doctor(
        request_of("stages.teacher.trainer.max_epochs=8", "stages.distill.trainer.max_epochs=8"),
        {"fractions": [0.25, 1], "seeds": 2, "proxy": 1},
    )
    said = " ".join(capsys.readouterr().out.split())
    assert "Training 4 students without a teacher for 8 of 8 epochs" in said
    assert "Predicted gain of distill over the baseline:" in said


@pytest.mark.parametrize(
    ("configs", "said"),
    [
        ({"distill": {"teacher": {"average": {}}}}, "knows no more than the student"),
        (
            {"assistant": {}, "distill": {"teacher": {"run": "/nowhere/assistant"}}},
            "nobody knows how good the assistant is",
        ),
        (
            {
                "teacher": {"monitor": "validation/perplexity"},
                "distill": {"monitor": "validation/wer", "teacher": {"run": "/nowhere/teacher"}},
            },
            "which do not compare",
        ),
    ],
)
def test_a_teacher_that_cannot_be_scored_predicts_nothing(configs, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        teacher_error(configs, Plan((0.1, 1.0)), tmp_path)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("seeds=3",), "seeds= goes with fractions="),
        (("fractions=[0.1",), "no viable alternative at input '[0.1'"),
        (("student=nothing",), "there is no conf/student/nothing.yaml"),
    ],
)
def test_wrong_words_are_one_line(words, said, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "kd_lightning.doctor", *words],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
