"""What a network costs to run: parameters, multiply-accumulates, bytes, and time on one thread."""

import warnings
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


class Latency(NamedTuple):
    """Median and 95th percentile of the time of one call, in milliseconds."""

    p50: float
    p95: float


def parameters(module: nn.Module) -> int:
    """Number of parameters, a shared one counted once; buffers (filterbanks, statistics) do not count."""
    return sum(parameter.numel() for parameter in module.parameters())


def size_bytes(module: nn.Module) -> int:
    """Bytes of all parameters and buffers at their own precision, a shared one counted once."""
    tensors = [*module.parameters(), *module.buffers()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def macs(module: nn.Module, *example: Any) -> int:
    """Multiply-accumulates of one forward pass: those of convolutions and matrix products.

    Element-wise operations and the Fourier transform of a frontend are not counted, as is usual in papers.

    Args:
        module: the network; runs in eval mode without gradients and is put back into its mode.
        example: its inputs; give a batch of one for the cost of one utterance.
    """
    modes = {part: part.training for part in module.modules()}
    fast_path = torch.backends.mha.get_fastpath_enabled()
    module.eval()
    try:
        # The counter does not see into oneDNN's LSTM nor into fused attention.
        torch.backends.mha.set_fastpath_enabled(False)
        with (
            warnings.catch_warnings(action="ignore"),  # switching oneDNN off speaks of Intel's GPUs
            torch.no_grad(),
            torch.backends.mkldnn.flags(enabled=False),
            sdpa_kernel(SDPBackend.MATH),
            FlopCounterMode(display=False) as counter,
        ):
            module(*example)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
        for part, training in modes.items():
            part.training = training
    return counter.get_total_flops() // 2


def latency(
    function: Callable[[], object], runs: int = 200, warmup: int = 20, seconds: float = 30.0
) -> Latency:
    """Time of one call on one thread of this machine.

    Args:
        function: the call to time, without arguments. Torch runs it on one thread and gets its threads back
            afterwards. Another runtime has to be set to one thread by whoever made it.
        runs: timed calls, at least 100 so that the 95th percentile rests on several.
        warmup: calls before, which allocate memory and choose kernels.
        seconds: after so long no further call is timed, nor is another made to warm up: the 95th percentile of a slow
            network rests on fewer calls.

    Raises:
        ValueError: when `runs` is below 100.
    """
    if runs < 100:
        raise ValueError(f"runs={runs}: a 95th percentile needs at least 100 timed calls")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.no_grad():
            _timed(function, warmup, seconds)
            times = _timed(function, runs, seconds)
    finally:
        torch.set_num_threads(threads)
    p50, p95 = np.percentile(times, [50, 95])
    return Latency(float(p50), float(p95))


def _timed(function: Callable[[], object], calls: int, seconds: float) -> list[float]:
    """Milliseconds of each of so many calls, or of those that are begun in so many seconds."""
    times: list[float] = []
    while len(times) < calls and (not times or sum(times) < 1000 * seconds):
        start = perf_counter_ns()
        function()
        times.append((perf_counter_ns() - start) / 1e6)
    return times


def real_time_factor(milliseconds: float, audio_seconds: float) -> float:
    """Seconds of computing for a second of audio; below 1 is faster than real time.

    Args:
        milliseconds: time of one call, usually the median.
        audio_seconds: length of the audio that the call heard.
    """
    return milliseconds / 1000 / audio_seconds
