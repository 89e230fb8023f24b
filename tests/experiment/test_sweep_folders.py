"""The folders of a sweep's jobs: the same words, the same folder."""

from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from kd_lightning.experiment.compose import Request, conf_folder, difference, stage_config, telling
from kd_lightning.experiment.job_folder import job_folder


def test_words_that_a_file_may_be_called_are_the_name_in_any_order():
    assert (
        job_folder(["transfer=none", "seed=0"])
        == job_folder(["seed=0", "transfer=none"])
        == "seed=0,transfer=none"
    )
    assert job_folder(["optimizer.lr=0.01", "seed=0"]) == "seed=0,optimizer.lr=0.01"
    assert job_folder([]) == "defaults"


@pytest.mark.parametrize(
    "word",
    [
        "teacher.run=/runs/a/teacher",
        "teacher.run=[runs/a,runs/b]",
        "corpus.words=[yes,no]",
        "name=ü ö",
        "a=" + 300 * "x",
    ],
)
def test_any_other_word_makes_a_name_of_its_own_that_every_file_system_takes(word):
    name = job_folder([word, "seed=0"])
    assert name != job_folder([word, "seed=1"])
    assert name != job_folder([f"{word}/", "seed=0"])
    assert len(name.encode()) <= 255
    assert not set(name) & set('/\\:*?"<>|[]{} ')
    assert "seed=0" in name


def test_paths_are_shown_by_their_end():
    name = job_folder(["teacher.run=/very/long/way/to/the/place/of/runs/my_run/teacher"])
    assert name.startswith("teacher.run=place-of-runs-my_run-teacher,")


def test_long_names_differ_where_only_what_is_cut_differs():
    many = [f"corpus.augment.key{number}=value" for number in range(20)]
    names = {job_folder([*many, f"zzz.last={value}"]) for value in "ab"}
    assert len(names) == 2


def test_words_that_may_change_between_two_starts_do_not_tell_jobs_apart():
    words = [
        "transfer=none",
        "logger=csv",
        "name=a",
        "paths.runs=/runs",
        "+save_every_steps=3",
        "corpus.workers=4",
    ]
    assert telling(words) == ["transfer=none"]
    assert telling(["teacher.run=runs/a", "student.run=runs/b"]) == [
        "teacher.run=runs/a",
        "student.run=runs/b",
    ]


def test_the_sweeps_folder_is_its_name_and_the_jobs_are_their_words():
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        words = ["name=mine", "transfer=none", "seed=3"]
        config = compose("config", overrides=words, return_hydra_config=True)
    assert config.hydra.sweep.dir == "multirun/mine"
    assert config.hydra.sweep.subdir == "seed=3,transfer=none"


@pytest.mark.parametrize(
    ("taught_by", "runs"),
    [
        ("small", "runs/teachers/tc_resnet8/teacher"),
        ("assistant", "runs/teachers/through_assistant/assistant"),
        ("ensemble", ["runs/teachers/tc_resnet8/teacher", "runs/teachers/tc_resnet14/teacher"]),
    ],
)
def test_the_recipe_of_teachers_names_their_runs(taught_by, runs):
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose(
            "config", overrides=["experiment=speech_commands_teachers", f"taught_by={taught_by}"]
        )
    found = config.teacher.run
    assert (OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found) == runs


def composed(*words: str, job_folder: str | None = None) -> dict[str, Any]:
    """The config of a stage of these words."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("config", overrides=list(words))
    return stage_config(Request(config, words, job_folder), config.stage)


WORDS = (
    "stage=distill",
    "teacher.run=/runs/a/teacher",
    "+trainer.max_time=00:01:00",
    "name=b",
    "paths.data=/d",
)


def test_the_words_of_a_job_train_it_again_in_its_folder():
    folder = 'multirun/b "x"/seed=3,transfer=hints'
    job = composed(*WORDS, "transfer=hints", "seed=3", job_folder=folder)
    again = composed(*job["typed"])
    assert again["folder"] == job["folder"] == folder
    assert difference(job, again) == difference(again, job) == []
    assert again["paths"]["data"] == "/d"
    assert again["trainer"]["max_time"] == "00:01:00"


def test_the_words_of_a_trial_of_wandb_train_it_again_without_its_agent(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_SWEEP_ID", "swept")
    monkeypatch.setenv("WANDB_RUN_ID", "trial1")
    folder = "folder=${paths.runs}/sweep-${oc.env:WANDB_SWEEP_ID}/${oc.env:WANDB_RUN_ID}"
    trial = composed(*WORDS, folder, "optimizer.lr=0.01")
    monkeypatch.delenv("WANDB_SWEEP_ID")
    monkeypatch.delenv("WANDB_RUN_ID")
    again = composed(*trial["typed"])
    assert again["folder"] == trial["folder"] == "runs/sweep-swept/trial1"
    assert difference(trial, again) == []


def test_the_words_of_a_stage_are_those_that_were_typed():
    assert composed(*WORDS)["typed"] == list(WORDS)
