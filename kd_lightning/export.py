"""Student -> deployable file, scored again after export: ``python -m kd_lightning.export run=runs/a/finetune``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_lightning.experiment.command import existing_folder, run_command

if TYPE_CHECKING:
    from kd_lightning.experiment.finished import Evaluation

USAGE = """usage: python -m kd_lightning.export run=<folder> [format=onnx] [precision=fp32] [key=value ...]

Writes a finished run's network with its frontend inside (waveform in, class scores out) to <run>/deploy/, compares it
with PyTorch on the test set and scores it there in ONNX Runtime. Further words change the run's config."""

# Largest difference of a class score between PyTorch and ONNX Runtime that passes for rounding.
TOLERANCE = 1e-3


def export(words: dict[str, Any]) -> None:
    """Export ``run=``, check it, score it, and write ``deploy/<format>_<precision>.json`` for the report."""
    run = existing_folder(words, "run")
    form, precision = words.pop("format", "onnx"), words.pop("precision", "fp32")
    if (form, precision) != ("onnx", "fp32"):
        raise ValueError(
            f"format={form} precision={precision}: what can be exported is format=onnx precision=fp32"
        )
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(f"{error.name} is missing: pip install 'kd_lightning[export]'") from error

    import json

    from kd_lightning.experiment.finished import build_evaluation
    from kd_lightning.files import whole, write
    from kd_lightning.reports.page import write_report

    evaluation = build_evaluation(run, words)
    path = run / "deploy" / f"network_{precision}.onnx"
    with whole(path) as beside:
        write_onnx(evaluation, beside)
        result = {"format": form, "precision": precision, "file": path.name, **score_onnx(evaluation, beside)}
        if result["max_abs_difference"] > TOLERANCE:
            raise ValueError(
                f"the exported network differs from PyTorch by {result['max_abs_difference']:.2g} in a class score, "
                f"above {TOLERANCE:g}: nothing was written"
            )
    write(run / "deploy" / f"{form}_{precision}.json", json.dumps(result, indent=2) + "\n")
    print(
        f"{path}: {result['size_bytes']:,} bytes, accuracy {result['metrics']['accuracy']:.4f}, "
        f"p50 {result['latency_ms']['p50']:.2f} ms, at most {result['max_abs_difference']:.1e} from PyTorch"
    )
    if (run.parent / "report").is_dir():
        print(f"now in the report: {write_report(run.parent) / 'index.html'}")


def write_onnx(evaluation: Evaluation, path: Path) -> None:
    """Export with a dynamic batch: ``waveform`` (B, T) float32 in [-1, 1] -> ``scores`` (B, C), summing to 1.

    The file's metadata says the classes and the sample rate.
    """
    import json

    import onnx
    import torch
    from torch import Tensor, nn

    class Scores(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = evaluation.model

        def forward(self, waveform: Tensor) -> Tensor:
            return self.model(waveform).logits.softmax(dim=1)

    # A batch of two: the exporter would take a batch of one for a constant.
    example = torch.randn(2, evaluation.datamodule.clip_samples) * 0.1
    program = torch.onnx.export(
        Scores().eval(),
        (example,),
        dynamo=True,
        input_names=["waveform"],
        output_names=["scores"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None
    program.save(str(path), external_data=False)
    model = onnx.load(str(path))
    onnx.helper.set_model_props(
        model,
        {"classes": json.dumps(evaluation.classes), "sample_rate": str(evaluation.datamodule.sample_rate)},
    )
    onnx.save(model, str(path))


def score_onnx(evaluation: Evaluation, path: Path) -> dict[str, Any]:
    """What the exported file does on the test set, on one thread of ONNX Runtime."""
    import numpy as np
    import onnxruntime
    import torch

    from kd_lightning.metrics import efficiency
    from kd_lightning.metrics.classification import keyword_metrics
    from kd_lightning.metrics.scores import accuracy_interval

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    metrics = keyword_metrics(len(evaluation.classes))
    lines: list[dict[str, Any]] = []
    difference = 0.0
    for batch in evaluation.datamodule.test_dataloader():
        with torch.no_grad():
            expected = evaluation.model(batch.waveform).logits.softmax(dim=1)
        scores = torch.from_numpy(session.run(["scores"], {"waveform": batch.waveform.numpy()})[0])
        difference = max(difference, float((scores - expected).abs().max()))
        metrics.update(scores, batch.labels)
        columns = (batch.labels.tolist(), scores.argmax(dim=1).tolist(), batch.speakers)
        lines += [{"reference": r, "output": o, "speaker": s} for r, o, s in zip(*columns, strict=True)]
    clip = np.zeros((1, evaluation.datamodule.clip_samples), np.float32)
    latency = efficiency.latency(lambda: session.run(["scores"], {"waveform": clip}))
    seconds = evaluation.datamodule.clip_samples / evaluation.datamodule.sample_rate
    return {
        "size_bytes": path.stat().st_size,
        "latency_ms": latency._asdict(),
        "real_time_factor": efficiency.real_time_factor(latency.p50, seconds),
        "metrics": {key: float(value) for key, value in metrics.compute().items()},
        "intervals": {"accuracy": accuracy_interval(lines)},
        "max_abs_difference": difference,
    }


main = run_command(export, USAGE)

if __name__ == "__main__":
    main()
