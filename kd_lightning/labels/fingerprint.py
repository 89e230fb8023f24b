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
    "frame_dims": "choice of activations",
    "logits": "kind",
    "decoding": "way to decode",
}


class Fingerprint(NamedTuple):
    """What the labels of a corpus follow from.

    Attributes:
        teacher: digest of the teacher's weights; a list for the members of an ensemble.
        frontend: settings of the teacher's features, likewise.
        corpus: digest of the training clips, their order and the background noise.
        clips: number of training clips.
        classes: names in the order of the logits; of frames, the teacher's tokens.
        augment: settings of the augmentation with its seed; ``None`` for the clips as they are.
        views: number K of augmentations of a clip: views 0 to K - 1 are labelled.
        dtype: "float16" or "float32", of what is stored.
        top_k: how many of the largest log-probabilities are stored; ``None`` for all logits.
        taps: module paths in the teacher whose activations are stored too, sorted.
        frame_dims: of utterances, the dimension of the frames in each of these activations: 1 or -1.
        logits: of utterances, whether what is said of their frames is stored; ``None`` for clips, whose logits always
            are.
        decoding: of utterances, how their hypotheses were found; ``None`` where none are stored.
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
    frame_dims: dict[str, int] | None = None
    logits: bool | None = None
    decoding: dict[str, Any] | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON would give it back; without what clips do not have."""
        fields = self._asdict()
        for name in self._field_defaults:
            if fields[name] is None:
                del fields[name]
        return dict(json.loads(json.dumps(fields)))

    def unread(self, stored: dict[str, Any]) -> set[str]:
        """Fields in which a store may differ from this run: it holds more than the run reads.

        Args:
            stored: fields of the store, from :meth:`plain`.
        """
        unread: set[str] = set()
        dims, stored_dims = self.frame_dims or {}, stored.get("frame_dims") or {}
        if all(path in stored["taps"] and dims.get(path) == stored_dims.get(path) for path in self.taps):
            unread |= {"taps", "frame_dims"}
        if self.logits is False:
            unread |= {"logits", "classes", "top_k"}
            if self.decoding is not None and not self.taps:  # nothing but text is read
                unread |= {"dtype"}
        if self.decoding is None:
            unread |= {"decoding"}
        return unread


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
