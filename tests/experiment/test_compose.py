"""The config of a stage is what Hydra composed, with that stage's part over it."""

import re
from pathlib import Path

import pytest
from omegaconf.errors import OmegaConfBaseException
from quick import QUICK

from kd_lightning.experiment.compose import (
    conf_folder,
    difference,
    forbid_shadowed_words,
    forbid_sweep_of_ranks,
    stage_config,
    warn_of_ignored_words,
    with_keys,
)


@pytest.fixture(scope="session")
def quick_words():
    """Composing a config opens no corpus."""
    return [*QUICK, "corpus.root=/nowhere"]


def test_the_baseline_takes_as_many_epochs_as_distill_and_finetune_together(config_of):
    words = ("stages.distill.trainer.max_epochs=7", "stages.finetune.trainer.max_epochs=4")
    assert config_of("baseline", *words)["trainer"]["max_epochs"] == 11


def test_the_teachers_stage_trains_the_teachers_network_on_all_labels(config_of):
    config = config_of("teacher")
    assert config["student"]["network"] == config_of("distill")["teacher"]["network"]
    assert config["teacher"] is None
    assert config["transfer"] is None
    assert config["corpus"]["labelled_fraction"] == 1.0


def test_the_assistants_stage_trains_the_assistants_network_on_what_the_teacher_says(config_of):
    config = config_of("assistant", "assistant=tc_resnet8", "teacher.run=runs/a/teacher")
    student = config_of("baseline", "student=tc_resnet8")["student"]["network"] | {"width": 1.0}
    assert config["student"]["network"] == student
    assert config["student"]["run"] is None
    assert config["teacher"]["run"].endswith("runs/a/teacher")
    assert config["transfer"]["terms"]
    assert config["trainer"] == config_of("distill")["trainer"]


def test_a_stage_without_a_network_says_which_choice_has_one(request_of, config_of):
    with pytest.raises(
        ValueError, match=r"stage=assistant has no network to train: choose assistant=<network>"
    ):
        config_of("assistant")
    request = request_of()
    request.config.teacher = {"run": None, "checkpoint": None, "stored": False, "average": {"momentum": 0.9}}
    with pytest.raises(ValueError, match=r"stage=teacher has no network to train: choose teacher=<network>"):
        stage_config(request, "teacher")


def test_the_choice_of_an_assistant_changes_no_other_stage(config_of):
    for stage in ("teacher", "baseline", "distill", "finetune"):
        assert difference(config_of(stage), config_of(stage, "assistant=tc_resnet8")) == []


def test_the_paths_of_all_members_of_an_ensemble_are_absolute(config_of):
    runs = config_of("distill", "teacher.run=[runs/a/teacher,/b/teacher]")["teacher"]["run"]
    assert runs == [str(Path("runs/a/teacher").absolute()), "/b/teacher"]


def test_a_stage_without_a_teacher_does_not_depend_on_the_recipe(config_of):
    plain, other = config_of("baseline"), config_of("baseline", "transfer=hints")
    assert difference(plain, other) == []
    assert difference(config_of("distill"), config_of("distill", "transfer=hints"))


def test_paths_and_workers_may_change_between_two_starts(config_of):
    assert difference(config_of("baseline"), config_of("baseline", "corpus.workers=3", "name=other")) == []


def test_a_difference_names_the_key_and_both_values(config_of):
    lines = difference(config_of("baseline"), config_of("baseline", "optimizer.lr=0.5"))
    assert lines == ["optimizer.lr: 0.016 -> 0.5"]


def test_seed_zero_is_a_seed(config_of):
    assert config_of("distill", "seed=0")["seed"] == 0
    assert config_of("distill", "seed=0")["corpus"]["seed"] == 0


def test_an_unknown_stage_is_named(request_of):
    with pytest.raises(
        ValueError, match=r"stage=tune: there are teacher, assistant, baseline, distill, finetune"
    ):
        stage_config(request_of(), "tune")


def test_an_unknown_key_under_a_stage_is_an_error(request_of):
    with pytest.raises(OmegaConfBaseException, match="colour"):
        stage_config(request_of("+stages.distill.trainer.colour=red"), "distill")


