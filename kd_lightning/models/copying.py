"""Start a student from its teacher's weights: same names, spaced layers, or channel slices.

Each function changes the student in place, only after everything was checked, and says how much it copied.
BatchNorm statistics travel with the weights they belong to.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Copied(NamedTuple):
    """How much of a student came from its teacher.

    Attributes:
        tensors: weights and statistics that were copied.
        parameters: trainable numbers among them.
        total: trainable numbers of the student.
    """

    tensors: int
    parameters: int
    total: int

    @property
    def summary(self) -> str:
        """One line for the report."""
        share = self.parameters / self.total
        return (
            f"{self.tensors} tensors copied from the teacher: "
            f"{self.parameters:,} of {self.total:,} parameters ({share:.0%})"
        )


def same_names(student: nn.Module, teacher: nn.Module) -> Copied:
    """Copy every tensor that has the same name and shape in both.

    Args:
        student: changed in place.
        teacher: read only.

    Returns:
        What was copied.

    Raises:
        ValueError: if no weight agrees in name and shape.
    """
    source = teacher.state_dict()
    return _copy(student, _agreeing(student, source), "weights of the same name and shape")


def spaced_layers(student: nn.Module, teacher: nn.Module, layers: str) -> Copied:
    """Copy maximally spaced layers of a deeper teacher, and all else as :func:`same_names`.

    Student layer i of S takes teacher layer round(i (T - 1) / (S - 1)) of T, so the first and last are kept
    (Shleifer & Rush 2020, "Pre-trained Summarization Distillation"; Gandhi et al. 2023, "Distil-Whisper"). A
    student of one layer takes the first.

    Args:
        student: changed in place.
        teacher: read only.
        layers: path of the list of layers in both, an ``nn.ModuleList`` or ``nn.Sequential``: "blocks".

    Returns:
        What was copied.

    Raises:
        ValueError: if the path is not a list of layers in both, the student has more layers than the teacher,
            or two layers to be matched differ in their tensors.
    """
    ours, theirs = _layers(student, layers, "student"), _layers(teacher, layers, "teacher")
    if len(ours) > len(theirs):
        raise ValueError(
            f"the student has {len(ours)} {layers!r} and the teacher only {len(theirs)}: "
            "spaced layers need a student that is no deeper than its teacher"
        )
    source = {
        name: tensor for name, tensor in teacher.state_dict().items() if not name.startswith(f"{layers}.")
    }
    for index, layer in enumerate(ours):
        chosen = round(index * (len(theirs) - 1) / max(len(ours) - 1, 1))
        wanted, offered = _shapes(layer), _shapes(theirs[chosen])
        if wanted != offered:
            raise ValueError(
                f"student layer {layers}.{index} and teacher layer {layers}.{chosen} do not match: "
                f"{_first_difference(wanted, offered)}. Use a student with layers of the teacher's size"
            )
        for name, tensor in theirs[chosen].state_dict().items():
            source[f"{layers}.{index}.{name}"] = tensor
    return _copy(student, _agreeing(student, source), f"weights of {layers!r}")


def channel_slices(student: nn.Module, teacher: nn.Module) -> Copied:
    """Copy the leading channels of each tensor of a wider teacher of the same architecture.

    Args:
        student: changed in place; each of its tensors fits into the teacher's of the same name.
        teacher: read only.

    Returns:
        What was copied.

    Raises:
        ValueError: if a tensor of the student has no counterpart in the teacher that it fits into.
    """
    source = teacher.state_dict()
    slices: dict[str, Tensor] = {}
    for name, tensor in student.state_dict().items():
        if name not in source or not _fits(tensor.shape, source[name].shape):
            found = tuple(source[name].shape) if name in source else "nothing"
            raise ValueError(
                f"{name}: the student has {tuple(tensor.shape)} and the teacher {found}; "
                "channel slices need a wider teacher of the same architecture, depth and classes"
            )
        slices[name] = source[name][tuple(slice(size) for size in tensor.shape)]
    return _copy(student, slices, "weights")


def _copy(student: nn.Module, tensors: dict[str, Tensor], what: str) -> Copied:
    parameters = dict(student.named_parameters())
    copied = sum(parameter.numel() for name, parameter in parameters.items() if name in tensors)
    if copied == 0:
        raise ValueError(
            f"nothing to copy: {type(student).__name__} shares no {what} with the teacher; "
            "choose another way to start the student"
        )
    state = student.state_dict()
    with torch.no_grad():
        for name, tensor in tensors.items():
            state[name].copy_(tensor)
    counted = [name for name, tensor in tensors.items() if tensor.is_floating_point()]
    return Copied(len(counted), copied, sum(parameter.numel() for parameter in parameters.values()))


def _agreeing(student: nn.Module, source: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: source[name]
        for name, tensor in student.state_dict().items()
        if name in source and source[name].shape == tensor.shape
    }


def _layers(network: nn.Module, path: str, role: str) -> nn.ModuleList | nn.Sequential:
    module = dict(network.named_modules()).get(path)
    if not isinstance(module, nn.ModuleList | nn.Sequential) or len(module) == 0:
        lists = [
            name
            for name, candidate in network.named_modules()
            if name and isinstance(candidate, nn.ModuleList | nn.Sequential)
        ]
        raise ValueError(f"{path!r} is no list of layers of the {role}; it has {', '.join(lists) or 'none'}")
    return module


def _shapes(layer: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in layer.state_dict().items()}


def _first_difference(student: dict[str, tuple[int, ...]], teacher: dict[str, tuple[int, ...]]) -> str:
    name = next(name for name in [*student, *teacher] if student.get(name) != teacher.get(name))
    ours, theirs = student.get(name, "missing"), teacher.get(name, "missing")
    return f"{name} is {ours} in the student and {theirs} in the teacher"


def _fits(small: torch.Size, large: torch.Size) -> bool:
    return len(small) == len(large) and all(ours <= theirs for ours, theirs in zip(small, large, strict=True))
