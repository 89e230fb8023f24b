"""Student -> deployable file, scored again after export: ``python -m kd_lightning.export run=runs/a/finetune``."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, NamedTuple

from kd_lightning.experiment.command import existing_folder, run_command
from kd_lightning.experiment.compose import STAGES

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

CALIBRATION_CLIPS = {"keyword": 512, "recognition": 128, "synthesis": 128, "vocoding": 128}


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
        tuple(CALIBRATION_CLIPS),
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
    from kd_lightning.exporting import (
        require_sound,
        scored,
        scored_litert,
        training_clips,
        write_companions,
        write_litert,
        write_onnx,
    )
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


main = run_command(export, USAGE)

if __name__ == "__main__":
    main()
