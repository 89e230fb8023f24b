"""Finished runs: their config, their network, and a corpus to score it on."""

from __future__ import annotations

import hashlib
import inspect
import json
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import pytorch_lightning as pl
import torch
from pytorch_lightning import LightningDataModule
from torch import nn

from kd_lightning.corpora.spelling import Spelling
from kd_lightning.distillers.distiller import Distiller
from kd_lightning.distillers.round_trip import RoundTrip
from kd_lightning.experiment.compose import with_keys
from kd_lightning.experiment.process import prepare_process
from kd_lightning.experiment.targets import build, resolve
from kd_lightning.frontend.phonemes import Phonemes
from kd_lightning.frontend.published_letters import PublishedLetters
from kd_lightning.frontend.spoken_characters import SpokenCharacters
from kd_lightning.frontend.tokens import Tokens
from kd_lightning.models.acoustic_model import AcousticModel
from kd_lightning.models.acoustic_output import AcousticOutput
from kd_lightning.models.recogniser import Recogniser
from kd_lightning.models.recognition_output import RecognitionOutput
from kd_lightning.models.vocoder import Vocoder
from kd_lightning.models.waveform_model import KeywordOutput, WaveformModel
from kd_lightning.teachers.finished_run import WEIGHTS, check_classes, check_rate, load_weights

# What joins a network to its frontend, by task.
MODELS: dict[str, type[WaveformModel]] = {
    "keyword": WaveformModel,
    "recognition": Recogniser,
    "synthesis": AcousticModel,
    "vocoding": Vocoder,
}
# What a network of ours says, which vocoders do not name.
OUTPUTS = {"keyword": KeywordOutput, "recognition": RecognitionOutput, "synthesis": AcousticOutput}
# What each task is about, and a network of it.
FITTING = {
    "keyword": ("clip into the scores of words", "tc_resnet8"),
    "recognition": ("utterance into text", "quartznet_small"),
    "synthesis": ("text into mels", "feed_forward_small"),
    "vocoding": ("mels into waveforms", "vocos_small"),
}


def build_model(
    node: dict[str, Any], classes: int, task: str = "keyword", speakers: int = 1
) -> WaveformModel:
    """A network with its frontend, sized by what the corpus says.

    Args:
        node: ``{"network": …, "frontend": …}``.
        classes: number of classes, or of tokens.
        task: ``config["task"]``.
        speakers: their number, where a network speaks.

    Raises:
        ValueError: the network gives another number of scores or does not take such features, or there is no such task.
    """
    if task not in MODELS:
        raise ValueError(f"task={task}: there are {', '.join(MODELS)}")
    frontend = build(node["frontend"], nn.Module)
    # Networks of other libraries have their sizes in the config, and published recognisers their tokens.
    wanted = inspect.signature(resolve(node["network"].get("_target_"))).parameters
    known = {
        "bins": frontend.bins,
        "classes": classes,
        "speakers": speakers,
        "hop_length": getattr(frontend, "hop_length", None),
    }
    sizes = {key: size for key, size in known.items() if key in wanted}
    _require_task(node["network"]["_target_"], task)
    model = MODELS[task](frontend, build(node["network"], nn.Module, **sizes))
    if task in ("synthesis", "vocoding"):
        return model
    if "classes" not in wanted and not hasattr(model.network, "tokens"):
        _require_scores(model, node["network"]["_target_"], classes)
    return model


def _require_task(target: str, task: str) -> None:
    """Refuse networks of another task; one of another library is tried on silence.

    Raises:
        ValueError: names one of this task.
    """
    network: Any = resolve(target)
    if task == "vocoding":
        fits = "hop_length" in inspect.signature(network).parameters
    elif target.startswith("kd_lightning."):
        says = get_type_hints(network.forward).get("return")
        fits = says is OUTPUTS[task] or (task != "synthesis" and says not in OUTPUTS.values())
    else:
        fits = task != "synthesis"
    if not fits:
        turned, instead = FITTING[task]
        raise ValueError(f"{target} turns no {turned}: choose student={instead}, for example")


def _require_scores(model: WaveformModel, target: str, classes: int) -> None:
    """Try a foreign network on a second of silence."""
    try:
        with torch.no_grad():
            shape = tuple(model.eval()(torch.zeros(2, model.frontend.sample_rate)).logits.shape)
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{target} does not take features (B, {model.frontend.bins}, frames): {error}"
        ) from error
    model.train()
    # A recogniser scores each of its frames.
    frames = shape[1:-1] if isinstance(model, Recogniser) else ()
    if shape != (2, *frames, classes):
        raise ValueError(f"{target} scores two clips as {shape}: the corpus has {classes} classes")


