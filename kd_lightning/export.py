"""Student -> deployable file, scored again after export: ``python -m kd_lightning.export run=runs/a/finetune``."""

from __future__ import annotations

from itertools import islice
from math import ceil
from typing import TYPE_CHECKING, Any

from kd_lightning.experiment.command import existing_folder, run_command

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from kd_lightning.experiment.finished import Evaluation

USAGE = """usage: python -m kd_lightning.export run=<folder> [format=onnx] [precision=fp32|int8] [key=value ...]

Writes a finished run's network to <run>/deploy/, compares it with PyTorch on the test set and scores it there in ONNX
Runtime. What goes in and comes out (float32, where nothing else is said):
  keyword spotter                waveform (B, one second) -> scores (B, classes)
  recogniser with a CTC layer    waveform (1, samples) -> log_probabilities (1, frames, tokens)
  feed-forward acoustic network  tokens (1, tokens) int64, of several speakers also speaker (1,) int64
                                 -> mel (1, bins, frames), durations (1, tokens) int64 in frames
  vocoder                        mel (1, bins, frames), for a flow also noise (1, samples), standard normal
                                 -> waveform (1, samples)
The file's metadata says the classes or tokens, the sample rate, and the settings of the mels.
int8 rounds the network, not its frontend, calibrated on calibration_clips=512 clips (128 utterances) of the training
split. Further words change the run's config: vocoder= and recogniser= name runs that make mels heard and listen."""

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
# Accuracy that int8 may cost before it is worth training for.
HALF_A_POINT = 0.005
METRICS = {"keyword": "accuracy", "recognition": "wer", "synthesis": "mcd", "vocoding": "mcd"}
CALIBRATION_CLIPS = {"keyword": 512, "recognition": 128, "synthesis": 128, "vocoding": 128}
CALIBRATION_BATCH = 64


def export(words: dict[str, Any]) -> None:
    """Export ``run=``, check it, score it, and write ``deploy/<format>_<precision>.json`` for the report."""
    run = existing_folder(words, "run")
    form, precision = words.pop("format", "onnx"), words.pop("precision", "fp32")
    if form != "onnx" or precision not in ("fp32", "int8"):
        raise ValueError(
            f"format={form} precision={precision}: what can be exported is format=onnx with precision=fp32 or int8"
        )
    clips = words.pop("calibration_clips", None)
    if clips is not None and (isinstance(clips, bool) or not isinstance(clips, int) or clips < 1):
        raise ValueError(f"calibration_clips={clips}: int8 is calibrated on training clips, at least one")
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(f"{error.name} is missing: pip install 'kd_lightning[export]'") from error

    from kd_lightning.deploy.graph import save
    from kd_lightning.deploy.int8 import to_int8
    from kd_lightning.deploy.onnx_file import to_onnx
    from kd_lightning.experiment.finished import build_evaluation
    from kd_lightning.files import whole, write
    from kd_lightning.reports.page import write_report
    from kd_lightning.reports.strict_json import to_json

    evaluation = build_evaluation(run, words)
    task = evaluation.task
    exported = to_onnx(evaluation.model, evaluation.datamodule.clip_samples)
    if precision == "int8":
        exported = to_int8(exported, training_clips(evaluation, clips or CALIBRATION_CLIPS[task]))
    path = run / "deploy" / f"network_{precision}.onnx"
    with whole(path) as beside:
        save(
            exported, beside, evaluation.classes, evaluation.datamodule.sample_rate, **properties(evaluation)
        )
        result = {"format": form, "precision": precision, "file": path.name, **scored(beside, evaluation)}
        if precision == "fp32":
            require_the_same(result, task)
    write(run / "deploy" / f"{form}_{precision}.json", to_json(result))
    key = METRICS[task]
    change = result["metrics"][f"{key}_change"]
    print(
        f"{path}: {result['size_bytes']:,} bytes, {key} {result['metrics'][key]:.4f} ({change:+.4f} against PyTorch), "
        f"p50 {result['latency_ms']['p50']:.2f} ms, at most {result['max_abs_difference']:.1e} from PyTorch"
    )
    if key == "accuracy" and change < -HALF_A_POINT:
        print(
            f"{precision} costs {-100 * change:.1f} points of accuracy: train the student for it with "
            "quantisation=int8, in its distill or finetune stage, and export again"
        )
    if (run.parent / "report").is_dir():
        print(f"now in the report: {write_report(run.parent) / 'index.html'}")


def require_the_same(result: dict[str, Any], task: str) -> None:
    """Refuse a file in float that says something else than PyTorch.

    Raises:
        ValueError: with the difference.
    """
    difference, others = result["max_abs_difference"], result.get("other_durations", 0.0)
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
    from kd_lightning.experiment.finished import spoken_tokens
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
                else {"spelling": "characters", "language": config["corpus"]["language"]}
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
    return [{INPUT: waveform} for waveform in torch.cat(clips)[:count].split(CALIBRATION_BATCH)]


main = run_command(export, USAGE)

if __name__ == "__main__":
    main()
