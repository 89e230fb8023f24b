"""Tiny acoustic networks for runs: the words that choose them, and a teacher that talks without having learnt to."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from untrained import untrained_run

from kd_lightning.experiment.build import build_corpus
from kd_lightning.experiment.finished import finished_model
from kd_lightning.labels.format import Unit
from kd_lightning.teachers.finished_run import WEIGHTS

_DECODER = (
    *("encoder_width=16", "encoder_layers=1", "prenet_width=16", "attention_width=16", "attention_space=8"),
    *("location_filters=4", "decoder_width=16", "postnet_width=8", "postnet_layers=2"),
    "max_frames_per_token=3",
)
TACOTRON_TEACHER = ("teacher=tacotron2_embedded", *(f"teacher.network.{size}" for size in _DECODER))
TACOTRON_STUDENT = (
    *("student=tacotron2_small", "distiller=synthesis_decoder"),
    *(f"student.network.{size}" for size in _DECODER),
)
FEED_FORWARD = (
    "student=feed_forward_small",
    *(
        f"student.network.{size}"
        for size in ("width=16", "inner=16", "encoder_layers=1", "decoder_layers=1", "predictor_width=8")
    ),
)


def talkative_run(folder: Path, *words: str) -> Path:
    """An untrained Tacotron 2 that says the sentences of its corpus at different lengths, and some without end.

    Args:
        folder: for the run.
        words: of an experiment with a decoder in the student's place.
    """
    run = untrained_run(folder, *words)
    state = load_file(run / WEIGHTS)
    for name, tensor in state.items():
        # What it says hangs more on what it has said.
        if any(
            part in name for part in ("rnn", "gate_layer.weight", "prenet", "memory_layer", "query_layer")
        ):
            tensor.mul_(3.0)
    bias = state["network.decoder.gate_layer.bias"]
    bias.fill_(-1e4)
    save_file(state, run / WEIGHTS)
    model, config = finished_model(run)
    datamodule = build_corpus(config)
    (batch,) = datamodule.views_dataloader([Unit(0, 0, datamodule.train_size)], 1e4)
    with torch.no_grad():
        over = model(batch.sentences).stop_logits - bias  # type: ignore[arg-type]
    thresholds = torch.linspace(float(over.min()), float(over.max()), 1000).tolist()
    bias.fill_(-max(thresholds, key=lambda threshold: _lengths(over > threshold)))
    save_file(state, run / WEIGHTS)
    return run


def _lengths(stops: Tensor) -> int:
    """How many different lengths come of stopping (B, S) so; none if all or no sentences end."""
    ended = stops.any(dim=1)
    lengths = stops.int().argmax(dim=1)[ended].unique()
    return len(lengths) if len(ended) // 2 <= int(ended.sum()) < len(ended) else 0
