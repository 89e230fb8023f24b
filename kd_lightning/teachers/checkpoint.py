"""Weights of a file that is no finished run: a Lightning checkpoint, a state dict, or safetensors.

Only tensors and primitives are ever read from a pickle.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from kd_lightning.teachers.finished_run import load_strictly

PREFIX = "student."


def load_checkpoint(model: nn.Module, path: Path) -> None:
    """Load a teacher's weights, strictly.

    Args:
        model: changed in place.
        path: ``.safetensors``, or what ``torch.save`` wrote: a state dict, or a checkpoint with one under
            ``state_dict``. Where there are names that begin with ``student.``, as in this project's checkpoints, those
            alone are the model.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, holds something else than tensors by name, or another architecture.
    """
    if not path.is_file():
        raise FileNotFoundError(f"teacher.checkpoint={path} is not a file")
    state = _read(path)
    if any(name.startswith(PREFIX) for name in state):
        state = {name.removeprefix(PREFIX): t for name, t in state.items() if name.startswith(PREFIX)}
    load_strictly(model, state, path, "teacher.network and teacher.frontend describe")


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        try:
            return dict(load_file(path))
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is damaged or no safetensors file ({error})") from error
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a foreign file can fail in any way
        raise ValueError(
            f"{path} is damaged, or a pickle that would run code: give a state dict, which holds nothing but tensors "
            "(torch.save(model.state_dict(), path), or safetensors)"
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not state or not all(isinstance(t, Tensor) for t in state.values()):
        raise ValueError(f"{path} holds no state dict: tensors by name, at the top or under 'state_dict'")
    return {str(name): tensor for name, tensor in state.items()}
