"""Whether a file kept what its network could do, in the task's metric, and what to do where it did not."""

from __future__ import annotations

from typing import Any, NamedTuple


class Kept(NamedTuple):
    """How a task counts what a file lost.

    Attributes:
        metric: the key that decides.
        called: its name.
        unit: of a change, as it is shown.
        scale: by which a change is multiplied before it is shown.
        digits: behind the point, in that unit.
        worse: 1 where more is worse, -1 where less is.
        tolerance: loss, in the metric's own numbers, that a file of lower precision may cost.
    """

    metric: str
    called: str
    unit: str
    scale: float
    digits: int
    worse: int
    tolerance: float

    def written(self, value: float, bounds: list[float] | None = None, sign: str = "") -> str:
        """A value in this unit, without it, with its interval."""
        numbers = [f"{self.scale * each:{sign}.{self.digits}f}" for each in (value, *(bounds or ()))]
        return numbers[0] + (f" [{', '.join(numbers[1:])}]" if bounds else "")


KEPT = {
    "keyword": Kept("accuracy", "accuracy", "points", 100.0, 1, -1, 0.005),
    "recognition": Kept("wer", "WER", "points", 100.0, 1, 1, 0.005),
    "synthesis": Kept("mcd", "MCD", "dB", 1.0, 2, 1, 0.1),
    "vocoding": Kept("mcd", "MCD", "dB", 1.0, 2, 1, 0.1),
}
_QUANTISATION = (
    "train the student for it with quantisation=int8, in its distill or finetune stage, and export again"
)
_OTHER_CLIPS = "export precision=fp16, half the size of fp32, or calibrate on more clips (calibration_clips=)"


def lost(result: dict[str, Any], task: str) -> float:
    """What a file costs in the task's metric, in its own numbers: a gain is below 0.

    Args:
        result: of scoring the file.
        task: "keyword", "recognition", "synthesis" or "vocoding".
    """
    kept = KEPT[task]
    return float(kept.worse * result["metrics"][f"{kept.metric}_change"])


def verdict(result: dict[str, Any], task: str) -> str:
    """One sentence: what a file kept, or what it costs and what to do about that."""
    kept, precision = KEPT[task], result["precision"]
    key = f"{kept.metric}_change"
    change = kept.written(result["metrics"][key], result["intervals"].get(key), sign="+")
    allowed = f"{kept.scale * kept.tolerance:g} {kept.unit}"
    if lost(result, task) <= kept.tolerance:
        return f"{precision} keeps {kept.called} within {allowed} of PyTorch: {change} {kept.unit}"
    advice = {"int8": _QUANTISATION if task == "keyword" else _OTHER_CLIPS}.get(
        precision, "export precision=fp32"
    )
    return f"{precision} costs more than {allowed} of {kept.called}: {change} {kept.unit}; {advice}"