def without_weights(node: dict[str, Any]) -> dict[str, Any]:
    """A network without the file that it would start from, for weights of a run or for none."""
    return node | {"weights": None} if node.get("weights") else node


def finished_config(run: Path) -> dict[str, Any]:
    """The config that a finished run left behind.

    Raises:
        FileNotFoundError: there is no such run.
        ValueError: its config is not one of ours.
    """
    path = run / "config.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"{run} is not a run: it has no config.json; name a folder such as runs/<name>/<stage>"
        )
    try:
        config = json.loads(path.read_text())
        nodes = [
            config["student"]["network"],
            config["student"]["frontend"],
            config["corpus"],
            config["distiller"],
        ]
        if not all(isinstance(node, dict) for node in nodes) or not isinstance(config["classes"], list):
            raise TypeError("student, corpus, distiller or classes of another kind")
        if config["task"] not in MODELS:
            raise KeyError(f"task {config['task']}")
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged or not a finished run's config ({error!r})") from error
    return dict(config)


def finished_model(run: Path) -> tuple[WaveformModel, dict[str, Any]]:
    """A finished run's network with its weights, in eval mode, and its config.

    Raises:
        FileNotFoundError: there is no such run, or it has not finished.
        ValueError: its files are damaged, do not belong together, or name what a config may not name.
    """
    config = finished_config(run)
    student = config["student"] | {"network": without_weights(config["student"]["network"])}
    speakers = max(1, len(config.get("speakers", [])))
    model = build_model(student, len(config["classes"]), config["task"], speakers)
    if getattr(model.network, "pieces", config["classes"]) != config["classes"]:
        raise ValueError(
            f"{run} was made with other tokens than the files of its network name now: put those back that it was made "
            "with"
        )
    load_weights(model, run)
    return model.eval(), config


def listening(config: dict[str, Any]) -> dict[str, Any]:
    """What makes mels heard and what listens, for tasks that speak: arguments of their distillers.

    Raises:
        FileNotFoundError, ValueError: a run is not there, or of another task.
    """
    if config["task"] not in ("synthesis", "vocoding"):
        return {}
    listening: dict[str, Any] = {}
    if run := config["recogniser"]:
        listening["round_trip"] = _round_trip(Path(run))
    if config["task"] == "synthesis" and (run := config["vocoder"]):
        listening["vocoder"] = _vocoder(Path(run))
    return listening


def heard_through(config: dict[str, Any]) -> dict[str, str]:
    """The runs that have a part in the scores of a network that speaks: with others these do not compare."""
    return {role: config[role] for role in ("vocoder", "recogniser") if config.get(role)}


def _vocoder(run: Path) -> Vocoder:
    """The network of a finished vocoder.

    Raises:
        FileNotFoundError, ValueError: there is none, or it is of another task.
    """
    model, config = finished_model(run)
    if not isinstance(model, Vocoder):
        raise ValueError(f"vocoder={run} is of task={config['task']}: name the run of a vocoder")
    return model


def _round_trip(run: Path) -> RoundTrip:
    """What listens to synthesis: the network of a finished recogniser.

    Raises:
        FileNotFoundError, ValueError: there is none, or it is of another task.
    """
    model, config = finished_model(run)
    if not isinstance(model, Recogniser):
        raise ValueError(f"recogniser={run} is of task={config['task']}: name the run of a recogniser")
    return RoundTrip(model, config["classes"], config["corpus"]["language"])


def spoken_tokens(config: dict[str, Any]) -> Tokens:
    """What spells for a finished acoustic network, by its tokens: they may be another run's, whose kind nobody noted.

    Args:
        config: of its run, with what :func:`read_by` says of tokens under "tokens"; older runs read as their corpus.
    """
    reader, classes = config["corpus"] | config.get("tokens", {}), config["classes"]
    if classes == PublishedLetters().pieces:
        return PublishedLetters()
    if " " in classes:  # between phones there is nothing
        return SpokenCharacters(reader["language"], classes)
    return Phonemes(reader["voice"], classes)


def read_by(tokens: Tokens | None) -> dict[str, str]:
    """The voice or the language in which tokens read a text aloud, which their names do not tell.

    Those of a run that spells with another run's tokens are the other's, and not what its corpus is set to.
    """
    match tokens:
        case Phonemes():
            return {"voice": tokens.voice}
        case SpokenCharacters():
            return {"language": tokens.language}
    return {}


def fingerprint(run: str | None) -> str | None:
    """A digest of a finished run's weights; ``None`` where there are none yet."""
    return _digest(Path(run) / WEIGHTS) if run is not None else None


