"""One training step of what speaks against a PyTorch loop written for it alone.

For a feed-forward student that reads its teacher's stored mels, for the Tacotron 2 that teaches, and for a vocoder
beside its live teacher. Where the framework calls a published loss, the loop calls the same function.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from in_turn import BOUND, EPOCHS, ByHand, pace, untrained_run
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from kd_lightning.corpora.segment_batches import SegmentBatch
from kd_lightning.corpora.spoken_batches import SpokenBatch
from kd_lightning.distillers.synthesis import in_frames
from kd_lightning.frontend.mel import SILENCE
from kd_lightning.frontend.pitch import PERIOD
from kd_lightning.labelling import run_label
from kd_lightning.losses.attention_durations import attention_cross_entropy
from kd_lightning.losses.guided_attention import guided_attention
from kd_lightning.losses.spectral import multi_resolution_stft
from kd_lightning.metrics.pitch import token_energy, token_pitch
from kd_lightning.models.acoustic_output import Recorded
from kd_lightning.teachers.finished_run import WEIGHTS

TYPICAL_FRAMES = 5  # of a phoneme


class FeedForwardByHand(ByHand):
    """Mels and durations of recordings, or of the teacher where they are hidden; pitch and energy of recordings."""

    def loss(self, batch: SpokenBatch) -> Tensor:
        sentences, labelled, taught = batch.sentences, batch.labelled, batch.stored.recorded
        mel = self.student.frontend(batch.waveform, None, batch.samples)
        frames = self.student.frontend.frames(batch.samples)
        hop_seconds = self.student.frontend.hop_seconds
        durations = in_frames(batch.durations, frames, hop_seconds)
        nearest = ((torch.arange(mel.shape[2]) + 0.5) * hop_seconds / PERIOD).round().long()
        f0 = batch.f0[:, nearest.clamp(max=batch.f0.shape[1] - 1)]
        pitch = token_pitch(f0, durations, math.log(160.0), 0.4)
        energy = token_energy(mel, durations, 0.0, 3.0)

        width = max(mel.shape[2], taught.mel.shape[2])
        wider = [
            functional.pad(each, (0, width - each.shape[2]), value=SILENCE) for each in (mel, taught.mel)
        ]
        target = Recorded(
            wider[0].where(labelled[:, None, None], wider[1]),
            frames.where(labelled, taught.frames),
            durations.where(labelled[:, None], taught.durations),
            pitch.masked_fill(~labelled[:, None], math.nan),
            energy.masked_fill(~labelled[:, None], math.nan),
        )
        said = self.student.network(sentences, target)
        # Padding is silence in both mels, and zero in what is said of tokens.
        errors = (said.mel - target.mel).abs().mean(dim=1).sum(dim=1)
        lengths = said.log_durations - target.durations.float().log1p()
        known = sentences.lengths[labelled].sum().clamp(min=1)
        return (
            self.weights["mel"] * errors[labelled].sum() / target.frames[labelled].sum().clamp(min=1)
            + self.weights["taught_mel"]
            * errors[~labelled].sum()
            / target.frames[~labelled].sum().clamp(min=1)
            + self.weights["duration"] * lengths.square().sum() / sentences.lengths.sum()
            + self.weights["pitch"] * (said.pitch - pitch)[labelled].square().sum() / known
            + self.weights["energy"] * (said.energy - energy)[labelled].square().sum() / known
        )


class TacotronByHand(ByHand):
    """Mels before and after the postnet, when to stop, and where to look; all recordings are seen."""

    def loss(self, batch: SpokenBatch) -> Tensor:
        mel = self.student.frontend(batch.waveform, None, batch.samples)
        frames = self.student.frontend.frames(batch.samples)
        durations = in_frames(batch.durations, frames, self.student.frontend.hop_seconds)
        said = self.student.network(batch.sentences, Recorded(mel, frames))
        per_step = said.frames_per_step
        steps = (frames + per_step - 1) // per_step
        places = torch.arange(said.stop_logits.shape[1])
        valid = places < steps[:, None]
        stop = functional.binary_cross_entropy_with_logits(
            said.stop_logits[valid],
            (places == steps[:, None] - 1)[valid].float(),
            pos_weight=torch.tensor(5.0),
        )
        # Padding is silence in all mels.
        errors = (said.mel - mel).abs().sum() + (said.coarse - mel).abs().sum()
        guided = guided_attention(said.attention, batch.sentences.lengths, steps, 0.2)
        spoken = attention_cross_entropy(said.attention, durations, frames, per_step)
        return (
            self.weights["mel"] * errors / (frames.sum() * mel.shape[1])
            + self.weights["stop"] * stop
            + self.weights["guided_attention"] * guided.sum / guided.count
            + self.weights["attention"] * spoken.sum / spoken.count
        )


class VocoderByHand(ByHand):
    """Spectra of recordings where they may be seen, and of the teacher everywhere."""

    def loss(self, batch: SegmentBatch) -> Tensor:
        mel = self.student.frontend(batch.waveform, None, batch.samples)
        with torch.no_grad():
            taught = self.teacher.network(mel)
        said = self.student.network(mel)
        again = self.student.frontend(said, None, batch.samples)
        taught_stft = multi_resolution_stft(said, taught, batch.samples)
        taught_mel = functional.l1_loss(again, self.student.frontend(taught, None, batch.samples))
        loss = (
            self.weights["taught_stft"] * taught_stft.sum / taught_stft.count
            + self.weights["taught_mel"] * taught_mel
        )
        seen = batch.labelled.nonzero().squeeze(1)
        if len(seen):
            stft = multi_resolution_stft(said[seen], batch.waveform[seen], batch.samples[seen])
            loss = loss + self.weights["stft"] * stft.sum / stft.count
            loss = loss + self.weights["mel"] * functional.l1_loss(again[seen], mel[seen])
        return loss


class Task(NamedTuple):
    """A stage, the words that choose what it trains, and the loop for it."""

    stage: str
    words: tuple[str, ...]
    by_hand: type[ByHand]


# Dropout would draw other masks in each loop, and a taught share other sentences.
TASKS = {
    "feed_forward_small taught by stored mels": Task(
        "distill",
        (
            *("experiment=libritts_tts", "student.network.predictor_dropout=0"),
            *("distiller.taught_share=0.0", "corpus.limit=320"),
        ),
        FeedForwardByHand,
    ),
    "tacotron2_embedded": Task(
        "teacher",
        (
            *("experiment=libritts_tts", "teacher.network.dropout=0", "teacher.network.recurrent_dropout=0"),
            *("teacher.network.prenet_dropout=0", "corpus.limit=128"),
        ),
        TacotronByHand,
    ),
    "vocos_embedded to vocos_small": Task(
        "distill", ("experiment=libritts_vocoder", "transfer=taught_audio", "corpus.limit=256"), VocoderByHand
    ),
}
# Nobody looks at scores or listens here.
QUIET = ("callbacks.speech.every_epochs=0", "+trainer.limit_val_batches=1")


def stored_mels(
    default_config: Callable[..., dict[str, Any]], words: Sequence[str], folder: Path
) -> list[str]:
    """What a teacher says of all sentences, stored: that of an untrained network that says all tokens alike long.

    Returns:
        words that name it.
    """
    run = untrained_run(default_config("baseline", *words), folder / "teacher")
    weights = load_file(run / WEIGHTS)
    weights["network.predictors.head.bias"][0] = math.log1p(TYPICAL_FRAMES)
    save_file(weights, run / WEIGHTS)
    run_label(default_config("distill", *words, f"teacher.run={run}"), folder / "label")
    return [f"teacher.run={run}", f"teacher.stored={folder / 'label'}"]


@pytest.mark.parametrize("task", TASKS)
def test_a_step_of_what_speaks_costs_what_it_costs_by_hand(task, default_config, tmp_path, say):
    stage, chosen, by_hand = TASKS[task]
    words = [*chosen, *QUIET]
    if by_hand is FeedForwardByHand:
        words += stored_mels(default_config, words, tmp_path)
    elif by_hand is VocoderByHand:
        words.append(f"teacher.run={untrained_run(default_config('teacher', *words), tmp_path / 'teacher')}")
    folder = tmp_path / "run"
    config = default_config(stage, *words, f"stages.{stage}.trainer.max_epochs={EPOCHS}", f"folder={folder}")
    assert pace(task, config, by_hand, folder, say) <= BOUND
