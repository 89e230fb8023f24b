"""The students of ``conf/student``: composed into an experiment one by one, and built without being trained."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, get_type_hints

import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from kd_lightning.distillers.distiller import Distiller
from kd_lightning.experiment.build import build_student
from kd_lightning.experiment.compose import Request, conf_folder, with_keys
from kd_lightning.experiment.targets import build, resolve
from kd_lightning.frontend.mel import SILENCE
from kd_lightning.models.acoustic_model import AcousticModel
from kd_lightning.models.acoustic_output import AcousticOutput, Recorded
from kd_lightning.models.recognition_output import RecognitionOutput
from kd_lightning.models.waveform_model import WaveformModel


class Untrained(NamedTuple):
    """A student with the weights that it would start from.

    Attributes:
        model: the student.
        example: its arguments for what its costs are measured on.
        seconds: of audio that the example stands for.
    """

    model: WaveformModel
    example: tuple[Any, ...]
    seconds: float


def search_settings(task: str, words: dict[str, Any]) -> dict[str, Any]:
    """``conf/search/<task>.yaml`` with the command's own words merged over it.

    Raises:
        ValueError: there is no such file, or sizes are of no student.
        OmegaConfBaseException: a word that the search does not have.
    """
    path = conf_folder() / "search" / f"{task}.yaml"
    if not path.is_file():
        raise ValueError(
            f"{path} is not there: it says which sizes of which students are tried for task={task}"
        )
    settings = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(settings, dict)
    # Sizes of any student may be added.
    ladders = settings["ladders"] | (words.get("ladders") or {})
    if unknown := sorted(ladders.keys() - set(student_names())):
        raise ValueError(f"ladders: conf/student has no {', '.join(unknown)}")
    merged = with_keys({str(key): value for key, value in settings.items()}, words | {"ladders": {}})
    return merged | {"ladders": ladders}


def student_names() -> list[str]:
    """What ``student=`` may be."""
    with _hydra() as hydra:
        return sorted(hydra.config_loader().get_group_options("student"))


def typed_student(request: Request) -> str | None:
    """What ``student=`` is on the command line; ``None`` where it is not there."""
    typed = [word.partition("=")[2] for word in request.overrides if word.startswith("student=")]
    return typed[-1] if typed else None


def recomposed(request: Request, student: str, words: tuple[str, ...] = ()) -> Request:
    """The same request for another student.

    Args:
        request: what the command line asked for.
        student: one of :func:`student_names`.
        words: further ones.

    Raises:
        HydraException: a word that this student does not know.
    """
    others = [word for word in request.overrides if not word.startswith("student=")]
    overrides = (*others, f"student={student}", *words)
    with _hydra():
        return request._replace(config=compose("config", overrides=list(overrides)), overrides=overrides)


@contextmanager
def _hydra() -> Iterator[GlobalHydra]:
    """Hydra as the command line set it up, with its further folders of configs; else over ``conf``."""
    if GlobalHydra.instance().is_initialized():
        yield GlobalHydra.instance()
        return
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        yield GlobalHydra.instance()


def task_of_network(target: str) -> str:
    """What a network is for, by what it takes and what it gives.

    Args:
        target: its ``_target_``.

    Raises:
        ValueError: there is no such network.
    """
    network: Any = resolve(target)
    if "hop_length" in inspect.signature(network).parameters:
        return "vocoding"
    gives: Any = get_type_hints(network.forward).get("return")
    return {RecognitionOutput: "recognition", AcousticOutput: "synthesis"}.get(gives, "keyword")


def untrained(config: dict[str, Any], datamodule: Any) -> Untrained:
    """The student of a stage, and what its costs are measured on.

    Args:
        config: of a stage without a teacher.
        datamodule: prepared and set up.

    Raises:
        ValueError: the student does not fit the corpus or the distiller.
    """
    student = build_student(config, datamodule)
    distiller: Distiller = build(
        config["distiller"],
        Distiller,
        classes=datamodule.classes,
        student=student,
        teacher=None,
        optimizer=build(config["optimizer"]),
    )
    if isinstance(student, AcousticModel):
        return Untrained(student, *_said_in_its_time(student, datamodule))
    return Untrained(student, *distiller.measured(datamodule))


def _said_in_its_time(student: AcousticModel, datamodule: Any) -> tuple[tuple[Any, ...], float]:
    """A test sentence of the usual length, said for as long as its recording: an untrained student knows no length."""
    batch = next(iter(datamodule.test_dataloader()))
    middle = batch.samples.argsort()[len(batch.samples) // 2][None]
    sentence = batch.sentences.rows(middle)
    length = int(sentence.lengths)
    sentence = sentence._replace(tokens=sentence.tokens[:, :length])
    frames = student.frontend.frames(batch.samples[middle])
    # How long each token takes does not change what they cost together.
    durations = (torch.arange(length) < frames % length)[None] + frames // length
    mel = torch.full((1, student.frontend.bins, int(frames)), SILENCE)
    return (sentence, Recorded(mel, frames, durations)), int(frames) * student.frontend.hop_seconds
