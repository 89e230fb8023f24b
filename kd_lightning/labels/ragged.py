"""Rows of different length in one tensor: one after the other, beside the places where each begins and ends."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

OFFSETS = "offsets/"

# What is said of N cuts by name: a tensor (N, ...), or N tensors (n, ...) of different length.
Rows = Mapping[str, Tensor | Sequence[Tensor]]
Column = npt.NDArray[Any] | list[npt.NDArray[Any]]


def ordered(parts: Sequence[Rows], order: Sequence[int]) -> Rows:
    """The rows of several parts as one, in another order.

    Args:
        parts: each with the same names.
        order: the place, among the rows of all parts, of each row of the result.
    """
    together: dict[str, Tensor | Sequence[Tensor]] = {}
    for name in parts[0]:
        columns = [part[name] for part in parts]
        if isinstance(columns[0], Tensor):
            together[name] = torch.cat(columns)[list(order)]  # type: ignore[arg-type]
        else:
            every = [row for column in columns for row in column]
            together[name] = [every[place] for place in order]
    return together


def joined(rows: Rows) -> dict[str, Tensor]:
    """Rows as the tensors that are stored: of N of different length also N + 1 ``offsets/<name>``, int64."""
    stored: dict[str, Tensor] = {}
    for name, column in rows.items():
        if isinstance(column, Tensor):
            stored[name] = column
        else:
            stored[name] = torch.cat(list(column))
            stored[OFFSETS + name] = torch.tensor([0, *map(len, column)]).cumsum(0)
    return stored


def pick(stored: Mapping[str, npt.NDArray[Any]], name: str, rows: npt.NDArray[np.integer]) -> Column:
    """R of the rows that :func:`joined` put together: an array (R, ...), or a list of R views into the store."""
    column = stored[name]
    if OFFSETS + name not in stored:
        picked: npt.NDArray[Any] = column[rows]
        return picked
    offsets = stored[OFFSETS + name]
    return [column[offsets[row] : offsets[row + 1]] for row in rows.tolist()]


def padded(rows: Sequence[Tensor]) -> Tensor:
    """(R, longest, ...) of R tensors (n, ...), zero beyond each."""
    return pad_sequence(list(rows), batch_first=True)