def _digest(path: Path) -> str | None:
    if not path.is_file():
        return None
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def fingerprints(node: dict[str, Any]) -> str | list[str | None] | None:
    """Digests of the weights that a student or teacher of a config starts from.

    Args:
        node: ``config["teacher"]`` or ``config["student"]``.

    Returns:
        one, a list for the members of an ensemble, or ``None`` for weights of its own.
    """
    if isinstance(node["run"], list):
        return [fingerprint(run) for run in node["run"]]
    checkpoint = node.get("checkpoint")
    return fingerprint(node["run"]) if checkpoint is None else _digest(Path(checkpoint))


class Evaluation(NamedTuple):
    """A finished run's network beside a corpus to score it on.

    Attributes:
        task: "keyword", "recognition", "synthesis" or "vocoding".
        config: the run's, with the further words merged over it.
        model: the network with its weights, in eval mode.
        classes: names of the classes, or the pieces of the tokens, in the order of the logits.
        datamodule: prepared and set up for testing.
    """

    task: str
    config: dict[str, Any]
    model: WaveformModel
    classes: list[str]
    datamodule: Any


def build_evaluation(run: Path, words: dict[str, Any]) -> Evaluation:
    """A finished run and the corpus to score it on.

    Another corpus is asked for a keyword run's own classes, whatever else it has. A recogniser's outputs are read with
    the run's own tokens, and the corpus gives the sentences to compare them with. For an acoustic network it is spelt
    with the run's tokens, and its speakers have to be the run's; a vocoder takes any voice.

    Args:
        run: the finished run's folder.
        words: what to change in its config, e.g. ``{"corpus": {"root": "/other/data"}}``.

    Raises:
        ValueError: the corpus lacks a class of the network, or has another sample rate.
    """
    model, finished = finished_model(run)
    config = with_keys(finished, words)
    prepare_process({"accelerator": "cpu", "devices": 1})
    datamodule = corpus_of(config, finished["classes"], "test")
    task = str(finished["task"])
    if task != "recognition":  # how a corpus would spell its sentences is of no matter
        check_classes(run, finished["classes"], datamodule.classes)
    check_rate(run, model.frontend.sample_rate, datamodule.sample_rate)
    return Evaluation(task, config, model, finished["classes"], datamodule)


def corpus_of(config: dict[str, Any], classes: list[str], split: str) -> Any:
    """The corpus of a finished run, all of which may be seen, prepared and set up; to train on, it is not augmented.

    Args:
        config: of the run, with what is to change in it.
        classes: of the run.
        split: what to set up, "fit" or "test".
    """
    corpus = unhidden(config, classes)
    if split == "fit" and "augment" in corpus:
        corpus = corpus | {"augment": None}
    datamodule = build(corpus, LightningDataModule)
    if config["task"] == "synthesis":
        datamodule.spell_with(Spelling(spoken_tokens(config | {"classes": classes})))
        datamodule.number_speakers(config["speakers"])
    datamodule.prepare_data()
    datamodule.setup(split)
    return datamodule


def unhidden(config: dict[str, Any], classes: list[str]) -> dict[str, Any]:
    """``config["corpus"]`` with every label to be seen, of the classes of a finished run.

    Args:
        config: of the run, with what is to change in it.
        classes: of the run.
    """
    corpus: dict[str, Any] = config["corpus"] | {"labelled_fraction": 1.0}
    if config["task"] == "recognition":
        # Letters can be learnt from any corpus, and pieces of words only from a large one.
        return corpus | {"spelling": "characters"}
    if config["task"] in ("synthesis", "vocoding"):
        return corpus
    words = corpus["words"] or [name for name in classes if not name.startswith("_")]
    return corpus | {"words": words}


def build_scorer(
    evaluation: Evaluation, accelerator: str = "auto", distiller: str | None = None
) -> tuple[Distiller, pl.Trainer]:
    """A distiller that only tests, and a Trainer for this machine, whatever the run was trained on.

    Args:
        evaluation: what to score.
        accelerator: what to score it on, "auto" or "cpu".
        distiller: class path of another one than the run's.
    """
    config = evaluation.config
    node = config["distiller"] | ({"_target_": distiller} if distiller else {})
    if evaluation.task == "recognition":
        node = node | {"language": evaluation.datamodule.language}
    scorer: Distiller = build(
        node,
        Distiller,
        classes=evaluation.classes,
        student=evaluation.model,
        teacher=None,
        optimizer=build(config["optimizer"]),
        **listening(config),
    )
    return scorer, pl.Trainer(
        accelerator=accelerator,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
    )
