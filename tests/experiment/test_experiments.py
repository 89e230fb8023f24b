"""Every experiment, and every choice of every group, composes and builds."""

import pytest
from hydra import compose, initialize_config_dir
from pytorch_lightning.callbacks import ProgressBar
from tasks import KEYWORD_EXPERIMENTS, KEYWORD_RECIPES, KEYWORD_STUDENTS, names

from kd_lightning.experiment.build import build_experiment
from kd_lightning.experiment.compose import Request, conf_folder, stage_config
from kd_lightning.pipeline import stage_configs

GROUPS = (
    "corpus",
    "frontend",
    "teacher",
    "assistant",
    "student",
    "transfer",
    "quantisation",
    "optimizer",
    "scheduler",
    "trainer",
    "logger",
    "callbacks",
)


def composed(*words: str) -> Request:
    """The config of a user who types these words."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return Request(compose("config", overrides=list(words)), words)


@pytest.mark.parametrize("experiment", KEYWORD_EXPERIMENTS)
def test_every_stage_of_every_experiment_builds(experiment, quick_words, teacher_run, tmp_path):
    small = ("corpus.words=null", "corpus.unknown=false", "corpus.silence=false")  # the corpus has four words
    words = [word for word in quick_words if ".network." not in word]  # not every network has a width
    request = composed(*words, *small, f"experiment={experiment}", f"paths.runs={tmp_path}")
    for stage, config in stage_configs(request).items():
        for role in ("teacher", "student"):
            if config[role] is not None and config[role]["run"] is not None:  # nothing is trained here
                config[role]["run"] = str(teacher_run) if role == "teacher" else None
        built = build_experiment(config, tmp_path / stage)
        assert (built.distiller.teacher is None) == (stage in ("teacher", "baseline", "finetune"))
        assert built.datamodule.classes == ["no", "stop", "tree", "yes"]


@pytest.mark.parametrize(("group", "name"), [(group, name) for group in GROUPS for name in names(group)])
def test_every_choice_composes(group, name):
    # Voices are cut by the hops of their mel.
    voice = ["frontend=mel_16k"] if name in ("libritts_spoken", "libritts_segments") else []
    configs = stage_configs(composed(f"{group}={name}", *voice))
    assert {"baseline", "distill", "finetune"} <= set(configs)
    assert all(config["stage"] == stage for stage, config in configs.items())


@pytest.mark.parametrize("shown", [True, False])
def test_the_progress_bar_may_be_left_out(shown, quick_words, tmp_path):
    words = [word for word in quick_words if "callbacks" not in word and "progress" not in word]
    request = composed(*words, f"trainer.enable_progress_bar={shown}")
    trainer = build_experiment(stage_config(request, "baseline"), tmp_path).trainer
    assert any(isinstance(callback, ProgressBar) for callback in trainer.callbacks) == shown


@pytest.mark.parametrize("transfer", KEYWORD_RECIPES)
def test_every_recipe_builds(transfer, config_of, teacher_run, tmp_path):
    words = [f"teacher.run={teacher_run}", f"transfer={transfer}"]
    # The small teacher is no deeper than its student: its layers go by the same names.
    terms = composed(*words).config.transfer.terms
    hinted = [f"transfer.terms.{key}" for key, term in terms.items() if "teacher" in term]
    words += [f"{term}.teacher=${{{term}.student}}" for term in hinted]
    distiller = build_experiment(config_of("distill", *words), tmp_path).distiller
    assert "labels" in distiller.terms
    assert (distiller.teacher is None) == (transfer == "none")


@pytest.mark.parametrize("student", KEYWORD_STUDENTS)
@pytest.mark.parametrize(
    "frontend",
    [name for name in names("frontend") if not name.startswith(("waveform", "mel_"))],  # of other tasks
)
def test_every_student_builds_on_every_frontend(student, frontend, request_of, quick_words, tmp_path):
    words = [word for word in quick_words if "student.network" not in word]  # not every network has a width
    request = composed(*words, f"student={student}", f"frontend={frontend}")
    built = build_experiment(stage_config(request, "baseline"), tmp_path)
    batch = next(iter(built.datamodule.val_dataloader()))
    assert built.distiller(batch.waveform).shape == (len(batch.ids), 4)
