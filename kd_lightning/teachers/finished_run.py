"""Weights of a finished run, checked against the network that its config describes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS = "network.safetensors"
_SHOWN = 8


def load_weights(model: nn.Module, run: Path) -> None:
    """Load ``network.safetensors`` of a run into the model that its config describes, strictly.

    Args:
        model: changed in place.
        run: a finished run's folder.

    Raises:
        FileNotFoundError: the run has not finished.
        ValueError: the file is damaged, or holds another architecture than the run's config.
    """
    path = run / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"{run} holds no {WEIGHTS}: finish that stage first, or name another run")
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged ({error}): train that stage again") from error
    load_strictly(model, state, path, f"{run / 'config.json'} describes")


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], path: Path, wanted: str) -> None:
    """Load weights that have to be those of this model: the same names, the same shapes.

    Args:
        model: changed in place, or not at all.
        state: tensors by name.
        path: where they come from, for the message.
        wanted: who says what the model is, for the message.

    Raises:
        ValueError: names the first tensor that differs.
    """
    own = model.state_dict()
    wrong = [
        f"{name} is {_shape(state, name)} in the file and {_shape(own, name)} in the config"
        for name in sorted(state.keys() | own.keys())
        if _shape(state, name) != _shape(own, name)
    ]
    if wrong:
        raise ValueError(
            f"{path} holds another network than {wanted}: {wrong[0]}"
            + (f", and {len(wrong) - 1} more" if len(wrong) > 1 else "")
        )
    model.load_state_dict(state)


def check_classes(run: Path, run_classes: list[str], classes: list[str]) -> None:
    """Refuse a run that answers other questions than the corpus asks.

    Args:
        run: for the message.
        run_classes: of the run, in the order of its scores: words, or the pieces of a recogniser's tokens.
        classes: of the corpus, likewise.

    Raises:
        ValueError: they are others, or in another order.
    """
    if run_classes != classes:
        missing = sorted(set(classes) - set(run_classes))
        extra = sorted(set(run_classes) - set(classes))
        order = "" if missing or extra else "the same classes in another order; "
        raise ValueError(
            f"{run} knows other classes than the corpus: {order}it lacks {some(missing)} and has {some(extra)} "
            "besides; train a run on these classes, or give the corpus the run's: corpus.words, or for tokens "
            f"corpus.spelling={run}"
        )


def check_rate(run: Path, run_rate: int, rate: int) -> None:
    """Refuse a run that hears another sample rate, in Hz, than the corpus has.

    Raises:
        ValueError: says both.
    """
    if run_rate != rate:
        raise ValueError(f"{run} hears {run_rate} Hz and the corpus has {rate} Hz")


def some(names: Sequence[str]) -> str:
    """Names for a message: the first of many."""
    if not names:
        return "none"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{list(names[:_SHOWN])}{more}"


def _shape(state: Mapping[str, Tensor], name: str) -> object:
    tensor = state.get(name)
    return "missing" if tensor is None else tuple(tensor.shape)
