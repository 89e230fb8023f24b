"""Costs against closed forms."""

import time

import pytest
import torch
from torch import nn

from kd_lightning.metrics.efficiency import latency, macs, parameters, real_time_factor, size_bytes


def test_macs_of_a_convolution_and_a_linear_layer_are_their_closed_forms():
    convolution = nn.Conv1d(40, 16, kernel_size=9, stride=2, padding=4, bias=False)
    assert macs(convolution, torch.randn(1, 40, 100)) == 50 * 16 * 40 * 9
    depthwise = nn.Conv1d(16, 16, kernel_size=3, groups=16, padding=1)
    assert macs(depthwise, torch.randn(1, 16, 100)) == 100 * 16 * 3
    assert macs(nn.Linear(48, 12), torch.randn(1, 48)) == 48 * 12


def test_macs_of_an_lstm_and_of_attention_are_their_closed_forms():
    frames, inputs, hidden = 7, 5, 8
    lstm = nn.LSTM(inputs, hidden, batch_first=True)
    assert macs(lstm, torch.randn(1, frames, inputs)) == frames * 4 * hidden * (inputs + hidden)
    attention = nn.MultiheadAttention(hidden, num_heads=2, batch_first=True)
    sequence = torch.randn(1, frames, hidden)
    projections, products = 4 * frames * hidden**2, 2 * frames**2 * hidden
    assert macs(attention, sequence, sequence, sequence) == projections + products


def test_macs_grow_with_the_batch_and_leave_the_modes_alone():
    network = nn.Sequential(nn.Linear(8, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).train()
    network[1].eval()
    statistics = network[1].running_mean.clone()
    assert macs(network, torch.randn(3, 8)) == 3 * 8 * 4
    assert [part.training for part in network] == [True, False, True]
    assert torch.equal(network[1].running_mean, statistics)


def test_parameters_count_shared_weights_once_and_no_buffers():
    first = nn.Linear(10, 10)
    network = nn.Sequential(first, first, nn.BatchNorm1d(10))
    assert parameters(network) == 110 + 20
    assert size_bytes(network) == 4 * (130 + 20) + 8
    assert size_bytes(nn.Linear(10, 10).half()) == 2 * 110


def test_latency_runs_on_one_thread_and_gives_the_threads_back():
    before, seen = torch.get_num_threads(), set()
    torch.set_num_threads(2)
    try:
        result = latency(lambda: (seen.add(torch.get_num_threads()), time.sleep(0.001)), runs=100, warmup=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == {1}
    assert 1.0 <= result.p50 <= result.p95


def test_a_slow_call_is_not_timed_for_longer_than_asked():
    calls = []
    result = latency(lambda: (calls.append(1), time.sleep(0.01)), seconds=0.05)
    assert 2 <= len(calls) <= 2 * 5
    assert result.p50 >= 10


def test_latency_gives_the_threads_back_after_an_error():
    before = torch.get_num_threads()

    def broken() -> None:
        raise RuntimeError("no such input")

    with pytest.raises(RuntimeError, match="no such input"):
        latency(broken)
    assert torch.get_num_threads() == before


def test_too_few_runs_for_a_percentile_are_refused():
    with pytest.raises(ValueError, match="at least 100"):
        latency(lambda: None, runs=10)


def test_real_time_factor_is_computing_over_audio():
    assert real_time_factor(5.0, 1.0) == pytest.approx(0.005)
    assert real_time_factor(3000.0, 2.0) == pytest.approx(1.5)
