"""Whose numbers speakers have: those of the runs that a stage builds on, in every stage of a pipeline."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from speakers import FEED_FORWARD, TACOTRON_STUDENT
from untrained import untrained_run

from kd_lightning.corpora.synthetic_voice import SyntheticVoice
from kd_lightning.experiment.build import build_corpus, build_experiment, build_student, build_teacher
from kd_lightning.experiment.compose import Request, conf_folder, stage_config
from kd_lightning.experiment.finished import finished_config
from kd_lightning.pipeline import stage_configs

SPEAKERS = ["100", "101"]
# Sentences of one of them.
SOME = ("corpus.speakers=[101]", "transfer=taught_mels", "distiller.min_focus=0", *FEED_FORWARD)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two speakers in all splits, with the times of their phones."""
    folder = tmp_path_factory.mktemp("two")
    root = SyntheticVoice(clips=(12, 4, 4), voices=(2, 2, 2), seed=1).write(folder)
    return [
        *("experiment=libritts_tts", "logger=csv", "callbacks=none", "~callbacks.speech", "name=quick"),
        *("trainer.enable_progress_bar=false", "teacher.stored=false", "corpus.labelled_fraction=1.0"),
        *("corpus.parts.validation=[dev-clean]", "corpus.parts.test=[test-clean]"),
        *(f"corpus.root={root}", f"paths.data={folder / 'data'}"),
    ]


@pytest.fixture(scope="module")
def teachers(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of both speakers by the spelling of its tokens; "turned" numbers them the other way round."""
    folder = tmp_path_factory.mktemp("teachers")
    runs = {
        kind: untrained_run(folder / kind, *words, *TACOTRON_STUDENT, f"corpus.spelling={kind}")
        for kind in ("phonemes", "characters")
    }
    runs["turned"] = Path(shutil.copytree(runs["phonemes"], folder / "turned"))
    config = finished_config(runs["turned"])
    assert config["speakers"] == SPEAKERS
    (runs["turned"] / "config.json").write_text(json.dumps(config | {"speakers": SPEAKERS[::-1]}))
    checkpoint = runs["turned"] / "checkpoints" / "network.safetensors"
    checkpoint.parent.mkdir()
    shutil.copy(runs["turned"] / "network.safetensors", checkpoint)
    return runs


@pytest.fixture
def request_for(words: list[str], tmp_path: Path) -> Callable[..., Request]:
    def make(*more: str) -> Request:
        every = [*words, f"paths.runs={tmp_path / 'runs'}", *more]
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return Request(compose("config", overrides=every), tuple(more))

    return make


@pytest.mark.parametrize("spelling", ["phonemes", "characters"])
@pytest.mark.parametrize("written", ["{}", "[{}]"])
def test_students_of_some_speakers_begin_alike_with_a_teacher_of_all(
    spelling, written, teachers, request_for, tmp_path
):
    """Characters have no times, so that the teacher is asked for them in the baseline; phonemes have."""
    run = teachers[spelling]
    request = request_for(*SOME, f"teacher.run={written.format(run)}", f"corpus.spelling={run}")
    configs = stage_configs(request)
    built = {stage: build_experiment(configs[stage], tmp_path / stage) for stage in ("baseline", "distill")}
    first = {stage: each.distiller.student.state_dict() for stage, each in built.items()}
    for stage, each in built.items():
        assert each.datamodule.speakers == SPEAKERS
        assert each.datamodule.has_durations == (spelling == "phonemes")
        assert (each.distiller.aligner is None) == (spelling == "phonemes")
        batch = next(iter(each.datamodule.train_dataloader()))
        assert set(batch.sentences.speakers.tolist()) == {1}, stage
    assert all(torch.equal(tensor, first["distill"][name]) for name, tensor in first["baseline"].items())


def test_all_stages_number_speakers_as_the_teacher_does(teachers, request_for):
    """A teacher's order is its own: it may have been made by another corpus."""
    configs = stage_configs(request_for(*FEED_FORWARD, f"teacher.run={teachers['turned']}"))
    configs["finetune"]["student"]["run"] = None  # nobody has trained it
    assert {stage: build_corpus(config).speakers for stage, config in configs.items()} == dict.fromkeys(
        ("baseline", "distill", "finetune"), SPEAKERS[::-1]
    )


def test_an_aligner_that_is_not_trained_yet_numbers_nobody(teachers, request_for, tmp_path):
    """As where a pipeline is composed before its teacher is there, and a corpus tells how long phones last."""
    config = stage_configs(request_for(*FEED_FORWARD, f"teacher.run={tmp_path / 'later'}"))["baseline"]
    assert config["aligner"] == str(tmp_path / "later")
    assert build_corpus(config).speakers == SPEAKERS


ORDER = r"the same in another order, number 0 is '{}' there and '{}' here"


def test_weights_of_a_run_that_numbers_speakers_otherwise_are_refused(teachers, request_for):
    turned, straight = teachers["turned"], teachers["phonemes"]
    there, here = ORDER.format("101", "100"), ORDER.format("100", "101")
    words = (*TACOTRON_STUDENT, "transfer=taught_mels_alignment", "distiller.min_focus=0")

    def build(role, *more):
        config = stage_config(request_for(*words, *more), "distill")
        datamodule = build_corpus(config)
        return (
            build_student(config, datamodule) if role == "student" else build_teacher(config, datamodule)
        ), datamodule

    node = (  # whose network that of the checkpoint is
        f"teacher.checkpoint={turned / 'checkpoints' / 'network.safetensors'}",
        "teacher=tacotron2_embedded",
        *(
            f"teacher.network.{word.removeprefix('student.network.')}"
            for word in TACOTRON_STUDENT
            if word.startswith("student.network.")
        ),
    )
    with pytest.raises(
        ValueError, match=rf"{turned} has learnt other speakers .*: {there}; .*aligner={turned}"
    ):
        build("teacher", *node)
    _, datamodule = build("teacher", *node, f"aligner={turned}")
    assert datamodule.speakers == SPEAKERS[::-1]
    with pytest.raises(ValueError, match=rf"{straight} has learnt other speakers .*: {here}"):
        build("student", f"teacher.run={turned}", f"student.run={straight}")
    with pytest.raises(ValueError, match=rf"{straight} has learnt other speakers .*: {here}"):
        build("teacher", f"teacher.run={straight}", f"aligner={turned}")


def test_a_teacher_of_other_people_is_refused_by_their_names(teachers, request_for, tmp_path):
    other = Path(shutil.copytree(teachers["turned"], tmp_path / "other"))
    config = finished_config(other)
    (other / "config.json").write_text(json.dumps(config | {"speakers": ["100", "84"]}))
    words = (*TACOTRON_STUDENT, "distiller.min_focus=0", "transfer=taught_mels_alignment")
    request = request_for(*words, f"teacher.run={other}", f"aligner={teachers['phonemes']}")
    config = stage_config(request, "distill")
    with pytest.raises(ValueError, match=r"it lacks \['101'\] and has \['84'\] besides"):
        build_teacher(config, build_corpus(config))
