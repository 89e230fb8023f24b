"""Every experiment, and every choice of every group, composes and builds."""

import pytest
from hydra import compose, initialize_config_dir

from kd_lightning.experiment.build import build_experiment
from kd_lightning.experiment.compose import STAGES, Request, conf_folder, stage_config

GROUPS = (
    "corpus",
    "frontend",
    "teacher",
    "student",
    "transfer",
    "optimizer",
    "scheduler",
    "trainer",
    "logger",
    "callbacks",
)


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("experiment", names("experiment"))
def test_every_stage_of_every_experiment_builds(experiment, stage, request_of, teacher_run, tmp_path):
    small = ("corpus.words=null", "corpus.unknown=false", "corpus.silence=false")  # the corpus has four words
    request = request_of(f"experiment={experiment}", f"teacher.run={teacher_run}", *small)
    built = build_experiment(stage_config(request, stage), tmp_path)
    assert built.distiller.teacher is None or stage == "distill"
    assert built.datamodule.classes == ["no", "stop", "tree", "yes"]


def composed(*words: str) -> Request:
    """The config of a user who types these words."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return Request(compose("config", overrides=list(words)), words)


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in GROUPS for name in names(group)])
def test_every_choice_composes(group, name):
    for stage in STAGES:
        assert stage_config(composed(f"{group}={name}"), stage)["stage"] == stage


@pytest.mark.parametrize("transfer", names("transfer"))
def test_every_recipe_builds(transfer, config_of, teacher_run, tmp_path):
    words = [f"teacher.run={teacher_run}", f"transfer={transfer}"]
    # The small teacher is no deeper than its student: its layers go by the same names.
    terms = composed(*words).config.transfer.terms
    hinted = [f"transfer.terms.{key}" for key, term in terms.items() if "teacher" in term]
    words += [f"{term}.teacher=${{{term}.student}}" for term in hinted]
    distiller = build_experiment(config_of("distill", *words), tmp_path).distiller
    assert "labels" in distiller.terms
    assert (distiller.teacher is None) == (transfer == "none")


@pytest.mark.parametrize("student", names("student"))
@pytest.mark.parametrize("frontend", names("frontend"))
def test_every_student_builds_on_every_frontend(student, frontend, request_of, quick_words, tmp_path):
    words = [word for word in quick_words if "student.network" not in word]  # not every network has a width
    request = composed(*words, f"student={student}", f"frontend={frontend}")
    built = build_experiment(stage_config(request, "baseline"), tmp_path)
    batch = next(iter(built.datamodule.val_dataloader()))
    assert built.distiller(batch.waveform).shape == (len(batch.ids), 4)
