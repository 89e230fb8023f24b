"""Vocoding, mel to waveform: by one pass of a network, or by a flow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kd_lightning.corpora.segment_batches import SegmentBatch
from kd_lightning.distillers.critic import Critic
from kd_lightning.distillers.same_mel import require_same_mel
from kd_lightning.distillers.speaking import Said, SpeakingDistiller
from kd_lightning.distillers.speech_scores import MelPair, in_time
from kd_lightning.distillers.spoken import Spoken
from kd_lightning.distillers.vocoding_terms import VocodingStep, VocodingTerm
from kd_lightning.frontend.mel import SILENCE
from kd_lightning.models.vocoder import Vocoder


class VocodingDistiller(SpeakingDistiller):
    """Distils a vocoder.

    Student and teacher speak from the mel of the recordings, which is there also where a recording itself is hidden.
    Validation and test are copy synthesis: recordings to mels and back.

    Args:
        classes: of no matter here.
        discriminators: of the critic, if a term needs one.
        critic_loss: of the critic, see :class:`~kd_lightning.distillers.critic.Critic`.
        critic_optimizer: its own.
        arguments: see :class:`~kd_lightning.distillers.speaking.SpeakingDistiller`.

    Raises:
        ValueError: the teacher speaks from other mels, or a term needs a critic and there are no discriminators.
    """

    student: Vocoder
    teacher: Vocoder | None

    def __init__(
        self,
        classes: list[str],
        discriminators: Sequence[nn.Module] = (),
        critic_loss: Callable[..., Any] | None = None,
        critic_optimizer: Callable[..., Optimizer] | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        require_same_mel(self.student, self.teacher, "teacher")
        terms = [term for term in arguments["terms"].values() if isinstance(term, VocodingTerm)]
        self._asks = {
            name: any(getattr(term, f"needs_{name}") for term in terms)
            for name in ("teacher", "speech", "flow", "critic")
        }
        self.critic: Critic | None = None
        if self._asks["critic"]:
            if not discriminators or critic_loss is None or critic_optimizer is None:
                raise ValueError(
                    "a term needs a critic: take distiller=vocoding_adversarial, which has discriminators"
                )
            self.critic = Critic(discriminators, critic_loss, critic_optimizer)

    # One step

    def run_networks(self, batch: SegmentBatch) -> VocodingStep:  # type: ignore[override]
        mel = self.student.frontend(batch.waveform, None, batch.samples)
        student = self.student(mel) if self._asks["speech"] else None
        flow = None
        if self._asks["flow"]:
            network: Any = self.student.network
            flow = network.flow(batch.waveform, mel, self.student.frontend.frames(batch.samples))
        teacher = None
        if self.teacher is not None and self._asks["teacher"]:
            with torch.no_grad():
                teacher = self.teacher(mel)
        return VocodingStep(
            batch.waveform, batch.samples, batch.labelled, student, teacher, flow, self.critic
        )

    def training_step(self, batch: SegmentBatch, batch_idx: int) -> Tensor:
        step = self.run_networks(batch)
        if self.critic is not None:
            assert step.student is not None
            rows = step.labelled
            return self.loss_of(step, critic=self.critic.learn(step.waveform[rows], step.student[rows]))
        return self.loss_of(step)

    # Validation and test: recordings to mels and back

    @torch.no_grad()
    def say(self, batch: SegmentBatch) -> list[Said]:
        mel, frames, waveform = self._copied(batch)
        again = self.student.frontend(waveform, None, frames * self.student.frontend.hop_length)
        return [
            Said(
                Spoken(
                    cut=cut,
                    waveform=waveform[row, :samples].cpu().numpy(),
                    mel=again[row, :, :length].cpu().numpy(),
                    reference=batch.waveform[row, :samples].cpu().numpy(),
                    reference_mel=mel[row, :, :length].cpu().numpy(),
                    attention=None,
                    tokens=[],
                ),
                {},
            )
            for row, (cut, samples, length) in enumerate(
                zip(batch.ids, batch.samples.tolist(), frames.tolist(), strict=True)
            )
        ]

    def judge(self, one: Spoken) -> dict[str, float]:
        return in_time(one, self.student.frontend.sample_rate)

    @torch.no_grad()
    def say_mels(self, batch: SegmentBatch) -> list[MelPair]:
        mel, frames, waveform = self._copied(batch)
        again = self.student.frontend(waveform, None, frames * self.student.frontend.hop_length)
        return [
            MelPair(one[:, :length].cpu().numpy(), other[:, :length].cpu().numpy())
            for one, other, length in zip(mel, again, frames.tolist(), strict=True)
        ]

    def _copied(self, batch: SegmentBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Mels (B, bins, frames) of recordings, their frames (B,), and the waveforms (B, T) that the student makes."""
        mel = self.student.frontend(batch.waveform, None, batch.samples)
        return mel, self.student.frontend.frames(batch.samples), self.student(mel).clamp(-1, 1)

    def measured(self, datamodule: Any) -> tuple[tuple[Any, ...], float]:
        frontend = self.student.frontend
        frames = int(frontend.frames(datamodule.clip_samples))
        return (torch.full((1, frontend.bins, frames), SILENCE),), frames * frontend.hop_seconds
