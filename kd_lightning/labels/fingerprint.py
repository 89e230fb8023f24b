"""What stored labels follow from: they teach a run only where all of it is the same."""

import json
from typing import Any, NamedTuple

_NAMES = {
    "teacher": "teacher",
    "frontend": "frontend",
    "corpus": "corpus",
    "clips": "corpus",
    "classes": "set of classes",
    "augment": "augmentation",
    "augment.seed": "seed",
    "views": "number of views",
    "dtype": "precision",
    "top_k": "top-k",
    "taps": "choice of activations",
}


class Fingerprint(NamedTuple):
    """What the labels of a corpus follow from.

    Attributes:
        teacher: digest of the teacher's weights; a list for the members of an ensemble.
        frontend: settings of the teacher's features, likewise.
        corpus: digest of the training clips, their order and the background noise.
        clips: number of training clips.
        classes: names in the order of the logits.
        augment: settings of the augmentation with its seed; ``None`` for the clips as they are.
        views: number K of augmentations of a clip: views 0 to K - 1 are labelled.
        dtype: "float16" or "float32", of what is stored.
        top_k: how many of the largest log-probabilities are stored; ``None`` for all logits.
        taps: module paths in the teacher whose activations are stored too, sorted.
    """

    teacher: Any
    frontend: Any
    corpus: str
    clips: int
    classes: list[str]
    augment: dict[str, Any] | None
    views: int
    dtype: str
    top_k: int | None
    taps: list[str]

    def plain(self) -> dict[str, Any]:
        """As JSON would give it back."""
        return dict(json.loads(json.dumps(self._asdict())))


def other(stored: dict[str, Any], run: dict[str, Any]) -> str | None:
    """How stored labels differ from what a run has, field by field.

    Args:
        stored: fields of the store, from :meth:`Fingerprint.plain`.
        run: fields of the run that would read or write it.

    Returns:
        e.g. "another seed (augment.seed: 0 stored, 1 in this run)", ``None`` if they are the same.
    """
    before, now = _flat(stored), _flat(run)
    shown = {
        key: (_shown(before, key), _shown(now, key))
        for key in [*now, *(key for key in before if key not in now)]
    }
    lines = {
        key: f"{key}: {there} stored, {here} in this run"
        for key, (there, here) in shown.items()
        if there != here
    }
    if not lines:
        return None
    first = next(iter(lines))
    name = _NAMES.get(first) or _NAMES.get(first.partition(".")[0], first)
    return f"another {name} ({'; '.join(lines.values())})"


def _flat(fields: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _shown(flat: dict[str, Any], key: str) -> str:
    return json.dumps(flat[key]) if key in flat else "not set"