def test_a_word_that_the_stage_would_override_is_refused_with_the_word_that_works(request_of):
    request = request_of("trainer.max_epochs=3")
    with pytest.raises(ValueError, match=r"stages\.distill\.trainer\.max_epochs=3"):
        forbid_shadowed_words(request, ("distill",))


def test_a_choice_from_a_group_is_no_word_that_a_stage_shadows(request_of):
    forbid_shadowed_words(request_of("optimizer=sgd"), ("teacher",))


def test_a_word_that_reaches_one_of_the_stages_is_fine(request_of):
    forbid_shadowed_words(request_of("corpus.labelled_fraction=0.3"), ("teacher", "baseline"))


@pytest.mark.parametrize(
    ("word", "stage", "part"),
    [
        ("student=bc_resnet1", "teacher", "student"),
        ("student.frontend.bins=32", "teacher", "student"),
        ("transfer=hints", "teacher", "transfer"),
        ("transfer=hints", "baseline", "transfer"),
        ("transfer.weights.labels=1.0", "finetune", "transfer"),
        ("teacher.run=somewhere", "baseline", "teacher"),
        ("teacher.run=somewhere", "teacher", r"teacher\.run"),
        ("student=bc_resnet1", "assistant", "student"),
        ("assistant=tc_resnet8", "distill", "assistant"),
        ("copy=same_names", "baseline", "copy"),
    ],
)
def test_a_word_that_the_stage_does_not_look_at_is_named(word, stage, part, request_of, caplog):
    overrides = (word, "seed=1")
    warn_of_ignored_words(request_of()._replace(overrides=overrides), (stage,))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    message = rf"{re.escape(word)} has no effect: stage={stage} does not look at {part}"
    assert re.fullmatch(message, record.getMessage())


@pytest.mark.parametrize(
    ("words", "stages"),
    [
        (["transfer=hints", "student=bc_resnet1"], ("distill",)),
        (["teacher=bc_resnet8", "teacher.network.tau=8"], ("teacher",)),
        (["transfer=none"], ("baseline",)),
        (["student.run=somewhere"], ("finetune",)),
        (["transfer=hints", "student=bc_resnet1", "teacher=bc_resnet8"], ("teacher", "baseline", "distill")),
        (["assistant=tc_resnet8"], ("teacher", "assistant", "baseline", "distill", "finetune")),
    ],
)
def test_a_word_that_some_stage_looks_at_is_no_matter(words, stages, request_of, caplog):
    warn_of_ignored_words(request_of()._replace(overrides=tuple(words)), stages)
    assert not caplog.records


@pytest.mark.parametrize(
    ("words", "launcher", "refused"),
    [
        (["trainer.devices=2"], "BasicLauncher", True),
        (["stages.distill.trainer.devices=2"], "JoblibLauncher", True),
        (["trainer.num_nodes=2"], "BasicLauncher", True),
        (["trainer.devices=2"], "submitit", False),
        (["trainer.devices=1"], "BasicLauncher", False),
    ],
)
def test_a_multirun_that_starts_ranks_is_refused_with_the_way_out(request_of, words, launcher, refused):
    words = [f"++{word}" for word in words]
    request = request_of("trainer=ddp", "trainer.devices=1", *words)._replace(
        job_folder="x", launcher=launcher
    )
    config = stage_config(request, "distill")
    if refused:
        with pytest.raises(ValueError, match="hydra/launcher=slurm"):
            forbid_sweep_of_ranks(request, config)
    else:
        forbid_sweep_of_ranks(request, config)


def test_real_corpora_show_all_labels_and_the_embedded_one_a_tenth(request_of):
    from hydra import compose, initialize_config_dir

    from kd_lightning.experiment.compose import Request

    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        shares = [
            stage_config(Request(compose("config", overrides=words)), "baseline")["corpus"][
                "labelled_fraction"
            ]
            for words in ([], ["corpus.root=/somewhere"], ["corpus.download=true"])
        ]
    assert shares == [0.1, 1.0, 1.0]


def test_a_finished_config_takes_known_keys_only(config_of):
    config = config_of("baseline")
    assert with_keys(config, {"corpus": {"root": "/other"}})["corpus"]["root"] == "/other"
    with pytest.raises(OmegaConfBaseException, match="roof"):
        with_keys(config, {"corpus": {"roof": "/other"}})
