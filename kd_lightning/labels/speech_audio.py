"""What a teacher said of sentences, as audio for people."""

from collections.abc import Iterable
from pathlib import Path

import soundfile
import torch
from torch import nn

from kd_lightning.files import safe_name, whole
from kd_lightning.labels.speech_reader import SpeechLabels


@torch.no_grad()
def write_audio(
    folder: Path, labels: SpeechLabels, cuts: Iterable[tuple[int, str]], vocoder: nn.Module, sample_rate: int
) -> None:
    """Write ``<folder>/audio/<cut>.flac``, in the first view.

    Args:
        folder: of the store.
        labels: what was stored.
        cuts: position in the training selection and id of each.
        vocoder: maps mels (B, bins, frames) to waveforms (B, T).
        sample_rate: of the waveforms, in Hz.

    Raises:
        OSError: a file could not be written.
    """
    with torch.random.fork_rng(devices=[]):
        for position, cut in cuts:
            torch.manual_seed(0)  # of the noise that flows speak from
            waveform = vocoder(labels.read([position], [0]).recorded.mel)[0].clamp(-1, 1)
            with whole(folder / "audio" / f"{safe_name(cut)}.flac") as beside:
                soundfile.write(beside, waveform.numpy(), sample_rate, format="FLAC")
