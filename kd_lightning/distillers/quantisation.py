"""Quantisation-aware training: the student learns while it hears the rounding of its int8 export.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018.
What is rounded, and how, mirrors :mod:`kd_lightning.deploy.int8`:

* weights of convolutions and linear layers: symmetric, 255 steps, one scale an output channel, max |w| / 127. The
  export folds a BatchNorm into the convolution before it, which multiplies each channel's weights and so its scale by
  the same number: the integers stay as they were in training.
* activations that a convolution or a sum wrote, or that a product or a sum reads: asymmetric, 256 steps over a range
  that includes 0, one scale and zero point a tensor. They are rounded where they are read, when the BatchNorm and the
  ReLU that the export folds into what wrote them have passed.

Features, biases, logits, other normalisations and what happens inside attention stay in float, as they do in the file.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

from kd_lightning.models.waveform_model import KeywordOutput, WaveformModel

CONVOLUTIONS: tuple[Callable[..., Any], ...] = (torch.conv1d, torch.conv2d)
SUMS: tuple[Callable[..., Any], ...] = (torch.add, Tensor.add, Tensor.add_)
# Part of what wrote their input: an integer is clipped, or handed on.
CLIPS: tuple[Callable[..., Any], ...] = (
    *(functional.relu, functional.relu6, functional.hardtanh, torch.relu, Tensor.relu),
    functional.dropout,
)
# In float, but what they read may have been written in int8.
READERS: tuple[Callable[..., Any], ...] = (
    *(functional.batch_norm, functional.layer_norm, functional.hardswish, functional.silu, functional.gelu),
    *(torch.sigmoid, functional.hardsigmoid, torch.mean, Tensor.mean, functional.adaptive_avg_pool2d),
    *(Tensor.reshape, Tensor.view, Tensor.flatten, torch.flatten),
)


class Writer(Enum):
    """What wrote an activation that is int8 in the file and still float here."""

    CONVOLUTION = auto()
    OTHER = auto()


# A scale of a channel or an activation that is 0 everywhere.
TINY = torch.finfo(torch.float32).tiny
OTHERWISE = "computes otherwise in training than in evaluation: its int8 cannot be trained"


class FakeInt8(nn.Module):
    """Runs a keyword network as its int8 export will compute it, in float and differentiable.

    Gradients pass the rounding unchanged and are 0 where an activation left its range (the straight-through estimator,
    Bengio et al. 2013). The ranges are moving averages over training batches, kept in checkpoints and never exported:
    the export calibrates its own. The student's weights stay in float, under their own names.

    Args:
        averaging: weight of a new batch in the moving averages, once 1 / averaging batches have been seen; up to there
            all batches count the same.

    Attributes:
        ranges: (N, 2) float32, least and greatest value of each activation that is read, in the order of the reading.
        batches: () int64, training batches seen. Before the first, each batch is rounded over its own range.

    Raises:
        ValueError: ``averaging`` is not in (0, 1].
    """

    ranges: Tensor
    batches: Tensor

    def __init__(self, averaging: float = 0.01) -> None:
        super().__init__()
        if not 0 < averaging <= 1:
            raise ValueError(f"quantisation.averaging={averaging}: set it above 0 and up to 1")
        self.averaging = averaging
        self.register_buffer("ranges", torch.zeros(0, 2))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def size(self, model: WaveformModel) -> None:
        """Make room for the ranges of a model, before a checkpoint is loaded.

        Args:
            model: hears one dry batch in eval mode, and stays as it is.
        """
        modes = {part: part.training for part in model.modules()}
        model.eval()
        with torch.no_grad():
            features = model.frontend(torch.zeros(2, model.frontend.sample_rate))
            with _Rounding(lambda position, activation: span(activation)) as rounding:
                model.classify(features)
        for part, training in modes.items():
            part.training = training
        self.ranges = torch.zeros(rounding.reads, 2)

    def forward(self, model: WaveformModel, features: Tensor) -> KeywordOutput:
        """What the model's network says of features (B, bins, frames), rounded.

        While the model is in train mode, the ranges follow.

        Raises:
            RuntimeError: the network does not read as often as in the dry batch.
        """
        unknown = not model.training and not self.batches
        share = (1 / (self.batches + 1)).clamp(min=self.averaging)

        def known(position: int, activation: Tensor) -> Tensor:
            if position == len(self.ranges):
                raise RuntimeError(f"{type(model.network).__name__} {OTHERWISE}")
            if unknown:
                return span(activation)
            if model.training:
                self.ranges[position].lerp_(span(activation), share)
            return self.ranges[position]

        with _Rounding(known) as rounding:
            output = model.classify(features)
        if rounding.reads < len(self.ranges):
            raise RuntimeError(f"{type(model.network).__name__} {OTHERWISE}")
        if model.training:
            self.batches += 1
        return output


class _Rounding(TorchFunctionMode):
    """Rounds what the file holds in int8, where it is read, while the ``with`` block runs.

    Args:
        range_of: ``(position, activation) -> (2,)``, the range to round the n-th activation over.

    Attributes:
        reads: activations rounded so far.
    """

    def __init__(self, range_of: Callable[[int, Tensor], Tensor]) -> None:
        super().__init__()
        self.range_of = range_of
        self.reads = 0
        self.writers = WeakIdKeyDictionary()

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        call = functools.partial(function, **(kwargs or {}))
        if function in CONVOLUTIONS:
            return self._write(call(*self._product(args)), Writer.CONVOLUTION)
        if function is functional.linear:
            # Its 32 bits become float in the same kernel.
            return call(*self._product(args))
        if function in SUMS and all(map(_is_activation, args[:2])):
            total = torch.add(*map(self._read, args[:2]), *args[2:], **(kwargs or {}))
            return self._write(args[0].copy_(total) if function is Tensor.add_ else total, Writer.OTHER)
        writer = self.writers.get(args[0]) if function in (*CLIPS, *READERS) else None
        if writer is None:
            return call(*args)
        if function in CLIPS or (function is functional.batch_norm and writer is Writer.CONVOLUTION):
            return self._write(call(*args), Writer.OTHER)
        return call(self._read(args[0]), *args[1:])

    def _product(self, args: Any) -> list[Any]:
        activation, weight, *further = args
        return [self._read(activation), rounded_weight(weight), *further]

    def _write(self, activation: Tensor, writer: Writer) -> Tensor:
        self.writers[activation] = writer
        return activation

    def _read(self, activation: Tensor) -> Tensor:
        self.reads += 1
        return rounded_activation(activation, self.range_of(self.reads - 1, activation))


def span(activation: Tensor) -> Tensor:
    """Least and greatest value of a tensor: (2,) float32."""
    return torch.stack(activation.detach().aminmax()).float()


def rounded_weight(weight: Tensor) -> Tensor:
    """w_c -> s_c clamp(round(w_c / s_c), -127, 127) with s_c = max |w_c| / 127 for each output channel c.

    Args:
        weight: (C, ...) of a convolution or a linear layer.
    """
    scale = (weight.detach().float().abs().flatten(1).amax(dim=1) / 127).clamp(min=TINY)
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight.float(), scale, zero, 0, -127, 127)


def rounded_activation(activation: Tensor, extremes: Tensor) -> Tensor:
    """x -> s (clamp(round(x / s) + z, 0, 255) - z) with s = (high - low) / 255 and z = round(-low / s).

    Args:
        activation: of any shape.
        extremes: (2,) float32 low and high; 0 is taken into the range, since it has to be exact: it pads.
    """
    low, high = extremes[0].clamp(max=0), extremes[1].clamp(min=0)
    scale = ((high - low) / 255).clamp(min=TINY)
    zero = (-low / scale).round().clamp(0, 255).to(torch.int32)
    return torch.fake_quantize_per_tensor_affine(activation.float(), scale, zero, 0, 255)


def _is_activation(operand: Any) -> bool:
    """Not a number, a bias or a counter, nor logits: with a distillation token they are summed in evaluation alone."""
    return isinstance(operand, Tensor) and not isinstance(operand, nn.Parameter) and operand.ndim > 2
