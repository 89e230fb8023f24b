"""Whom a stage learns from: a run, several, a file, the student itself, and what fits none of them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from kd_lightning.experiment.build import build_experiment
from kd_lightning.pipeline import stage_configs
from kd_lightning.stages import run_stage, sources
from kd_lightning.teachers.ensemble import Ensemble
from kd_lightning.teachers.moving_average import MovingAverage

AVERAGE = "+teacher.average={_target_: kd_lightning.teachers.moving_average.MovingAverage, momentum: 0.9}"


@pytest.fixture
def other_run(teacher_run, tmp_path):
    """A second teacher: the first with other weights."""
    folder = tmp_path / "other"
    folder.mkdir()
    shutil.copy(teacher_run / "config.json", folder)
    state = load_file(teacher_run / "network.safetensors")
    save_file(
        {name: 0.9 * t if t.is_floating_point() else t for name, t in state.items()},
        folder / "network.safetensors",
    )
    return folder


# An ensemble


def test_several_runs_teach_with_the_mean_of_their_probabilities(config_of, teacher_run, other_run, tmp_path):
    config = config_of("distill", f"teacher.run=[{teacher_run},{other_run}]")
    built = build_experiment(config, tmp_path / "built")
    assert isinstance(built.distiller.teacher, Ensemble)
    alone = [
        build_experiment(config_of("distill", f"teacher.run={run}"), tmp_path / "alone").distiller.teacher
        for run in (teacher_run, other_run)
    ]
    batch = next(iter(built.datamodule.val_dataloader()))
    with torch.no_grad():
        said = built.distiller.teacher(batch.waveform).logits.softmax(1)
        each = [teacher(batch.waveform).logits.softmax(1) for teacher in alone]
    torch.testing.assert_close(said, (each[0] + each[1]) / 2)
    assert not torch.allclose(each[0], each[1])


def test_an_ensemble_trains_a_student_and_all_members_are_its_sources(config_of, teacher_run, other_run):
    words = f"teacher.run=[{teacher_run},{other_run}]"
    config = config_of("distill", words)
    run_stage(config)
    recorded = json.loads((Path(config["folder"]) / "config.json").read_text())["sources"]["teacher"]
    assert len(set(recorded)) == 2
    state = load_file(other_run / "network.safetensors")
    save_file({name: tensor + 1 for name, tensor in state.items()}, other_run / "network.safetensors")
    with pytest.raises(FileExistsError, match=r"sources\.teacher"):
        run_stage(config_of("distill", words))


def test_a_list_of_one_run_is_that_run(config_of, teacher_run, tmp_path):
    built = build_experiment(config_of("distill", f"teacher.run=[{teacher_run}]", "transfer=hints",
                                       "transfer.terms.hint.teacher=blocks.2"), tmp_path)  # fmt: skip
    assert not isinstance(built.distiller.teacher, Ensemble)


def test_a_member_with_other_classes_is_named(config_of, teacher_run, other_run, tmp_path):
    config = json.loads((other_run / "config.json").read_text())
    (other_run / "config.json").write_text(json.dumps(config | {"classes": ["no", "stop", "tree", "bed"]}))
    with pytest.raises(ValueError, match=rf"{other_run} knows other classes"):
        build_experiment(config_of("distill", f"teacher.run=[{teacher_run},{other_run}]"), tmp_path)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("transfer=hints", "ensemble have no layer in common"),
        ("copy=same_names", r"copy: .*one teacher's weights"),
    ],
)
def test_what_an_ensemble_cannot_give_is_refused(word, said, config_of, teacher_run, other_run, tmp_path):
    with pytest.raises(ValueError, match=said):
        build_experiment(config_of("distill", f"teacher.run=[{teacher_run},{other_run}]", word), tmp_path)


def test_a_student_starts_from_one_run(config_of, teacher_run, tmp_path):
    with pytest.raises(ValueError, match=r"student\.run: a student starts from one run"):
        build_experiment(config_of("finetune", f"student.run=[{teacher_run},{teacher_run}]"), tmp_path)


# A checkpoint


@pytest.mark.parametrize("name", ["checkpoints/best.ckpt", "network.safetensors"])
def test_a_file_of_weights_teaches_like_the_run_that_wrote_it(name, config_of, teacher_run, tmp_path):
    run = build_experiment(
        config_of("distill", f"teacher.run={teacher_run}"), tmp_path / "run"
    ).distiller.teacher
    path = shutil.copy(teacher_run / name, tmp_path)  # away from its run
    config = config_of("distill", f"teacher.checkpoint={path}")
    teacher = build_experiment(config, tmp_path / "file").distiller.teacher
    theirs = run.state_dict()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in teacher.state_dict().items())
    assert not teacher.training
    assert sources(config)["teacher"] is not None


def test_a_checkpoint_in_its_run_is_compared_with_the_runs_config(config_of, teacher_run, tmp_path):
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    path = Path(shutil.copy(teacher_run / "checkpoints" / "best.ckpt", run / "checkpoints"))
    config = json.loads((teacher_run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"classes": ["yes", "no", "stop", "tree"]}))
    with pytest.raises(ValueError, match="another order"):
        build_experiment(config_of("distill", f"teacher.checkpoint={path}"), tmp_path / "built")
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"other features than teacher\.frontend: floor_db"):
        build_experiment(
            config_of("distill", f"teacher.checkpoint={path}", "frontend.floor_db=50"), tmp_path / "built"
        )


def test_a_checkpoint_of_another_architecture_than_the_config(config_of, teacher_run, tmp_path):
    words = (f"teacher.checkpoint={teacher_run / 'network.safetensors'}", "teacher.network.width=1.0")
    with pytest.raises(
        ValueError, match=r"another network than teacher\.network and teacher\.frontend describe"
    ):
        build_experiment(config_of("distill", *words), tmp_path)


def test_two_teachers_are_one_too_many(config_of, teacher_run, tmp_path):
    words = (f"teacher.run={teacher_run}", f"teacher.checkpoint={teacher_run / 'network.safetensors'}")
    with pytest.raises(ValueError, match="choose one of"):
        build_experiment(config_of("distill", *words), tmp_path)


# The student itself


def test_the_moving_average_starts_as_the_student(config_of, tmp_path):
    distiller = build_experiment(config_of("distill", AVERAGE), tmp_path).distiller
    assert isinstance(distiller.teacher, MovingAverage)
    assert distiller.teacher.momentum == 0.9
    theirs = distiller.student.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in distiller.teacher.state_dict().items())


def test_the_student_of_a_mean_teacher_starts_like_the_baselines(config_of, tmp_path):
    baseline = build_experiment(config_of("baseline"), tmp_path / "a").distiller.student.state_dict()
    distill = build_experiment(config_of("distill", AVERAGE), tmp_path / "b").distiller.student.state_dict()
    assert all(torch.equal(tensor, distill[name]) for name, tensor in baseline.items())


def test_a_mean_teacher_draws_all_audio_and_leaves_the_student_alone_as_the_run(config_of):
    config = config_of("distill", AVERAGE)
    metrics = run_stage(config)
    assert metrics["steps"] == 12
    weights = load_file(Path(config["folder"]) / "network.safetensors")
    assert not [name for name in weights if "teacher" in name]
    state = torch.load(Path(config["folder"]) / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(tensor, state[f"student.{name}"]) for name, tensor in weights.items())


def test_a_copy_of_the_students_own_weights_is_refused(config_of, tmp_path):
    with pytest.raises(ValueError, match=r"copy: .*one teacher's weights"):
        build_experiment(config_of("distill", AVERAGE, "copy=same_names"), tmp_path)


def test_a_finished_student_teaches_the_next_generation(config_of):
    baseline = config_of("baseline")
    first = run_stage(baseline)
    config = config_of("distill", f"teacher.run={baseline['folder']}", "name=born_again")
    second = run_stage(config)
    assert second["params"] == first["params"]
    assert json.loads((Path(config["folder"]) / "config.json").read_text())["sources"]["teacher"] is not None


# The pipeline


def test_the_pipeline_trains_a_teacher_where_there_is_none(request_of, teacher_run):
    def stages(*words):
        return list(stage_configs(request_of(*words)))

    assert stages() == ["teacher", "baseline", "distill", "finetune"]
    assert stages(f"teacher.run={teacher_run}") == ["baseline", "distill", "finetune"]
    assert stages(f"teacher.run=[{teacher_run},{teacher_run}]") == ["baseline", "distill", "finetune"]
    assert stages("teacher.checkpoint=a.ckpt") == ["baseline", "distill", "finetune"]
    assert stages("assistant=tc_resnet8") == ["teacher", "assistant", "baseline", "distill", "finetune"]


def test_an_assistant_learns_from_the_teacher_and_teaches_the_student(request_of):
    configs = stage_configs(request_of("assistant=tc_resnet8"))
    assert configs["assistant"]["teacher"]["run"] == str(Path(configs["teacher"]["folder"]).absolute())
    assert configs["distill"]["teacher"]["run"] == str(Path(configs["assistant"]["folder"]).absolute())
    assert configs["assistant"]["student"]["network"]["width"] == 1.0
    assert configs["distill"]["student"]["network"]["width"] == 0.25
    given = stage_configs(request_of("assistant=tc_resnet8", "teacher.checkpoint=/a.ckpt"))
    assert given["assistant"]["teacher"]["checkpoint"] == "/a.ckpt"
    assert given["distill"]["teacher"]["checkpoint"] is None
