"""A small corpus of real speech, and configs of stages over it."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from quick import QUICK

from kd_lightning.corpora.synthetic import SyntheticSpeechCommands
from kd_lightning.corpora.synthetic_sentences import SyntheticCommonVoice, SyntheticLibriTTS
from kd_lightning.corpora.synthetic_voice import SyntheticVoice
from kd_lightning.experiment.compose import Request, conf_folder, stage_config

torch.set_num_threads(1)

WORDS = ("yes", "no", "stop", "tree")


@pytest.fixture(autouse=True)
def _heard_log() -> None:
    """A test hears the log whatever was quietened by a command that its process ran before."""
    logging.getLogger("kd_lightning").setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def corpus_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Speech Commands in its published layout: four words, eight voices, spoken by espeak-ng."""
    settings = SyntheticSpeechCommands(words=WORDS, clips=(96, 32, 40), voices=(4, 2, 2))
    return settings.write(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def quick_words(corpus_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Quick words over the small corpus."""
    return [*QUICK, f"corpus.root={corpus_root}", f"paths.data={tmp_path_factory.mktemp('data')}"]


@pytest.fixture
def request_of(quick_words: list[str], tmp_path: Path) -> Callable[..., Request]:
    """Composes ``conf`` with the quick words and further ones."""

    def make(*words: str) -> Request:
        every = [*quick_words, f"paths.runs={tmp_path / 'runs'}", "name=quick", *words]
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return Request(compose("config", overrides=every), tuple(words))

    return make


@pytest.fixture
def config_of(request_of: Callable[..., Request]) -> Callable[..., dict[str, Any]]:
    """The resolved config of a stage."""

    def make(stage: str, *words: str) -> dict[str, Any]:
        return stage_config(request_of(*words), stage)

    return make


@pytest.fixture(scope="session")
def teacher_run(quick_words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished teacher on the small corpus."""
    from kd_lightning.stages import run_stage

    words = [*quick_words, f"paths.runs={tmp_path_factory.mktemp('teacher')}"]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = stage_config(Request(compose("config", overrides=words)), "teacher")
    run_stage(config)
    return Path(config["folder"])


SENTENCES = {"clips": (24, 8, 8), "voices": (4, 2, 2)}


@pytest.fixture(scope="session")
def common_voice_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Common Voice in its published layout: a few sentences of eight voices, spoken by espeak-ng."""
    return SyntheticCommonVoice(**SENTENCES).write(tmp_path_factory.mktemp("common_voice"))


@pytest.fixture(scope="session")
def libritts_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LibriTTS in its published layout, as small."""
    return SyntheticLibriTTS(**SENTENCES).write(tmp_path_factory.mktemp("libritts"))


@pytest.fixture(scope="session")
def sentence_words(common_voice_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Quick words over the few sentences of Common Voice."""
    return [
        *("logger=csv", "callbacks=none", "trainer.enable_progress_bar=false"),
        *("stages.teacher.trainer.max_epochs=1", "stages.distill.trainer.max_epochs=1"),
        *("stages.finetune.trainer.max_epochs=1", "corpus.batch_seconds=16", "corpus.labelled_fraction=0.5"),
        *(
            "name=quick",
            f"corpus.root={common_voice_root}",
            f"paths.data={tmp_path_factory.mktemp('sentences')}",
        ),
    ]


@pytest.fixture(scope="session")
def voice_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LibriTTS in its published layout: a few sentences of one voice, with the times of its phones."""
    settings = SyntheticVoice(clips=(24, 3, 3), seed=1)  # all phones of the other splits are in train
    return settings.write(tmp_path_factory.mktemp("voice"))


@pytest.fixture(scope="session")
def voice_words(voice_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Quick words over the few sentences of that voice."""
    return [
        *("logger=csv", "callbacks=none", "trainer.enable_progress_bar=false", "save_every_steps=2"),
        *("stages.teacher.trainer.max_epochs=1", "stages.distill.trainer.max_epochs=1"),
        *("stages.finetune.trainer.max_epochs=1", "distiller.log_every=1"),
        *("corpus.parts.validation=[dev-clean]", "corpus.parts.test=[test-clean]"),
        *("corpus.labelled_fraction=0.5", "~callbacks.speech", "teacher.stored=false"),
        *(
            "name=quick",
            f"corpus.root={voice_root}",
            f"paths.data={tmp_path_factory.mktemp('voices')}",
        ),
    ]
