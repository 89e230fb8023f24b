"""A feed-forward acoustic network as one ONNX file, tokens in, mel out; and such a file in its network's place."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from kd_lightning.deploy.difference import greatest
from kd_lightning.deploy.graph import exported_graph
from kd_lightning.frontend.mel import SILENCE
from kd_lightning.models.acoustic_model import AcousticModel
from kd_lightning.models.acoustic_output import AcousticOutput, Recorded, Sentences

TOKENS, SPEAKER, MEL, DURATIONS = "tokens", "speaker", "mel", "durations"


class Sayings(nn.Module):
    """Mel (1, bins, frames) and frames (1, U) of each token of a sentence (1, U), by the speaker of a number (1,)."""

    def __init__(self, model: AcousticModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor, speaker: Tensor | None = None) -> tuple[Tensor, Tensor]:
        said = self.model(_sentence(tokens, speaker))
        assert said.durations is not None
        return said.mel, said.durations


def acoustic_to_onnx(model: AcousticModel) -> onnx.ModelProto:
    """Export a feed-forward acoustic network.

    ``tokens`` (1, U) int64 for any U, with several speakers also ``speaker`` (1,) int64 -> ``mel`` (1, bins, frames)
    float32, natural logarithm, and ``durations`` (1, U) int64, frames of each token, that sum to ``frames``.

    Args:
        model: in eval mode.

    Raises:
        ValueError: the network has a decoder with attention, or the exporter cannot write it.
    """
    name = type(model.network).__name__
    if hasattr(model.network, "frames_per_step"):
        raise ValueError(
            f"{name} speaks with an attention decoder, some frames at a time, which is no one graph: export a student "
            "that says all frames at once, such as student=feed_forward_small (FeedForwardAcoustic)"
        )
    example = {TOKENS: torch.ones(1, 16, dtype=torch.int64)}
    if has_speakers(model):
        example[SPEAKER] = torch.zeros(1, dtype=torch.int64)
    # With oneDNN the exporter asks whether it is faster, which depends on how many frames there will be; switching it
    # off speaks of Intel's GPUs.
    with warnings.catch_warnings(action="ignore"), torch.backends.mkldnn.flags(enabled=False):
        return exported_graph(Sayings(model), name, example, [MEL, DURATIONS], {TOKENS: {1: "length"}})


def has_speakers(model: AcousticModel) -> bool:
    """Whether a network is told who speaks."""
    return getattr(model.network, "speaker", None) is not None


def acoustic_inputs(model: AcousticModel, sentences: Sentences) -> Iterator[dict[str, Tensor]]:
    """What a file of this network takes, of one sentence after the other."""
    for tokens, length, speaker in zip(*sentences, strict=True):
        inputs = {TOKENS: tokens[None, :length]}
        yield inputs | ({SPEAKER: speaker[None]} if has_speakers(model) else {})


class AcousticFile(nn.Module):
    """A file in the place of the network that it was made of: it says the sentences of a batch one by one.

    Args:
        session: the file, opened.
        model: the network in float, in eval mode.

    Attributes:
        max_abs_difference: of a value of the mels that were said, to those of the network with the file's durations: a
            duration that is rounded to the other side would move all that follows.
        other_durations: share of the tokens to which the network gives another number of frames.
    """

    def __init__(self, session: onnxruntime.InferenceSession, model: AcousticModel) -> None:
        super().__init__()
        self._session = session
        self._model = model
        self.max_abs_difference = 0.0
        self._tokens = self._others = 0

    @property
    def other_durations(self) -> float:
        return self._others / max(self._tokens, 1)

    @torch.no_grad()
    def forward(self, sentences: Sentences, recorded: Recorded | None = None) -> AcousticOutput:
        """Say sentences; what was recorded is of no matter."""
        said = [self._say(inputs) for inputs in acoustic_inputs(self._model, sentences)]
        mels, durations = zip(*said, strict=True)
        padded = pad_sequence([mel.T for mel in mels], batch_first=True, padding_value=SILENCE)
        return AcousticOutput(
            mel=padded.transpose(1, 2),
            frames=torch.tensor([mel.shape[1] for mel in mels]),
            durations=pad_sequence(list(durations), batch_first=True),
        )

    def _say(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Mel (bins, frames) and durations (U,) of one sentence."""
        fed = {name: tensor.numpy() for name, tensor in inputs.items()}
        mel, durations = map(torch.from_numpy, self._session.run([MEL, DURATIONS], fed))
        sentence = _sentence(**inputs)
        expected = self._model(sentence, Recorded(mel, durations.sum(dim=1), durations)).mel
        self.max_abs_difference = greatest(self.max_abs_difference, mel - expected)
        self._tokens += durations.numel()
        self._others += int((self._model(sentence).durations != durations).sum())
        return mel[0], durations[0]


def _sentence(tokens: Tensor, speaker: Tensor | None = None) -> Sentences:
    """A sentence (1, U) without padding, of the first speaker where no other is named."""
    lengths = torch.ones_like(tokens).sum(dim=1)
    return Sentences(tokens, lengths, torch.zeros_like(lengths) if speaker is None else speaker)
