"""Whose tokens a corpus is spelt with, and in whose a teacher writes."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from kd_lightning.corpora.spelling import LEARNT, Spelling
from kd_lightning.experiment.finished import finished_config, spoken_tokens, without_weights
from kd_lightning.experiment.targets import build, resolve
from kd_lightning.files import write
from kd_lightning.frontend.alphabet import Alphabet
from kd_lightning.frontend.tokens import Pieces, Tokens
from kd_lightning.models.recogniser import Recogniser

# In the folder of a run that spells with pieces of words.
MODEL = "tokens.model"


def spelling_of_stage(config: dict[str, Any]) -> Spelling | None:
    """What the corpus of a stage has to be spelt with; ``None`` for tokens of its own.

    A network that brings its tokens is followed in any case. ``corpus.spelling=teacher`` takes those of the teacher; in
    a stage without one those of ``student.run``, or of the pipeline's teacher. A finished run may also be named by its
    folder.

    Args:
        config: of the stage.

    Raises:
        FileNotFoundError, ValueError: there is no such run, or nothing is left to spell with; what to do.
    """
    if config.get("task") == "synthesis":
        spoken = Path(config["corpus"]["spelling"])
        return Spelling(spoken_tokens(finished_config(spoken))) if spoken.is_dir() else None
    if config.get("task") != "recognition":
        return None
    if tokens := brought_tokens(config["student"]["network"]):
        return Spelling(tokens)
    kind = config["corpus"]["spelling"]
    if kind in LEARNT:
        return None
    if kind != "teacher":
        return spelling_of_run(Path(kind)) if Path(kind).is_dir() else None  # the corpus says which there are
    node = config["teacher"] or {}
    if node.get("checkpoint") and (tokens := brought_tokens(node["network"])):
        return Spelling(tokens)
    run = node.get("run") or config["student"]["run"] or Path(config["folder"]).parent / "teacher"
    run = Path(run[0] if isinstance(run, list) else run)
    if config["stage"] == "teacher" or not (run / "config.json").is_file():
        raise ValueError(
            f"corpus.spelling=teacher: stage={config['stage']} finds no finished teacher to spell with; name its run, "
            "corpus.spelling=runs/<name>/teacher, and for a teacher that is trained first set "
            "stages.teacher.corpus.spelling=characters"
        )
    return spelling_of_run(run)


def speakers_of_stage(config: dict[str, Any]) -> list[str] | None:
    """The speakers of the network that a stage learns or starts from, in its order; ``None`` where there is none.

    Args:
        config: of the stage.
    """
    if config.get("task") != "synthesis":
        return None
    run = (config["teacher"] or {}).get("run") or config["student"]["run"]
    if not isinstance(run, str):
        return None
    speakers: list[str] = finished_config(Path(run))["speakers"]
    return speakers


def brought_tokens(node: dict[str, Any]) -> Tokens | None:
    """What a published network spells with; ``None`` for a network that learns any tokens.

    Args:
        node: of a network.

    Raises:
        ValueError, FileNotFoundError: the network cannot be built.
    """
    if "classes" in inspect.signature(resolve(node.get("_target_"))).parameters:
        return None
    with torch.device("meta"):  # the network itself is of no matter here
        tokens: Tokens | None = getattr(build(without_weights(node), nn.Module), "tokens", None)
    return tokens


def spelling_of_run(run: Path) -> Spelling:
    """What a finished run spells with.

    Raises:
        FileNotFoundError: there is no such run, or the folder of its published network is gone.
        ValueError: its tokens are pieces of words, and it did not keep what spells with them.
    """
    config = finished_config(run)
    if tokens := brought_tokens(config["student"]["network"]):
        return Spelling(tokens)
    model = run / MODEL
    if model.is_file():
        return Spelling(Pieces(model), model)
    classes = config["classes"]
    if any(len(piece) > 1 for piece in classes[1:]):
        raise ValueError(
            f"{run} spells with pieces of words and has no {MODEL}, without which no text can be cut into them: copy "
            f"the model that its corpus.data holds there, or train it again"
        )
    return Spelling(Alphabet(classes))


@rank_zero_only
def keep_tokens(datamodule: Any, folder: Path) -> None:
    """Leave in a run's folder what others need to spell as it does, where the names of the tokens are not enough."""
    model: Path | None = getattr(datamodule, "tokens_model", None)
    if model is not None:
        write(folder / MODEL, model.read_bytes())


def teacher_pieces(config: dict[str, Any], teacher: Recogniser, datamodule: Any) -> list[str]:
    """Names of the tokens that a teacher writes with, which may be others than those of the corpus.

    Args:
        config: of the stage.
        teacher: built.
        datamodule: prepared and set up.
    """
    if run := config["teacher"].get("run"):
        finished: list[str] = finished_config(Path(run[0] if isinstance(run, list) else run))["classes"]
        return finished
    brought: list[str] | None = getattr(teacher.network, "pieces", None)
    own: list[str] = datamodule.classes
    return own if brought is None else brought
