"""What an exported file does on the test set, beside the PyTorch network that it was made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from kd_lightning.deploy.onnx_file import INPUT, OUTPUT
from kd_lightning.metrics import efficiency
from kd_lightning.metrics.classification import keyword_metrics
from kd_lightning.metrics.intervals import interval, paired_difference
from kd_lightning.models.waveform_model import WaveformModel


def one_thread(path: Path) -> onnxruntime.InferenceSession:
    """The file in ONNX Runtime on one thread of the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def score(path: Path, model: WaveformModel, datamodule: Any) -> dict[str, Any]:
    """Score a file on the test set and time it on one clip.

    Args:
        path: a file of :mod:`kd_lightning.deploy.onnx_file`.
        model: the network in float that it was made of, in eval mode.
        datamodule: the corpus, set up for testing.

    Returns:
        ``size_bytes``, ``latency_ms`` and ``real_time_factor`` of one clip; ``metrics`` as in a run's metrics.json and
        ``accuracy_change``, the file's accuracy less the network's; 95 % ``intervals`` of both, clustered by speaker;
        ``max_abs_difference`` of a class score.
    """
    session = one_thread(path)
    metrics = keyword_metrics(len(datamodule.classes))
    right: list[tuple[float, float]] = []
    speakers: list[str] = []
    difference = 0.0
    for batch in datamodule.test_dataloader():
        with torch.no_grad():
            expected = model(batch.waveform).logits.softmax(dim=1)
        scores = torch.from_numpy(session.run([OUTPUT], {INPUT: batch.waveform.numpy()})[0])
        difference = max(difference, float((scores - expected).abs().max()))
        metrics.update(scores, batch.labels)
        columns = [(each.argmax(dim=1) == batch.labels).float() for each in (scores, expected)]
        right += zip(*(column.tolist() for column in columns), strict=True)
        speakers += batch.speakers
    of_file, of_network = np.array(right).T
    change = paired_difference(of_file, of_network, speakers)
    clip = np.zeros((1, datamodule.clip_samples), np.float32)
    latency = efficiency.latency(lambda: session.run([OUTPUT], {INPUT: clip}))
    return {
        "size_bytes": path.stat().st_size,
        "latency_ms": latency._asdict(),
        "real_time_factor": efficiency.real_time_factor(
            latency.p50, datamodule.clip_samples / datamodule.sample_rate
        ),
        "metrics": {key: float(value) for key, value in metrics.compute().items()}
        | {"accuracy_change": change.value},
        "intervals": {
            "accuracy": list(interval(of_file, speakers)),
            "accuracy_change": [change.low, change.high],
        },
        "max_abs_difference": difference,
    }
