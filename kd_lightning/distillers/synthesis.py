"""Speech synthesis, text to mel: sentences in, mels out, by a decoder with attention or by durations."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kd_lightning.corpora.spoken_batches import SpokenBatch
from kd_lightning.distillers.reading import read_aloud, spoken_durations, steps_of
from kd_lightning.distillers.same_mel import require_same_mel
from kd_lightning.distillers.speaking import Said, SpeakingDistiller
from kd_lightning.distillers.speech_scores import MelPair, attended, in_its_own_time
from kd_lightning.distillers.spoken import Spoken
from kd_lightning.distillers.synthesis_terms import SynthesisStep, SynthesisTerm
from kd_lightning.frontend.mel import SILENCE
from kd_lightning.frontend.pitch import PERIOD
from kd_lightning.labels.speech import TaughtSpeech
from kd_lightning.losses.monotonic_alignment import durations_of
from kd_lightning.metrics.alignment import focus_rate
from kd_lightning.metrics.durations import duration_error
from kd_lightning.metrics.pitch import token_energy, token_pitch
from kd_lightning.models.acoustic_model import AcousticModel
from kd_lightning.models.acoustic_output import AcousticOutput, Recorded
from kd_lightning.models.griffin_lim import GriffinLim
from kd_lightning.models.vocoder import Vocoder

# Mean and deviation by which numbers are brought near 0 and 1: ln F0 of speech, and ln of the norm of its mels.
_PITCH = (math.log(160.0), 0.4)
_ENERGY = (0.0, 3.0)
# Sentences of a teacher after which its mean focus rate is looked at, and how many of them it read to the end.
_LISTENED = 64
# Share of the sentences below which that is said.
_FEW_ENDS = 0.8

_log = logging.getLogger(__name__)


class SynthesisDistiller(SpeakingDistiller):
    """Distils a network that turns text into mels.

    A student learns each sentence from its recording or from what the teacher says, never from a mean of both: where
    the recording is hidden from the teacher alone, elsewhere from the teacher in a share of the steps. What the teacher
    did not read to the end, or without attending to one token at a time, is not learnt.

    Args:
        classes: the tokens by number.
        taught_share: how often the teacher is followed where there is a recording.
        min_focus: sentences that the teacher reads with a lower focus rate are not learnt, and neither is a teacher
            whose mean is lower, or who reads none to the end; 0 takes any teacher.
        vocoder: what makes the mels of a test heard; ``None``: Griffin-Lim.
        aligner: what times the tokens of recordings where the corpus does not; ``None``: the teacher, if there is one.
        arguments: see :class:`~kd_lightning.distillers.speaking.SpeakingDistiller`.

    Raises:
        ValueError: teacher, student and vocoder do not speak the same mels.
    """

    takes = (SynthesisTerm,)
    student: AcousticModel
    teacher: AcousticModel | None

    def __init__(
        self,
        classes: list[str],
        taught_share: float = 0.5,
        min_focus: float = 0.8,
        vocoder: Vocoder | None = None,
        aligner: AcousticModel | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        require_same_mel(self.student, self.teacher, "teacher")
        require_same_mel(self.student, aligner, "aligner")
        require_same_mel(self.student, vocoder, "vocoder")
        self.classes = classes
        self.taught_share, self.min_focus = taught_share, min_focus
        self.vocoder: Any = (
            vocoder.requires_grad_(False) if vocoder is not None else GriffinLim(self.student.frontend)
        )
        self.aligner: AcousticModel | None = None if aligner is None else aligner.requires_grad_(False)
        terms = [term for term in arguments["terms"].values() if isinstance(term, SynthesisTerm)]
        self._asks = {
            name: any(getattr(term, f"needs_{name}") for term in terms)
            for name in ("taught", "forced", "free", "durations", "prosody")
        }
        self._takes_durations = self._asks["durations"] or any(term.takes_durations for term in terms)
        # Of what the teacher says, and of how recordings are aligned.
        self._focus: list[float] = []
        self._ended: list[float] = []
        self._focus_of_alignments: list[float] = []

    def is_fixed(self, key: str) -> bool:
        return super().is_fixed(key) or key.startswith(("vocoder.", "aligner."))

    def train(self, mode: bool = True) -> SynthesisDistiller:
        super().train(mode)
        self.vocoder.eval()
        if self.aligner is not None:
            self.aligner.eval()
        return self

    # One step

    def run_networks(self, batch: SpokenBatch) -> SynthesisStep:  # type: ignore[override]
        sentences = batch.sentences
        recorded, heard = self._recorded(batch)
        taught = self._taught(batch)
        if taught is None:
            target, from_teacher, learnt = recorded, torch.zeros_like(heard), heard
        else:
            trusted = taught.trusted(self.min_focus)
            # The draw follows from the step's seed, so a restart repeats it.
            follow = torch.rand(len(trusted)).to(trusted.device) < self.taught_share
            from_teacher = trusted & (follow | ~heard)
            target = either(from_teacher, taught.recorded, recorded)
            learnt = from_teacher | heard
        student = self.student(sentences, target)
        forced = None
        if self.teacher is not None and self._asks["forced"]:
            with torch.no_grad():
                forced = self.teacher(sentences, target)
        free = self.student.free(sentences, target.frames) if self._asks["free"] else None
        return SynthesisStep(sentences, target, from_teacher, student, forced, free).only(learnt)

    def _recorded(self, batch: SpokenBatch) -> tuple[Recorded, Tensor]:
        """The recordings of a batch, with durations and prosody if a term asks, and (B,) bool which to learn."""
        recorded, heard = self.student.hear(batch.waveform, batch.samples), batch.labelled
        if not self._takes_durations:
            return recorded, heard
        if batch.durations is not None:
            durations = in_frames(batch.durations, recorded.frames, self.student.frontend.hop_seconds)
        elif (aligner := self.aligner or self.teacher) is not None:
            durations, focus = self._aligned(aligner, batch, recorded)
            heard = heard & (focus >= self.min_focus)
        elif self._asks["durations"]:
            raise ValueError(
                "the corpus has no durations (<id>.phones.tsv beside each recording) and this stage nobody to time its "
                "tokens: set aligner=<run of a network with attention>, or choose a student with a decoder"
            )
        else:
            return recorded, heard
        recorded = recorded._replace(durations=durations)
        return self._with_prosody(batch, recorded, durations) if self._asks["prosody"] else recorded, heard

    def _with_prosody(self, batch: SpokenBatch, recorded: Recorded, durations: Tensor) -> Recorded:
        """Recordings with the pitch and the energy of each token."""
        if batch.f0 is None:
            raise ValueError(
                "a term learns pitch, and nobody has found that of the recordings: set corpus.pitch=true"
            )
        middles = torch.arange(recorded.mel.shape[2], device=self.device) + 0.5
        nearest = (middles * self.student.frontend.hop_seconds / PERIOD).round().long()
        f0 = batch.f0[:, nearest.clamp(max=batch.f0.shape[1] - 1)]
        return recorded._replace(
            pitch=token_pitch(f0, durations, *_PITCH), energy=token_energy(recorded.mel, durations, *_ENERGY)
        )

    @torch.no_grad()
    def _aligned(
        self, aligner: AcousticModel, batch: SpokenBatch, recorded: Recorded
    ) -> tuple[Tensor, Tensor]:
        """Frames (B, U) of each token, by a monotonic path through a decoder's attention, and its focus rates (B,)."""
        said = aligner(batch.sentences, recorded)
        if said.attention is None:
            raise ValueError(
                "the corpus has no durations, and this teacher has no attention to take them from: choose a teacher "
                "with a decoder (teacher=tacotron2_embedded), or set aligner=<run of one>"
            )
        focus = focus_rate(said.attention, steps_of(said))
        self._listen(self._focus_of_alignments, focus[batch.labelled], self._require_focus)
        return durations_of(
            said.attention, batch.sentences.lengths, recorded.frames, said.frames_per_step
        ), focus

    def _taught(self, batch: SpokenBatch) -> TaughtSpeech | None:
        """What the teacher says, or has said; ``None`` if no term learns from it."""
        if not self._asks["taught"]:
            return None
        taught: TaughtSpeech | None = batch.stored
        if taught is None and self.teacher is not None:
            taught = read_aloud(self.teacher, batch.sentences)
        if taught is None:
            return None
        self._listen(self._focus, taught.focus, self._require_focus)
        if self.min_focus > 0:  # else a teacher is taken as it is
            self._listen(self._ended, taught.ended, require_ends)
        return taught

    def _listen(self, heard: list[float], found: Tensor, check: Callable[[list[float]], None]) -> None:
        """Look at what was found (N,) of the first sentences, once there are enough of them."""
        if len(heard) < _LISTENED:
            heard += found.tolist()
            if len(heard) >= _LISTENED:
                check(heard)

    def _require_focus(self, focus: list[float]) -> None:
        """Refuse a teacher that does not attend to one token at a time."""
        mean = float(np.mean(focus))
        if mean < self.min_focus:
            raise ValueError(
                f"the teacher's focus rate is {mean:.2f}, below distiller.min_focus={self.min_focus:g}: its alignments "
                "have failed, so its durations and mels teach nothing; train it longer, or choose another"
            )

    # Validation and test: the student speaks freely

    @torch.no_grad()
    def say(self, batch: SpokenBatch) -> list[Said]:
        said = self.student(batch.sentences)
        recorded = self.student.hear(batch.waveform, batch.samples)
        scores = self._timing(batch, said, recorded)
        return [Said(self._spoken(batch, row, said, recorded), scores[row]) for row in range(len(batch.ids))]

    @torch.no_grad()
    def say_mels(self, batch: SpokenBatch) -> list[MelPair]:
        said = self.student(batch.sentences)
        recorded = self.student.hear(batch.waveform, batch.samples)
        return [
            MelPair(_array(one[:, :there]), _array(other[:, :here]))
            for one, there, other, here in zip(
                recorded.mel, recorded.frames.tolist(), said.mel, said.frames.tolist(), strict=True
            )
        ]

    def judge(self, one: Spoken) -> dict[str, float]:
        frontend = self.student.frontend
        return in_its_own_time(one, frontend.sample_rate, frontend.hop_seconds)

    def _timing(self, batch: SpokenBatch, said: AcousticOutput, recorded: Recorded) -> list[dict[str, float]]:
        """How the student went through each sentence."""
        scores: list[dict[str, float]] = [{} for _ in batch.ids]
        if said.ended is not None:
            for one, ended in zip(scores, said.ended.tolist(), strict=True):
                one["ended"] = float(ended)
        lengths = batch.sentences.lengths.tolist()
        if said.attention is not None:
            steps = steps_of(said)
            hop = self.student.frontend.hop_seconds
            for row, (length, count) in enumerate(zip(lengths, steps.tolist(), strict=True)):
                heard = None if batch.durations is None else batch.durations[row, :length] >= hop
                scores[row] |= attended(said.attention[row, :count, :length], heard)
        spoken = spoken_durations(said, batch.sentences)
        if spoken is not None and batch.durations is not None:
            hop = self.student.frontend.hop_seconds
            for one, frames, seconds, length in zip(scores, spoken, batch.durations, lengths, strict=True):
                one["duration_error"] = duration_error(frames[:length] * hop, seconds[:length])
        return scores

    def _spoken(self, batch: SpokenBatch, row: int, said: AcousticOutput, recorded: Recorded) -> Spoken:
        frames, tokens = int(said.frames[row]), int(batch.sentences.lengths[row])
        mel = said.mel[row, :, :frames]
        attention = None
        if said.attention is not None:
            attention = _array(said.attention[row, : -(-frames // said.frames_per_step), :tokens])
        return Spoken(
            cut=batch.ids[row],
            waveform=_array(self.vocoder(mel[None])[0].clamp(-1, 1)),
            mel=_array(mel),
            reference=_array(batch.waveform[row, : int(batch.samples[row])]),
            reference_mel=_array(recorded.mel[row, :, : int(recorded.frames[row])]),
            attention=attention,
            tokens=[self.classes[token] for token in batch.sentences.tokens[row, :tokens].tolist()],
        )

    def measured(self, datamodule: Any) -> tuple[tuple[Any, ...], float]:
        """A test sentence of the usual length, and the seconds that the student speaks for it."""
        batch = next(iter(datamodule.test_dataloader()))
        middle = [int(batch.samples.argsort()[len(batch.samples) // 2])]
        sentences = type(batch.sentences)(*(part[middle] for part in batch.sentences))
        tokens = sentences.tokens[:, : int(sentences.lengths)]
        sentences = sentences._replace(tokens=tokens)
        with torch.no_grad():
            frames = int(self.student.eval()(sentences).frames)
        return (sentences,), frames * self.student.frontend.hop_seconds


def either(taught: Tensor, one: Recorded, other: Recorded) -> Recorded:
    """Row by row one of two ways to say sentences, padded to the longest that is taken.

    Args:
        taught: (B,) bool, whether a row is of ``one``.
        one: what a teacher said.
        other: what was recorded.
    """
    frames = one.frames.where(taught, other.frames)
    width = max(1, int(frames.max()))
    mels = [
        torch.nn.functional.pad(side.mel, (0, width - side.mel.shape[2]), value=SILENCE)
        for side in (one, other)
    ]
    durations = None
    if one.durations is not None and other.durations is not None:
        durations = one.durations.where(taught[:, None], other.durations)
    # What the teacher's voice does is in its mels alone.
    pitch, energy = (
        None if known is None else known.masked_fill(taught[:, None], math.nan)
        for known in (other.pitch, other.energy)
    )
    return Recorded(
        mels[0].where(taught[:, None, None], mels[1]),
        frames,
        durations,
        pitch,
        energy,
    )


def in_frames(seconds: Tensor, frames: Tensor, hop_seconds: float) -> Tensor:
    """Durations (B, U) in whole frames that sum to ``frames`` (B,); the ends of tokens are rounded, not their lengths.

    Args:
        seconds: (B, U) of each token, 0 beyond a sentence's end.
        frames: (B,) of each recording.
        hop_seconds: of a frame.
    """
    ends = (seconds.cumsum(dim=1) / hop_seconds).round().long()
    # The last frame hears a little beyond the recording's end.
    last = seconds.cumsum(dim=1) >= seconds.sum(dim=1, keepdim=True) - 1e-6
    ends = torch.minimum(ends, frames[:, None]).where(~last, frames[:, None].expand_as(ends))
    return torch.diff(ends, dim=1, prepend=torch.zeros_like(ends[:, :1]))


def require_ends(ended: list[float]) -> None:
    """Refuse a teacher that reads no sentence to its end, and warn of one that rarely does.

    Raises:
        ValueError: with what it does.
    """
    share = float(np.mean(ended))
    if share == 0:
        raise ValueError(
            f"the teacher read none of {len(ended)} sentences to the end, so it teaches nothing: train it longer, or "
            "choose another"
        )
    if share < _FEW_ENDS:
        _log.warning(
            "the teacher reads %.0f %% of the sentences to the end; the others teach nothing", 100 * share
        )


def _array(tensor: Tensor) -> Any:
    return tensor.detach().float().cpu().numpy()
