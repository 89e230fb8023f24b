"""Student -> deployable file, scored again after export: ``python -m kd_lightning.export run=runs/a/finetune``."""

from __future__ import annotations

from importlib.util import find_spec
from itertools import islice
from math import ceil, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from kd_lightning.experiment.command import existing_folder, run_command
from kd_lightning.experiment.compose import STAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from kd_lightning.experiment.finished import Evaluation

USAGE = """usage: python -m kd_lightning.export run=<folder> [format=onnx|litert] [precision=fp32|fp16|int8] [key=value]

Writes a finished run's network to <run>/deploy/, compares it with PyTorch on the test set and scores it there in ONNX
Runtime. What goes in and comes out (float32, where nothing else is said):
  keyword spotter                waveform (B, one second) -> scores (B, classes)
  recogniser with a CTC layer    waveform (1, samples) -> log_probabilities (1, frames, tokens)
  feed-forward acoustic network  tokens (1, tokens) int64, of several speakers also speaker (1,) int64
                                 -> mel (1, bins, frames), durations (1, tokens) int64 in frames
  vocoder                        mel (1, bins, frames), for a flow also noise (1, samples), standard normal
                                 -> waveform (1, samples)
The file's metadata says the classes or tokens, the sample rate, and the settings of the mels.
fp16 halves the network's weights and computes with them in half precision, but for its frontend and what follows its
last product. int8 rounds the network, not its frontend, calibrated on calibration_clips=512 clips (128 utterances) of
the training split. Each says what it costs in the task's metric, and what to do where that is more than half a point
of accuracy or WER, or 0.1 dB. Beside the networks of all precisions lie run.py, which runs them with numpy, soundfile
and onnxruntime alone, README.md, a model card, and SHA256SUMS.
format=litert writes a keyword spotter for LiteRT (TensorFlow Lite), precision=fp32|int8, for one waveform at a time,
measures its memory, and needs LiteRT's converter: make install-litert makes an environment with it.
Further words change the run's config: vocoder= and recogniser= name runs that make mels heard and listen, corpus.root=
and corpus.data= say where the data lie now. The test set has to be the run's own; evaluate scores others."""

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
CALIBRATION_CLIPS = {"keyword": 512, "recognition": 128, "synthesis": 128, "vocoding": 128}
CALIBRATION_BATCH = 64


class Format(NamedTuple):
    """A kind of file.

    Attributes:
        precisions: that it can have.
        ending: of the file's name.
        packages: that writing it needs.
        install: the command that brings them.
        tasks: whose networks it holds.
    """

    precisions: tuple[str, ...]
    ending: str
    packages: tuple[str, ...]
    install: str
    tasks: tuple[str, ...]


FORMATS = {
    "onnx": Format(
        ("fp32", "fp16", "int8"),
        "onnx",
        ("onnx", "onnxruntime", "onnxscript"),
        "pip install 'kd_lightning[export]'",
        tuple(COMPARED),
    ),
    "litert": Format(
        ("fp32", "int8"),
        "tflite",
        ("onnxruntime", "litert_torch", "ai_edge_quantizer"),
        "pip install 'kd_lightning[litert,export]', or make install-litert, and export with .venv-litert/bin/python",
        ("keyword",),
    ),
}


