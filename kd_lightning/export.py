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

Writes a finished run's network with its frontend inside to <run>/deploy/, compares it with PyTorch on the test set and
scores it there in ONNX Runtime. A keyword spotter takes waveforms of one second and gives class scores; a recogniser
with a CTC layer takes a waveform of any length and gives log-probabilities of its tokens for each frame.
int8 rounds the network, not its frontend, calibrated on calibration_clips=512 clips (128 utterances) of the training
split. Further words change the run's config."""

# Largest difference of a probability between PyTorch and ONNX Runtime that passes for rounding of floats.
TOLERANCE = 1e-3
# Accuracy that int8 may cost before it is worth training for.
HALF_A_POINT = 0.005
CALIBRATION_CLIPS = {"keyword": 512, "recognition": 128}
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

    import json

    from kd_lightning.deploy.int8 import to_int8
    from kd_lightning.deploy.onnx_file import save, to_onnx
    from kd_lightning.experiment.finished import build_evaluation
    from kd_lightning.files import whole, write
    from kd_lightning.reports.page import write_report

    evaluation = build_evaluation(run, words)
    exported = to_onnx(evaluation.model, evaluation.datamodule.clip_samples)
    if precision == "int8":
        clips = clips or CALIBRATION_CLIPS[evaluation.task]
        exported = to_int8(exported, training_clips(evaluation, clips))
    path = run / "deploy" / f"network_{precision}.onnx"
    with whole(path) as beside:
        save(exported, beside, evaluation.classes, evaluation.datamodule.sample_rate, **timing(evaluation))
        result = {"format": form, "precision": precision, "file": path.name, **scored(beside, evaluation)}
        if precision == "fp32" and result["max_abs_difference"] > TOLERANCE:
            raise ValueError(
                f"the exported network differs from PyTorch by {result['max_abs_difference']:.2g} in a probability, "
                f"above {TOLERANCE:g}: nothing was written"
            )
    write(run / "deploy" / f"{form}_{precision}.json", json.dumps(result, indent=2) + "\n")
    key = "accuracy" if evaluation.task == "keyword" else "wer"
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


def scored(path: Path, evaluation: Evaluation) -> dict[str, Any]:
    """What the file does on the test set."""
    from kd_lightning.deploy.scoring import score_keywords, score_recognition
    from kd_lightning.models.recogniser import Recogniser

    model, datamodule = evaluation.model, evaluation.datamodule
    if isinstance(model, Recogniser):
        return score_recognition(path, model, datamodule, evaluation.classes)
    return score_keywords(path, model, datamodule)


def timing(evaluation: Evaluation) -> dict[str, float]:
    """What the file says of the time between two frames of its output, where it has several."""
    from kd_lightning.models.recogniser import Recogniser

    model = evaluation.model
    return {"seconds_per_frame": model.seconds_per_frame} if isinstance(model, Recogniser) else {}


def training_clips(evaluation: Evaluation, count: int) -> list[Tensor]:
    """Batches of waveforms (B, T), up to ``count`` clips of the training split in the order that the seed draws.

    They are not augmented: noise and speed widen the ranges beyond what the network hears in use. Utterances are each
    a batch of their own, as a recogniser's file takes them.

    Raises:
        ValueError: a class has no training clip, or no training utterance is left.
    """
    import torch
    from pytorch_lightning import LightningDataModule

    from kd_lightning.experiment.finished import unhidden
    from kd_lightning.experiment.targets import build

    corpus = unhidden(evaluation.config, evaluation.classes) | {"augment": None}
    datamodule = build(corpus, LightningDataModule)
    datamodule.prepare_data()
    datamodule.setup("fit")
    batches = datamodule.train_dataloader()
    if evaluation.task == "recognition":
        utterances = (
            waveform[None, :samples]
            for batch in batches
            for waveform, samples in zip(batch.waveform, batch.samples.tolist(), strict=True)
        )
        return list(islice(utterances, count))
    clips = [batch.waveform for batch in islice(batches, ceil(count / corpus["batch_size"]))]
    return list(torch.cat(clips)[:count].split(CALIBRATION_BATCH))


main = run_command(export, USAGE)

if __name__ == "__main__":
    main()
