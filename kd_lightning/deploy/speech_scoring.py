"""What an exported file that speaks does on the test set, beside the PyTorch network that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kd_lightning.deploy.acoustic_file import AcousticFile, acoustic_inputs
from kd_lightning.deploy.scoring import costs, one_thread
from kd_lightning.deploy.vocoder_file import VocoderFile, vocoder_inputs
from kd_lightning.metrics.scores import mean_intervals
from kd_lightning.models.acoustic_model import AcousticModel
from kd_lightning.models.vocoder import Vocoder


class Tested(NamedTuple):
    """A test of a network, on the CPU.

    Attributes:
        metrics: by key.
        intervals: 95 %, by key.
        predictions: the lines of ``predictions.jsonl``.
        example: the arguments that the network's costs are measured on.
        seconds: of audio that it says then.
    """

    metrics: dict[str, float]
    intervals: dict[str, list[float]]
    predictions: Sequence[dict[str, Any]]
    example: tuple[Any, ...]
    seconds: float


def score_speech(
    path: Path, model: AcousticModel | Vocoder, test: Callable[[AcousticModel | Vocoder], Tested]
) -> dict[str, Any]:
    """Score a file as its network is scored, in the network's place, and time it.

    Args:
        path: of the file.
        model: the network in float that it was made of, in eval mode.
        test: scores a network on the test set.

    Returns:
        :func:`~kd_lightning.deploy.scoring.costs`; ``metrics`` as in a run's metrics.json and ``mcd_change``, the
        file's mel-cepstral distortion less the network's, with 95 % ``intervals``; ``max_abs_difference`` of a value;
        of an acoustic network ``other_durations``, the share of the tokens that last longer or shorter.
    """
    session = one_thread(path)
    of_network = test(model).predictions
    file: AcousticFile | VocoderFile
    if isinstance(model, AcousticModel):
        file = AcousticFile(session, model)
        tested = test(AcousticModel(model.frontend, file))
        inputs = next(acoustic_inputs(model, *tested.example))
        durations = {"other_durations": file.other_durations}
    else:
        file, durations = VocoderFile(session, model), {}
        tested = test(Vocoder(model.frontend, file))
        inputs = vocoder_inputs(model, *tested.example)
    changes = [
        ours | {"metrics": {"mcd_change": ours["score"] - theirs["score"]}}
        for ours, theirs in zip(tested.predictions, of_network, strict=True)
    ]
    change = sum(line["metrics"]["mcd_change"] for line in changes) / len(changes)
    return {
        **costs(path, session, inputs, tested.seconds),
        "metrics": tested.metrics | {"mcd_change": change},
        "intervals": tested.intervals | mean_intervals(changes),
        "max_abs_difference": file.max_abs_difference,
        **durations,
    }
