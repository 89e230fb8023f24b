"""How well a keyword spotter classifies, from counts that are summed over batches and ranks."""

from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)

from kd_lightning.losses.labels import IGNORE

CALIBRATION_BINS = 15


def keyword_metrics(classes: int) -> MetricCollection:
    """Accuracy, macro precision, recall and F1, and the expected calibration error (Guo et al. 2017).

    Update with `(probabilities (B, C) float32, labels (B,) int64)`: softmax outputs, not logits (torchmetrics
    takes logits that happen to lie in [0, 1] for probabilities). Hidden labels do not count. A class that is
    neither spoken nor recognised is left out of the macro averages.

    Args:
        classes: number of classes C, at least 2.

    Returns:
        A collection with keys `accuracy`, `precision`, `recall`, `f1`, `ece`, each in [0, 1].
    """
    return MetricCollection(
        {
            "accuracy": MulticlassAccuracy(classes, average="micro", ignore_index=IGNORE),
            "precision": MulticlassPrecision(classes, average="macro", ignore_index=IGNORE),
            "recall": MulticlassRecall(classes, average="macro", ignore_index=IGNORE),
            "f1": MulticlassF1Score(classes, average="macro", ignore_index=IGNORE),
            "ece": MulticlassCalibrationError(
                classes, n_bins=CALIBRATION_BINS, norm="l1", ignore_index=IGNORE
            ),
        },
    )
