"""torchaudio's Tacotron 2 teaches as it is: its letters, live and stored, and it reads aloud."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torchaudio
from hydra import compose, initialize_config_dir
from spoken_runs import write_voice
from tiny_tacotron import tiny_bundle

from kd_lightning.experiment.build import build_experiment
from kd_lightning.experiment.compose import Request, conf_folder, stage_config
from kd_lightning.experiment.finished import finished_config, spoken_tokens
from kd_lightning.frontend.published_letters import PublishedLetters
from kd_lightning.labelling import run_label
from kd_lightning.reading import Reader
from kd_lightning.stages import run_stage

STUDENT = (
    *("student=tacotron2_small", "distiller=synthesis_decoder", "transfer=taught_mels"),
    *(f"student.network.{size}=8" for size in ("encoder_width", "attention_width", "decoder_width")),
    *(f"student.network.{size}=8" for size in ("prenet_width", "postnet_width")),
    *("student.network.max_frames_per_token=2", "distiller.min_focus=0"),
)


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_voice(tmp_path_factory.mktemp("voice"))


@pytest.fixture(scope="module")
def config_of(voice: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    folder = tmp_path_factory.mktemp("runs")

    def make(stage: str, *words: str) -> dict[str, Any]:
        every = [
            *("experiment=libritts_tts", "frontend=mel_22k", "corpus.pitch=false", "teacher.stored=false"),
            *("logger=csv", "callbacks=none", "~callbacks.speech", "trainer.enable_progress_bar=false"),
            *("corpus.parts.validation=[dev-clean]", "corpus.parts.test=[test-clean]", "name=quick"),
            *(
                "stages.teacher.trainer.max_epochs=0",
                "corpus.labelled_fraction=1.0",
                "corpus.batch_seconds=200",
            ),
            *(f"corpus.root={voice}", f"paths.data={folder / 'data'}", f"paths.runs={folder}", *words),
        ]
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return stage_config(Request(compose("config", overrides=every), words), stage)

    return make


@pytest.fixture(scope="module")
def teacher(config_of: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run of a bundle that was not trained any further; its file is gone."""
    bundle, _, path = tiny_bundle(tmp_path_factory.mktemp("bundle"), stop=9.0)
    torchaudio.pipelines.TINY = bundle
    words = ("bundle=TINY", f"weights={path}", "max_frames_per_token=1")
    config = config_of("teacher", "teacher=tacotron2_bundle", *(f"teacher.network.{word}" for word in words))
    assert run_stage(config)["steps"] == 0
    path.unlink()
    return Path(config["folder"])


def test_it_leaves_a_finished_run_that_spells_with_its_letters(teacher: Path) -> None:
    config = finished_config(teacher)
    assert config["classes"] == PublishedLetters().pieces
    assert isinstance(spoken_tokens(config), PublishedLetters)
    metrics = json.loads((teacher / "metrics.json").read_text())
    assert metrics["metrics"]["ended"] == 1
    assert metrics["network"] == "PretrainedTacotron2"


def test_it_reads_aloud(teacher: Path) -> None:
    reader = Reader(teacher)
    first, second = reader.read("Any text, whoever wrote it. Too?")
    assert (first.text, second.text) == ("Any text, whoever wrote it.", "Too?")
    assert first.ended
    assert len(first.waveform) == len(second.waveform) == 256
    with pytest.raises(ValueError, match=r"cannot say '1', '2' in 'Room 12\.': write it in words"):
        reader.read("Room 12.")


def test_it_teaches_a_student_that_takes_its_letters(
    teacher: Path, config_of: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    words = (*STUDENT, f"teacher.run={teacher}")
    with pytest.raises(
        ValueError, match=rf"{teacher} knows other classes .* for tokens corpus\.spelling={teacher}"
    ):
        build_experiment(config_of("distill", *words), tmp_path / "others")
    built = build_experiment(config_of("distill", *words, "corpus.spelling=teacher"), tmp_path / "shared")
    assert built.datamodule.classes == PublishedLetters().pieces
    step = built.distiller.run_networks(next(iter(built.datamodule.train_dataloader())))
    assert bool(step.taught.any())
    _, means = built.distiller.weigh({key: term(step) for key, term in built.distiller.terms.items()})
    assert all(float(mean) >= 0 for mean in means.values())


def test_what_it_says_is_stored(teacher: Path, config_of: Callable[..., dict[str, Any]]) -> None:
    """The noise of its prenet is the same alone and beside others; else it would be refused."""
    words = (*STUDENT, f"teacher.run={teacher}", "teacher.stored=true", "corpus.spelling=teacher")
    config = config_of("distill", *words)
    store = Path(config["folder"]).parent / "label"
    run_label(config, store)
    assert list(store.rglob("*.safetensors"))


def test_other_mels_are_refused(config_of: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"speaks mels of its own \(sample_rate: 22050, here 16000"):
        build_experiment(config_of("teacher", "teacher=tacotron2_bundle", "frontend=mel_16k"), tmp_path)
