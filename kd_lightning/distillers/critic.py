"""Discriminators that learn beside a vocoder, with an optimizer of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kd_lightning.losses.summed import Summed, over_batch


class Critic(nn.Module):
    """Learns to tell recordings from what a vocoder says, once before each of the vocoder's steps.

    Its parameters take a gradient in :meth:`learn` alone, so the vocoder's optimizer, Lightning's count of steps and
    DDP's reducer see nothing of them: a stage has as many steps as its student, with a critic or without. Its gradients
    are those of one process with the recordings of all ranks, in float32 also under autocast.

    Args:
        discriminators: each maps waveforms (B, T) to scores and features, lists of tensors.
        loss: ``(scores of recordings, scores of the vocoder's) -> Summed``, of one discriminator.
        optimizer: ``parameters -> Optimizer``.
        clip: largest norm of the gradient.
    """

    def __init__(
        self,
        discriminators: Sequence[nn.Module],
        loss: Callable[[Sequence[Tensor], Sequence[Tensor]], Summed],
        optimizer: Callable[..., Optimizer],
        clip: float = 1.0,
    ) -> None:
        super().__init__()
        self.discriminators = nn.ModuleList(discriminators).requires_grad_(False)
        self.loss = loss
        self.clip = clip
        self.optimizer = optimizer(self.parameters())

    def learn(self, recorded: Tensor, said: Tensor) -> Tensor:
        """One step of its own, unless no rank has a recording; returns its loss before that, to be logged.

        Args:
            recorded: (B, T) recordings, maybe none.
            said: (B, T) what the vocoder says of them, detached here.
        """
        ranks = _ranks()
        count = _over_ranks(torch.tensor(float(len(recorded)), device=said.device))
        if not count:
            return torch.zeros_like(count)
        self.optimizer.zero_grad()
        loss = torch.zeros_like(count)
        if len(recorded):
            with torch.autocast(said.device.type, enabled=False), torch.enable_grad(), self._learning():
                losses = [
                    self.loss(discriminator(recorded)[0], discriminator(said.detach())[0])
                    for discriminator in self.discriminators
                ]
                loss = _summed(losses).sum / count
                loss.backward()
        for parameter in self.parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            _over_ranks(parameter.grad)
        nn.utils.clip_grad_norm_(self.parameters(), self.clip)
        self.optimizer.step()
        return loss.detach() * ranks

    def judged(self, said: Tensor, loss: Callable[[Any], Summed]) -> Summed:
        """The sum over the discriminators of a loss of their scores of what a vocoder says."""
        return _summed([loss(discriminator(said)[0]) for discriminator in self.discriminators])

    def compared(self, said: Tensor, wanted: Tensor, loss: Callable[[Any, Any], Summed]) -> Summed:
        """The sum over the discriminators of a loss of their features of what a vocoder says and has to say."""
        if not len(said):
            return over_batch(said.float().sum(dim=1))  # a spectrum of nothing is an error
        compared = []
        for discriminator in self.discriminators:
            with torch.no_grad():
                features = discriminator(wanted)[1]
            compared.append(loss(discriminator(said)[1], features))
        return _summed(compared)

    @contextmanager
    def _learning(self) -> Iterator[None]:
        self.requires_grad_(True)
        try:
            yield
        finally:
            self.requires_grad_(False)


def _summed(parts: Sequence[Summed]) -> Summed:
    """The sum of several means over the same items."""
    return Summed(torch.stack([part.sum for part in parts]).sum(), parts[0].count)


def _ranks() -> int:
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if distributed else 1


def _over_ranks(tensor: Tensor) -> Tensor:
    """The sum over the ranks, in place."""
    if _ranks() > 1:
        torch.distributed.all_reduce(tensor)
    return tensor
