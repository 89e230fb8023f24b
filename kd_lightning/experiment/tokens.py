"""Whose tokens a corpus is spelt with and whose numbers its speakers have, and in whose tokens a teacher writes."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.utilities import rank_zero_only
from torch import nn

from kd_lightning.corpora import spelling, spelt_sentences
from kd_lightning.corpora.spelling import Spelling
from kd_lightning.experiment.finished import finished_config, spoken_tokens, without_weights
from kd_lightning.experiment.targets import build, resolve
from kd_lightning.files import write
from kd_lightning.frontend.alphabet import Alphabet
from kd_lightning.frontend.tokens import Pieces, Tokens
from kd_lightning.models.recogniser import Recogniser
from kd_lightning.teachers.finished_run import some

# What a corpus learns from its own texts, by task.
LEARNT_BY = {"recognition": spelling.LEARNT, "synthesis": spelt_sentences.LEARNT}
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
    if config.get("task") not in LEARNT_BY:
        return None
    if tokens := brought_tokens(config["student"]["network"]):
        return Spelling(tokens)
    kind = config["corpus"]["spelling"]
    if kind in LEARNT_BY[config["task"]]:
        return None
    if kind != "teacher":  # the corpus says which there are
        return spelling_of_run(Path(kind), config["task"]) if Path(kind).is_dir() else None
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
    return spelling_of_run(run, config["task"])


def speakers_of_stage(config: dict[str, Any]) -> list[str] | None:
    """The speakers of a run that a stage builds on, in its order; ``None`` where there is none.

    It is that of the aligner, which all stages of a pipeline have in common, also where a corpus has phone times and
    does not ask it: else the baseline would number other speakers than a student with a teacher of many. Without one it
    is that of the teacher, or that which the student starts from; :func:`check_speakers` compares the others.

    Args:
        config: of the stage.
    """
    if config.get("task") != "synthesis":
        return None
    aligner = config["aligner"]
    if aligner is not None and not (Path(aligner) / "config.json").is_file():
        aligner = None  # of no matter unless somebody has to time recordings, and that one says so
    run = aligner or (config["teacher"] or {}).get("run") or config["student"]["run"]
    if not run:
        return None
    speakers: list[str] | None = finished_config(Path(run[0] if isinstance(run, list) else run)).get(
        "speakers"
    )
    return speakers


def check_speakers(run: Path, finished: dict[str, Any], datamodule: Any) -> None:
    """Refuse a run of synthesis that numbers speakers otherwise than a stage: others would speak, without an error.

    Args:
        run: for the message.
        finished: its config.
        datamodule: of the stage, prepared and set up.

    Raises:
        ValueError: says which differ.
    """
    if finished["task"] != "synthesis" or (theirs := finished["speakers"]) == (own := datamodule.speakers):
        return
    missing, extra = (
        [name for name in one if name not in other] for one, other in ((own, theirs), (theirs, own))
    )
    if missing or extra:
        differ = f"it lacks {some(missing)} and has {some(extra)} besides"
    else:
        number = [one == other for one, other in zip(theirs, own, strict=True)].index(False)
        differ = (
            f"the same in another order, number {number} is {theirs[number]!r} there and {own[number]!r} here"
        )
    raise ValueError(
        f"{run} has learnt other speakers than this stage numbers: {differ}; all runs that a stage builds on have to "
        f"number them alike, and aligner={run} makes a corpus number them as this one does"
    )


def brought_tokens(node: dict[str, Any]) -> Tokens | None:
    """What a published network spells with; ``None`` for a network that learns any tokens.

    Args:
        node: of a network.

    Raises:
        ValueError, FileNotFoundError: the network cannot be built.
    """
    wanted = inspect.signature(resolve(node.get("_target_"))).parameters
    if "classes" in wanted:
        return None
    sizes = {key: 256 for key in ("bins", "hop_length") if key in wanted}
    with torch.device("meta"):  # the network itself is of no matter here
        tokens: Tokens | None = getattr(build(without_weights(node), nn.Module, **sizes), "tokens", None)
    return tokens


def spelling_of_run(run: Path, task: str) -> Spelling:
    """What a finished run spells with.

    Args:
        run: its folder.
        task: that it has to be of.

    Raises:
        FileNotFoundError: there is no such run, or the folder of its published network is gone.
        ValueError: it is of another task, or its tokens are pieces of words, and it did not keep what spells with them.
    """
    config = finished_config(run)
    if config["task"] != task:
        raise ValueError(f"{run} is of task={config['task']}: a run that spells for others is of task={task}")
    if config["task"] == "synthesis":
        return Spelling(spoken_tokens(config))
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