def export(words: dict[str, Any]) -> None:
    """Export ``run=``, check it, score it, and write ``deploy/<format>_<precision>.json`` for the report."""
    run = existing_folder(words, "run")
    form, precision = words.pop("format", "onnx"), words.pop("precision", "fp32")
    if form not in FORMATS or precision not in FORMATS[form].precisions:
        known = " and ".join(
            f"format={name} with precision={'|'.join(FORMATS[name].precisions)}" for name in FORMATS
        )
        raise ValueError(f"format={form} precision={precision}: what can be exported is {known}")
    clips = words.pop("calibration_clips", None)
    if clips is not None and (isinstance(clips, bool) or not isinstance(clips, int) or clips < 1):
        raise ValueError(f"calibration_clips={clips}: int8 is calibrated on training clips, at least one")
    for package in FORMATS[form].packages:
        if find_spec(package) is None:
            raise ValueError(f"{package} is missing: {FORMATS[form].install}")

    from kd_lightning.deploy.folder import complete, not_left_empty
    from kd_lightning.deploy.scoring import require_same_cuts
    from kd_lightning.deploy.verdict import KEPT, verdict
    from kd_lightning.experiment.finished import build_evaluation, heard_through
    from kd_lightning.files import whole, write
    from kd_lightning.reports.page import write_report
    from kd_lightning.reports.strict_json import to_json

    evaluation = build_evaluation(run, words)
    task = evaluation.task
    if task not in FORMATS[form].tasks:
        raise ValueError(
            f"format={form} is for {', '.join(FORMATS[form].tasks)}, this is {task}: set format=onnx"
        )
    require_same_cuts(run, evaluation.datamodule)
    path = run / "deploy" / f"network_{precision}.{FORMATS[form].ending}"
    examples = training_clips(evaluation, clips or CALIBRATION_CLIPS[task]) if precision == "int8" else []
    with not_left_empty(path.parent), whole(path) as beside:
        if form == "litert":
            write_litert(beside, evaluation, precision, examples)
        else:
            write_onnx(beside, evaluation, precision, examples)
        result = {
            "format": form,
            "precision": precision,
            "file": path.name,
            **(scored_litert if form == "litert" else scored)(beside, evaluation),
            **heard_through(evaluation.config),
        }
        require_sound(result, task)
    write(run / "deploy" / f"{form}_{precision}.json", to_json(result))
    write_companions(run, evaluation)
    complete(run, task)
    latency, kept = result["latency_ms"], KEPT[task]
    print(
        f"{path}: {result['size_bytes']:,} bytes, {kept.called} {kept.written(result['metrics'][kept.metric])} "
        f"{'%' if kept.unit == 'points' else kept.unit}, p50 {latency['p50']:.2f} ms, p95 {latency['p95']:.2f} ms, at "
        f"most {result['max_abs_difference']:.1e} from PyTorch\n{verdict(result, task)}"
    )
    if "peak_memory_bytes" in result:
        print(
            f"memory for one clip: {result['peak_memory_bytes'] / 1e6:.1f} MB above the bare runtime; "
            f"tensor arena {result['arena_bytes'] / 1e6:.1f} MB"
        )
    if run.name in STAGES and (run.parent / "report").is_dir():  # a sweep's report shows no files
        print(f"now in the report: {write_report(run.parent) / 'index.html'}")


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
    from kd_lightning.deploy.fp16 import to_fp16
    from kd_lightning.deploy.graph import save
    from kd_lightning.deploy.int8 import to_int8
    from kd_lightning.deploy.onnx_file import to_onnx

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
    from kd_lightning.deploy.graph import save
    from kd_lightning.deploy.mel_file import mel_to_onnx
    from kd_lightning.files import whole, write
    from kd_lightning.models.acoustic_model import AcousticModel
    from kd_lightning.models.vocoder import Vocoder

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
    from kd_lightning.experiment.finished import read_by, spoken_tokens
    from kd_lightning.frontend.phonemes import Phonemes
    from kd_lightning.models.acoustic_model import AcousticModel
    from kd_lightning.models.recogniser import Recogniser
    from kd_lightning.models.vocoder import Vocoder

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
    from kd_lightning.deploy.scoring import score_keywords, score_recognition
    from kd_lightning.deploy.speech_scoring import Tested, score_speech
    from kd_lightning.experiment.finished import build_scorer
    from kd_lightning.models.acoustic_model import AcousticModel
    from kd_lightning.models.recogniser import Recogniser
    from kd_lightning.models.vocoder import Vocoder

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
    from kd_lightning.deploy.scoring import score_keywords

    return score_keywords(path, evaluation.model, evaluation.datamodule, LiteRTSession) | memory(path)


def training_clips(evaluation: Evaluation, count: int) -> list[dict[str, Tensor]]:
    """Inputs of the file: up to ``count`` clips of the training split in the order that the seed draws.

    They are not augmented: noise and speed widen the ranges beyond what the network hears in use. Utterances, sentences
    and mels are each a batch of their own, as the file takes them.

    Raises:
        ValueError: a class has no training clip, or no training utterance is left.
    """
    import torch

    from kd_lightning.deploy.onnx_file import INPUT, inputs_of
    from kd_lightning.experiment.finished import corpus_of
    from kd_lightning.models.acoustic_model import AcousticModel
    from kd_lightning.models.recogniser import Recogniser
    from kd_lightning.models.vocoder import Vocoder

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


main = run_command(export, USAGE)

if __name__ == "__main__":
    main()
