"""What an exported file does on the test set, beside the PyTorch network that it was made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from kd_lightning.decoding.greedy import greedy
from kd_lightning.deploy.difference import greatest
from kd_lightning.deploy.onnx_file import INPUT, LOG_PROBABILITIES, SCORES
from kd_lightning.frontend.text import scoring_form
from kd_lightning.frontend.tokens import decoder_of
from kd_lightning.metrics import efficiency
from kd_lightning.metrics.classification import keyword_metrics
from kd_lightning.metrics.intervals import interval, paired_difference
from kd_lightning.metrics.scores import error_rate_intervals
from kd_lightning.metrics.word_errors import WordErrors, rate_difference, word_edits
from kd_lightning.models.recogniser import Recogniser
from kd_lightning.models.waveform_model import WaveformModel


class Session(Protocol):
    """A file, opened by its runtime."""

    def run(self, names: Sequence[str] | None, fed: Mapping[str, np.ndarray], /) -> list[np.ndarray]:
        """The outputs of these names, or all, of inputs by name."""


def one_thread(path: Path) -> Session:
    """The file in ONNX Runtime on one thread of the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def costs(path: Path, session: Session, inputs: Mapping[str, Tensor], seconds: float) -> dict[str, Any]:
    """What a file costs: ``size_bytes``, and ``latency_ms`` and ``real_time_factor`` of so many ``clip_seconds``.

    Args:
        path: of the file.
        session: it, on one thread.
        inputs: what it is timed on, by name.
        seconds: of audio that it hears or says then.
    """
    fed = {name: tensor.numpy() for name, tensor in inputs.items()}
    latency = efficiency.latency(lambda: session.run(None, fed))
    return {
        "size_bytes": path.stat().st_size,
        "clip_seconds": seconds,
        "latency_ms": latency._asdict(),
        "real_time_factor": efficiency.real_time_factor(latency.p50, seconds),
    }


def costs_of_a_clip(path: Path, session: Session, datamodule: Any) -> dict[str, Any]:
    """:func:`costs` of a file that hears, of a clip as long as the corpus says."""
    samples: int = datamodule.clip_samples
    return costs(path, session, {INPUT: torch.zeros(1, samples)}, samples / datamodule.sample_rate)


def test_batches(datamodule: Any) -> Iterable[Any]:
    """The test set; of two corpora the sentences, as a file of both tasks spots no keywords."""
    loaders = datamodule.test_dataloader()
    return loaders[0] if isinstance(loaders, list) else loaders


def require_same_cuts(run: Path, datamodule: Any) -> None:
    """Refuse a test set that the run was not tested on: card and report show both numbers side by side.

    Args:
        run: the run's folder; one that keeps no predictions has no numbers to stand beside.
        datamodule: the corpus, set up for testing; where it lies does not matter.

    Raises:
        ValueError: the cuts differ.
    """
    path = run / "predictions.jsonl"
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as lines:
        own = {json.loads(line)["cut"] for line in lines}
    cuts = {cut for batch in test_batches(datamodule) for cut in batch.ids}
    if cuts != own:
        raise ValueError(
            f"{run} was tested on {len(own)} cuts, and this corpus has {len(cuts)} test cuts, {len(cuts & own)} of "
            "them the same: nothing was written; leave out what changes the corpus, or score another one with "
            "python -m kd_lightning.evaluate"
        )


def score_keywords(
    path: Path, model: WaveformModel, datamodule: Any, opened: Callable[[Path], Session] = one_thread
) -> dict[str, Any]:
    """Score a file on the test set and time it on one clip.

    Args:
        path: a file of :mod:`kd_lightning.deploy.onnx_file`, or what ``opened`` opens.
        model: the network in float that it was made of, in eval mode.
        datamodule: the corpus, set up for testing.
        opened: opens the file on one thread.

    Returns:
        :func:`costs`; ``metrics`` as in a run's metrics.json and ``accuracy_change``, the file's accuracy less the
        network's; 95 % ``intervals`` of both, clustered by speaker; ``max_abs_difference`` of a class score.
    """
    session = opened(path)
    metrics = keyword_metrics(len(datamodule.classes))
    right: list[tuple[float, float]] = []
    speakers: list[str] = []
    difference = 0.0
    for batch in datamodule.test_dataloader():
        with torch.no_grad():
            expected = model(batch.waveform).logits.softmax(dim=1)
        scores = torch.from_numpy(session.run([SCORES], {INPUT: batch.waveform.numpy()})[0])
        difference = greatest(difference, scores - expected)
        metrics.update(scores, batch.labels)
        columns = [(each.argmax(dim=1) == batch.labels).float() for each in (scores, expected)]
        right += zip(*(column.tolist() for column in columns), strict=True)
        speakers += batch.speakers
    of_file, of_network = np.array(right).T
    change = paired_difference(of_file, of_network, speakers)
    return {
        **costs_of_a_clip(path, session, datamodule),
        "metrics": {key: float(value) for key, value in metrics.compute().items()}
        | {"accuracy_change": change.value},
        "intervals": {
            "accuracy": list(interval(of_file, speakers)),
            "accuracy_change": [change.low, change.high],
        },
        "max_abs_difference": difference,
    }


@torch.no_grad()
def score_recognition(
    path: Path, model: Recogniser, datamodule: Any, pieces: Sequence[str]
) -> dict[str, Any]:
    """Recognise the test set with a file, an utterance at a time, and time it on one of the usual length.

    Args:
        path: a file of :mod:`kd_lightning.deploy.onnx_file`.
        model: the network in float that it was made of, in eval mode.
        datamodule: the corpus, set up for testing.
        pieces: names of the network's tokens.

    Returns:
        :func:`costs`; ``metrics`` as in a run's metrics.json and ``wer_change``, the file's word error rate less the
        network's; 95 % ``intervals`` of the rates and the change, clustered by speaker; ``max_abs_difference`` of a
        token's probability.
    """
    session, read = one_thread(path), decoder_of(pieces)
    metrics = WordErrors(datamodule.language)
    lines: list[dict[str, str]] = []
    of_network: list[str] = []
    difference = 0.0
    for batch in test_batches(datamodule):
        columns = (batch.waveform, batch.samples.tolist(), batch.texts, batch.speakers)
        for waveform, samples, text, speaker in zip(*columns, strict=True):
            utterance = waveform[None, :samples]
            logits = model(utterance).logits
            assert logits is not None
            expected = logits.log_softmax(dim=2)
            scores = torch.from_numpy(session.run([LOG_PROBABILITIES], {INPUT: utterance.numpy()})[0])
            difference = greatest(difference, scores.exp() - expected.exp())
            frames = torch.tensor([scores.shape[1]])
            heard, other = (
                scoring_form(read(greedy(each, frames)[0].tokens), datamodule.language)
                for each in (scores, expected)
            )
            metrics.update([text], [heard])
            reference = scoring_form(text, datamodule.language)
            lines.append({"reference": reference, "output": heard, "speaker": speaker})
            of_network.append(other)
    references, outputs, speakers = (
        [line[key] for line in lines] for key in ("reference", "output", "speaker")
    )
    change = rate_difference(word_edits(references, outputs), word_edits(references, of_network), speakers)
    return {
        **costs_of_a_clip(path, session, datamodule),
        "metrics": {key: float(value) for key, value in metrics.compute().items()}
        | {"wer_change": change.value},
        "intervals": error_rate_intervals(lines) | {"wer_change": [change.low, change.high]},
        "max_abs_difference": difference,
    }
