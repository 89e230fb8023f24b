"""What LiteRT has no operator for, said with those that it has, while a network is traced.

LiteRT's converter refuses complex numbers, and where a convolution over time is turned into one over a plane it leaves
the BatchNorm behind it as a multiplication and a sum. A spectrum becomes matrix products of real numbers here, and a
BatchNorm part of the convolution before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakIdKeyDictionary

CONVOLUTIONS: tuple[Callable[..., Any], ...] = (torch.conv1d, torch.conv2d)


class Spectrum(NamedTuple):
    """Real and imaginary part of a spectrum (B, bins, frames), where torch has complex numbers."""

    real: Tensor
    imag: Tensor


class LiteRTOperators(TorchFunctionMode):
    """Within this, ``torch.stft`` returns a :class:`Spectrum`, and BatchNorms of convolutions are folded into them."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = WeakIdKeyDictionary()  # the call, by what it returned

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if function is torch.stft:
            return spectrum(*args, **kwargs)
        if function is functional.batch_norm and args[0] in self.convolutions:
            return _folded(*self.convolutions[args[0]], *args[1:], **kwargs)
        result = function(*args, **kwargs)
        if function in CONVOLUTIONS:
            self.convolutions[result] = function, args
        return result


def spectrum(
    waveform: Tensor,
    n_fft: int,
    hop_length: int,
    win_length: int,
    window: Tensor,
    center: bool,
    pad_mode: str,
    **_: Any,
) -> Spectrum:
    """Short-time Fourier transform of real waveforms in real numbers; the arguments are ``torch.stft``'s.

    Cooley and Tukey's first step, by N = R * C with n = C * r + c and k = i + R * j:

        X[i + R j] = sum_c exp(-2πi c j / C) * ( exp(-2πi c i / N) * sum_r x[C r + c] exp(-2πi r i / R) )

    Two small matrix products and a table take the place of one product with an N x N matrix: of 512 samples 10 kB and
    50 thousand multiplications a frame instead of 1 MB and 260 thousand.

    Args:
        waveform: (B, T) float32.
        n_fft: N, a power of two.
    """
    if center:
        waveform = _padded(waveform, n_fft // 2, pad_mode)
    rows = 2 ** (int(math.log2(n_fft)) // 2)
    columns = n_fft // rows
    around = n_fft - win_length
    shape = functional.pad(window, (around // 2, around - around // 2))
    framed = (_framed(waveform, n_fft, hop_length) * shape).unflatten(2, (rows, columns)).transpose(2, 3)
    inner = _turns(rows, rows, rows)
    twiddles = _turns(columns, rows, n_fft)
    outer = _turns(columns, columns // 2 + 1, columns)
    part = Spectrum(framed @ inner.real, framed @ inner.imag)  # (B, frames, c, i)
    part = Spectrum(
        (part.real * twiddles.real - part.imag * twiddles.imag).transpose(2, 3),
        (part.real * twiddles.imag + part.imag * twiddles.real).transpose(2, 3),
    )
    part = Spectrum(
        part.real @ outer.real - part.imag @ outer.imag, part.real @ outer.imag + part.imag @ outer.real
    )  # (B, frames, i, j)
    bins = n_fft // 2 + 1
    return Spectrum(*(each.transpose(2, 3).flatten(2)[:, :, :bins].transpose(1, 2) for each in part))


def _padded(waveform: Tensor, samples: int, mode: str) -> Tensor:
    """Waveforms with so many samples more on both sides; reflected, LiteRT would look each of them up in a table."""
    if mode != "reflect":
        return functional.pad(waveform, (samples, samples), mode=mode)
    before, after = waveform[:, 1 : samples + 1].flip(1), waveform[:, -samples - 1 : -1].flip(1)
    return torch.cat([before, waveform, after], dim=1)


def _framed(waveform: Tensor, length: int, hop: int) -> Tensor:
    """Frames (B, frames, length), a hop apart, of whole blocks that hop and length have in common."""
    block = math.gcd(length, hop)
    blocks = waveform[:, : waveform.shape[1] // block * block].unflatten(1, (-1, block))
    step, frames = hop // block, (waveform.shape[1] - length) // hop + 1
    pieces = [blocks[:, first : first + step * (frames - 1) + 1 : step] for first in range(length // block)]
    return torch.cat(pieces, dim=2)


def _turns(rows: int, columns: int, whole: int) -> Spectrum:
    """exp(-2πi a b / whole) for a below ``rows`` and b below ``columns``: (rows, columns) float32 each."""
    turns = np.exp(-2j * np.pi * (np.outer(np.arange(rows), np.arange(columns)) % whole) / whole)
    return Spectrum(torch.tensor(turns.real.astype(np.float32)), torch.tensor(turns.imag.astype(np.float32)))


def _folded(
    convolution: Callable[..., Tensor],
    called_with: tuple[Any, ...],
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """What a BatchNorm in eval mode makes of a convolution, as one convolution."""
    heard, kernel, offset, *settings = called_with
    return convolution(
        heard, *fuse_conv_bn_weights(kernel, offset, mean, variance, eps, weight, bias), *settings
    )
