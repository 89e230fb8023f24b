"""Vocoding, mel to waveform: by one pass of a network, or by a flow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from kd_lightning.corpora.segment_batches import SegmentBatch
from kd_lightning.distillers.critic import Critic
from kd_lightning.distillers.hints import ActivationMatching
from kd_lightning.distillers.same_mel import require_same_mel
from kd_lightning.distillers.speaking import Said, SpeakingDistiller
from kd_lightning.distillers.speech_scores import MelPair, in_time
from kd_lightning.distillers.spoken import Spoken
from kd_lightning.distillers.terms import Term
from kd_lightning.distillers.vocoding_terms import VocodingStep, VocodingTerm
from kd_lightning.frontend.mel import SILENCE
from kd_lightning.models.taps import Taps
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
        critic_clip: largest norm of its gradient.
        arguments: see :class:`~kd_lightning.distillers.speaking.SpeakingDistiller`.

    Raises:
        ValueError: the teacher speaks from other mels, or a term needs a critic and there are no discriminators.
    """

    takes = (VocodingTerm, ActivationMatching)
    student: Vocoder
    teacher: Vocoder | None

    def __init__(
        self,
        classes: list[str],
        discriminators: Sequence[nn.Module] = (),
        critic_loss: Callable[..., Any] | None = None,
        critic_optimizer: Callable[..., Optimizer] | None = None,
        critic_clip: float = 1.0,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        require_same_mel(self.student, self.teacher, "teacher")
        terms: list[Term] = list(arguments["terms"].values())
        # A term on activations asks for both networks, and is none of vocoding's own.
        self._asks = {
            name: any(getattr(term, f"needs_{name}", name == "speech") for term in terms)
            for name in ("teacher", "speech", "flow", "critic")
        }
        self.student_taps = Taps(
            self.student.network, {path for term in terms for path in term.student_paths}
        )
        self.teacher_taps: Taps | None = None
        if self.teacher is not None:
            self.teacher_taps = Taps(
                self.teacher.network, {path for term in terms for path in term.teacher_paths}
            )
        self.critic: Critic | None = None
        if self._asks["critic"]:
            if not discriminators or critic_loss is None or critic_optimizer is None:
                raise ValueError(
                    "a term needs a critic: take distiller=vocoding_adversarial, which has discriminators"
                )
            self.critic = Critic(discriminators, critic_loss, critic_optimizer, critic_clip)
        self._critic_state: dict[str, Any] | None = None

    # One step

    def run_networks(self, batch: SegmentBatch) -> VocodingStep:  # type: ignore[override]
        mel = self.student.frontend(batch.waveform, None, batch.samples)
        with self.student_taps as student_taps:
            student = self.student(mel) if self._asks["speech"] else None
        flow = None
        if self._asks["flow"]:
            network: Any = self.student.network
            flow = network.flow(batch.waveform, mel, self.student.frontend.frames(batch.samples))
        teacher, teacher_taps = self._ask_teacher(mel)
        return VocodingStep(
            *(batch.waveform, batch.samples, batch.labelled, student, teacher, flow, self.critic),
            *(student_taps, teacher_taps),
        )

    @torch.no_grad()
    def _ask_teacher(self, mel: Tensor) -> tuple[Tensor | None, Mapping[str, Tensor]]:
        """What the teacher makes of a mel, and its tapped activations."""
        if self.teacher is None or self.teacher_taps is None or not self._asks["teacher"]:
            return None, {}
        with self.teacher_taps as taps:
            return self.teacher(mel), taps

    def training_step(self, batch: SegmentBatch, batch_idx: int) -> Tensor:
        step = self.run_networks(batch)
        if self.critic is None:
            return self.loss_of(step)
        assert step.student is not None
        rows = step.labelled.nonzero().squeeze(1)
        return self.loss_of(step, critic=self.critic.learn(step.waveform[rows], step.student[rows]))

    # The critic's optimizer is none of Lightning's

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        if self.critic is not None:
            checkpoint["critic_optimizer"] = self.critic.optimizer.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        if self.critic is not None:
            self._critic_state = checkpoint["critic_optimizer"]

    def on_fit_start(self) -> None:
        # Not before the parameters are on their device, where the state goes as well.
        if self.critic is not None and self._critic_state is not None:
            self.critic.optimizer.load_state_dict(self._critic_state)

    # Validation and test: recordings to mels and back

    @torch.no_grad()
    def say(self, batch: SegmentBatch) -> list[Said]:
        return [
            Said(
                Spoken(
                    cut=cut,
                    waveform=said.numpy()[: len(recording)],
                    mel=again.numpy(),
                    reference=recording.numpy(),
                    reference_mel=mel.numpy(),
                    attention=None,
                    tokens=[],
                ),
                {},
            )
            for cut, (recording, mel, said, again) in zip(batch.ids, self._copies(batch), strict=True)
        ]

    def judge(self, one: Spoken) -> dict[str, float]:
        return in_time(one, self.student.frontend.sample_rate)

    @torch.no_grad()
    def say_mels(self, batch: SegmentBatch) -> list[MelPair]:
        return [MelPair(mel.numpy(), again.numpy()) for _, mel, _, again in self._copies(batch)]

    def _copies(self, batch: SegmentBatch) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
        """Each recording (T,), its mel (bins, frames), the waveform that the student makes of it, and the mel of that.

        One after the other: a vocoder hears padding, and what it makes of a recording is not to depend on the others.
        """
        frontend = self.student.frontend
        for padded, samples in zip(batch.waveform, batch.samples.tolist(), strict=True):
            recording = padded[None, :samples]
            mel = frontend(recording)
            said = self.student(mel).clamp(-1, 1)
            yield recording[0].cpu(), mel[0].cpu(), said[0].cpu(), frontend(said)[0].cpu()

    def measured(self, datamodule: Any) -> tuple[tuple[Any, ...], float]:
        frontend = self.student.frontend
        frames = int(frontend.frames(datamodule.clip_samples))
        return (torch.full((1, frontend.bins, frames), SILENCE),), frames * frontend.hop_seconds
