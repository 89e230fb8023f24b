"""A finished run's network as a file for another runtime, compared with PyTorch and scored on the run's test set."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from math import ceil, isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kd_lightning.deploy.fp16 import to_fp16
from kd_lightning.deploy.graph import save
from kd_lightning.deploy.int8 import to_int8
from kd_lightning.deploy.mel_file import mel_to_onnx
from kd_lightning.deploy.onnx_file import INPUT, inputs_of, to_onnx
from kd_lightning.deploy.scoring import score_keywords, score_recognition
from kd_lightning.deploy.speech_scoring import Tested, score_speech
from kd_lightning.experiment.finished import Evaluation, build_scorer, corpus_of, read_by, spoken_tokens
from kd_lightning.files import whole, write
from kd_lightning.frontend.phonemes import Phonemes
from kd_lightning.models.acoustic_model import AcousticModel
from kd_lightning.models.recogniser import Recogniser
from kd_lightning.models.vocoder import Vocoder

# Largest difference between PyTorch and ONNX Runtime that passes for rounding of floats, and of what.
TOLERANCE = 1e-3
COMPARED = {
    "keyword": "probability",
    "recognition": "probability",
    "synthesis": "value of a mel",
    "vocoding": "sample",
}
# Share of the tokens that may last a frame more or less by such rounding.
OTHER_DURATIONS = 0.01
CALIBRATION_BATCH = 64


def write_onnx(
    path: Path, evaluation: Evaluation, precision: str, examples: Sequence[dict[str, Tensor]]
) -> None:
    """Write a network as ONNX.

    Args:
        path: of the file.
        evaluation: the network, and what its file has to say of itself.
        precision: "fp32", "fp16" or "int8".
        examples: inputs that int8 is calibrated on.

    Raises:
        ValueError: ONNX cannot express the network.
    """
    exported = to_onnx(evaluation.model, evaluation.datamodule.clip_samples)
    if precision == "int8":
        exported = to_int8(exported, examples)
    elif precision == "fp16":
        exported = to_fp16(exported)
    save(exported, path, evaluation.classes, evaluation.datamodule.sample_rate, **properties(evaluation))


def write_litert(
    path: Path, evaluation: Evaluation, precision: str, examples: Sequence[dict[str, Tensor]]
) -> None:
    """Write a keyword spotter for LiteRT; the arguments are those of :func:`write_onnx`.

    Raises:
        ValueError: LiteRT cannot express the network.
    """
    from kd_lightning.deploy.litert_file import save, to_litert
    from kd_lightning.deploy.litert_int8 import to_int8

    converted = to_litert(evaluation.model, evaluation.datamodule.clip_samples)
    if precision == "int8":
        converted = to_int8(converted, examples)
    save(converted, path, evaluation.classes, evaluation.datamodule.sample_rate, **properties(evaluation))


def write_companions(run: Path, evaluation: Evaluation) -> None:
    """Write what a network that speaks needs beside it: a vocoder its mels, an acoustic network its vocoder.

    That vocoder is the run's ``vocoder=``, as it has been exported.
    """
    folder = run / "deploy"
    match evaluation.model:
        case Vocoder() as model:
            with whole(folder / "mel.onnx") as beside:
                save(
                    mel_to_onnx(model.frontend),
                    beside,
                    [],
                    model.frontend.sample_rate,
                    **properties(evaluation),
                )
        case AcousticModel() if vocoder := evaluation.config["vocoder"]:
            file = Path(vocoder) / "deploy" / "network_fp32.onnx"
            if file.is_file():
                write(folder / "vocoder.onnx", file.read_bytes())
            else:
                print(
                    f"run.py speaks with Griffin-Lim: export run={vocoder} first for it to have that vocoder"
                )


def require_sound(result: dict[str, Any], task: str) -> None:
    """Refuse a file that says something else than PyTorch, where it computes in the same precision, or no numbers.

    Raises:
        ValueError: with the difference.
    """
    difference, others = result["max_abs_difference"], result.get("other_durations", 0.0)
    if not isfinite(difference):
        raise ValueError(
            f"the exported network gives values that are no numbers in {result['precision']}: nothing was written; "
            "export precision=fp32"
        )
    if result["precision"] != "fp32":
        return
    if difference > TOLERANCE:
        raise ValueError(
            f"the exported network differs from PyTorch by {difference:.2g} in a {COMPARED[task]}, above "
            f"{TOLERANCE:g}: nothing was written"
        )
    if others > OTHER_DURATIONS:
        raise ValueError(
            f"the exported network gives {100 * others:.1f} % of the tokens another duration than PyTorch: nothing was "
            "written"
        )


def properties(evaluation: Evaluation) -> dict[str, Any]:
    """What the file says of itself beside classes and sample rate: all that one has to know to use it."""
    match evaluation.model:
        case Recogniser() as model:
            return {"seconds_per_frame": model.seconds_per_frame}
        case Vocoder() as model:
            return {"mel": model.frontend.settings}
        case AcousticModel() as model:
            config, tokens = evaluation.config, spoken_tokens(evaluation.config)
            spelt = (
                {"spelling": "phonemes", "voice": tokens.voice}
                if isinstance(tokens, Phonemes)
                else {"spelling": "characters", "language": config["corpus"]["language"], **read_by(tokens)}
            )
            return {"mel": model.frontend.settings, "speakers": config["speakers"], **spelt}
    return {}


def scored(path: Path, evaluation: Evaluation) -> dict[str, Any]:
    """What the file does on the test set."""

    def tested(model: AcousticModel | Vocoder) -> Tested:
        scorer, trainer = build_scorer(evaluation._replace(model=model), accelerator="cpu")
        metrics = trainer.test(scorer, datamodule=datamodule, verbose=False)[0]
        return Tested(dict(metrics), scorer.intervals(), scorer.predictions, *scorer.measured(datamodule))

    datamodule = evaluation.datamodule
    match evaluation.model:
        case AcousticModel() | Vocoder() as model:
            return score_speech(path, model, tested)
        case Recogniser() as model:
            return score_recognition(path, model, datamodule, evaluation.classes)
        case model:
            return score_keywords(path, model, datamodule)


def scored_litert(path: Path, evaluation: Evaluation) -> dict[str, Any]:
    """What a keyword spotter's LiteRT file does on the test set, and the memory that it takes."""
    from kd_lightning.deploy.litert_file import LiteRTSession
    from kd_lightning.deploy.litert_memory import memory

    return score_keywords(path, evaluation.model, evaluation.datamodule, LiteRTSession) | memory(path)


def training_clips(evaluation: Evaluation, count: int) -> list[dict[str, Tensor]]:
    """Inputs of the file: up to ``count`` clips of the training split in the order that the seed draws.

    They are not augmented: noise and speed widen the ranges beyond what the network hears in use. Utterances, sentences
    and mels are each a batch of their own, as the file takes them.

    Raises:
        ValueError: a class has no training clip, or no training utterance is left.
    """
    model, corpus = evaluation.model, evaluation.config["corpus"]
    batches = corpus_of(evaluation.config, evaluation.classes, "fit").train_dataloader()
    if isinstance(model, AcousticModel | Recogniser | Vocoder):
        return list(islice((inputs for batch in batches for inputs in inputs_of(model, batch)), count))
    clips = [batch.waveform for batch in islice(batches, ceil(count / corpus["batch_size"]))]
    return (
        []
        if not clips
        else [{INPUT: waveform} for waveform in torch.cat(clips)[:count].split(CALIBRATION_BATCH)]
    )
