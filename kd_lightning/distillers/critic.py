"""Discriminators that learn beside a vocoder, with an optimizer of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kd_lightning.losses.summed import Summed


class Critic(nn.Module):
    """Learns to tell recordings from what a vocoder says, once before each of the vocoder's steps.

    Its parameters take a gradient in :meth:`learn` alone, so the vocoder's optimizer, Lightning's count of steps and
    DDP's reducer see nothing of them: a stage has as many steps as its student, with a critic or without. Over ranks
    its gradients are averaged here.

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
        """One step of its own; returns its loss before that, to be logged.

        Args:
            recorded: (B, T) recordings.
            said: (B, T) what the vocoder says, detached here.
        """
        with torch.enable_grad(), self._learning():
            self.optimizer.zero_grad()
            loss = torch.stack(
                [
                    _mean(self.loss(discriminator(recorded)[0], discriminator(said.detach())[0]))
                    for discriminator in self.discriminators
                ]
            ).sum()
            loss.backward()
            self._average_over_ranks()
            nn.utils.clip_grad_norm_(self.parameters(), self.clip)
            self.optimizer.step()
        return loss.detach()

    def judged(self, said: Tensor, loss: Callable[[Any], Summed]) -> Summed:
        """The sum over the discriminators of a loss of their scores of what a vocoder says."""
        return _summed([loss(discriminator(said)[0]) for discriminator in self.discriminators])

    def compared(self, said: Tensor, wanted: Tensor, loss: Callable[[Any, Any], Summed]) -> Summed:
        """The sum over the discriminators of a loss of their features of what a vocoder says and has to say."""
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

    def _average_over_ranks(self) -> None:
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return
        for parameter in self.parameters():
            if parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad, torch.distributed.ReduceOp.SUM)
                parameter.grad /= torch.distributed.get_world_size()


def _summed(parts: Sequence[Summed]) -> Summed:
    """The sum of several means over the same items."""
    return Summed(
        torch.stack([_mean(part) for part in parts]).sum(), torch.ones((), device=parts[0].sum.device)
    )


def _mean(loss: Summed) -> Tensor:
    return loss.sum / loss.count.clamp(min=1.0)
