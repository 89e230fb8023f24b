"""Tacotron 2: a decoder that looks at the tokens and says a spectrogram, a few frames a step.

Shen et al., "Natural TTS Synthesis by Conditioning WaveNet on Mel Spectrogram Predictions", ICASSP 2018, with the parts
of torchaudio and under their names, so that its pretrained weights fit. Several frames a step are those of Wang et al.,
"Tacotron: Towards End-to-End Speech Synthesis", Interspeech 2017, section 3.3.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional

from kd_lightning.frontend.mel import SILENCE, TYPICAL
from kd_lightning.models.acoustic_output import AcousticOutput, Recorded, Sentences
from kd_lightning.models.padding import frame_mask, without_padding
from kd_lightning.models.ragged_recurrence import recurrent_states
from kd_lightning.models.self_supervised import load_tensors, read_pickle

# A sentence of very few tokens may take so many frames.
LEAST_LIMIT = 100


class Step(NamedTuple):
    """What the decoder says in a step of r frames.

    Attributes:
        frames: (B, r * bins), one frame after the other.
        stop_logits: (B,).
        attention: (B, U).
        hidden: (B, D).
    """

    frames: Tensor
    stop_logits: Tensor
    attention: Tensor
    hidden: Tensor


class Tacotron2(nn.Module):
    """Character or phoneme encoder, location-sensitive attention, LSTM decoder, postnet.

    The default arguments are the published sizes. Students can be narrower, say more frames a step, or start from
    spaced layers of a deeper one: ``encoder.convolutions`` or ``postnet.convolutions``.

    Args:
        bins: number of mel bins.
        classes: number of tokens.
        speakers: number of voices; what is learned of each is added to the encoder's output.
        frames_per_step: frames r that the decoder says, and that the postnet corrects, side by side.
        encoder_width: size of a token, even.
        encoder_layers: convolutions of the encoder.
        encoder_kernel: tokens that they see, odd.
        prenet_width: size of what the decoder makes of the last frames.
        attention_width: size of the state that chooses where to look.
        attention_space: size of the space in which that state and the tokens are compared.
        location_filters: of the convolution over where was looked before.
        location_kernel: tokens that it sees, odd.
        decoder_width: size D of the state that says the frames.
        postnet_width: channels of the postnet.
        postnet_layers: convolutions of the postnet.
        postnet_kernel: steps that they see, odd.
        dropout: probability that a value of a convolution is dropped.
        recurrent_dropout: probability that a value of a state is dropped; the paper has zoneout.
        prenet_dropout: probability that a value of the prenet is dropped.
        prenet_dropout_at_inference: keeps that up in eval mode, as the paper and torchaudio do. Then no sentence is
            said twice alike.
        max_frames_per_token: free-running, a sentence of U tokens is cut at U times as many frames (or at 100, if that
            is more).
        weights: a file of torchaudio's weights on disk, such as those of
            ``torchaudio.pipelines.TACOTRON2_GRIFFINLIM_CHAR_LJSPEECH``; ``None`` for random ones.

    Attributes:
        frames_per_step: r.

    Raises:
        ValueError: if a kernel is even, or the file holds the weights of another network.
        FileNotFoundError: if there is no such file.
    """

    def __init__(
        self,
        bins: int,
        classes: int,
        speakers: int = 1,
        frames_per_step: int = 1,
        encoder_width: int = 512,
        encoder_layers: int = 3,
        encoder_kernel: int = 5,
        prenet_width: int = 256,
        attention_width: int = 1024,
        attention_space: int = 128,
        location_filters: int = 32,
        location_kernel: int = 31,
        decoder_width: int = 1024,
        postnet_width: int = 512,
        postnet_layers: int = 5,
        postnet_kernel: int = 5,
        dropout: float = 0.5,
        recurrent_dropout: float = 0.1,
        prenet_dropout: float = 0.5,
        prenet_dropout_at_inference: bool = False,
        max_frames_per_token: float = 20.0,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        kernels = {"encoder": encoder_kernel, "location": location_kernel, "postnet": postnet_kernel}
        for name, kernel in kernels.items():
            if kernel % 2 == 0:
                raise ValueError(f"{name}_kernel={kernel}: set an odd one, which has a middle")
        parts = torchaudio.models.Tacotron2(
            n_mels=frames_per_step * bins,
            n_symbol=classes,
            symbol_embedding_dim=encoder_width,
            encoder_embedding_dim=encoder_width,
            encoder_n_convolution=encoder_layers,
            encoder_kernel_size=encoder_kernel,
            prenet_dim=prenet_width,
            attention_rnn_dim=attention_width,
            attention_hidden_dim=attention_space,
            attention_location_n_filter=location_filters,
            attention_location_kernel_size=location_kernel,
            attention_dropout=recurrent_dropout,
            decoder_rnn_dim=decoder_width,
            decoder_dropout=recurrent_dropout,
            postnet_embedding_dim=postnet_width,
            postnet_n_convolution=postnet_layers,
            postnet_kernel_size=postnet_kernel,
        )
        self.frames_per_step = frames_per_step
        self.bins = bins
        self.dropout = dropout
        self.max_frames_per_token = max_frames_per_token
        self.embedding = parts.embedding
        self.encoder = parts.encoder
        self.speaker = nn.Embedding(speakers, encoder_width) if speakers > 1 else None
        self.decoder = parts.decoder
        self.decoder.prenet = Prenet(parts.decoder.prenet.layers, prenet_dropout, prenet_dropout_at_inference)
        self.postnet = parts.postnet
        nn.init.constant_(self.decoder.linear_projection.bias, TYPICAL)
        if weights is not None:
            self._load(Path(weights))

    def forward(
        self, sentences: Sentences, recorded: Recorded | None = None, frames: Tensor | None = None
    ) -> AcousticOutput:
        """Say sentences.

        Args:
            sentences: B of them.
            recorded: what the decoder hears in place of its own frames; ``None`` lets it run free.
            frames: (B,) int64, free-running: go on for so many, whatever the stop logits say, so that each step can be
                compared with one that heard the recording. ``None`` heeds them.

        Returns:
            mel, coarse, stop_logits, attention and hidden; what was recorded has as many frames. Beyond an utterance's
            end, mel and coarse are :data:`~kd_lightning.frontend.mel.SILENCE`.
        """
        memory = self._encode(sentences)
        step = self._decoding(memory, sentences.lengths)
        ended = None
        if recorded is not None:
            steps, frames, length = self._forced(step, recorded.mel), recorded.frames, recorded.mel.shape[-1]
        else:
            wanted = (
                sentences.lengths.mul(self.max_frames_per_token).clamp(min=LEAST_LIMIT)
                if frames is None
                else frames
            )
            steps, taken, stopped = self._free(step, self._steps(wanted), heed=frames is None)
            if frames is None:
                frames, ended = taken * self.frames_per_step, stopped
            length = int(frames.max())
        said = Step(*(torch.stack(each, dim=1) for each in zip(*steps, strict=True)))
        coarse = said.frames.transpose(1, 2)
        return AcousticOutput(
            mel=self._unstacked(self._corrected(coarse, self._steps(frames)), frames, length),
            frames=frames,
            coarse=self._unstacked(coarse, frames, length),
            stop_logits=said.stop_logits,
            attention=said.attention,
            hidden=said.hidden,
            ended=ended,
            frames_per_step=self.frames_per_step,
        )

    def _steps(self, frames: Tensor) -> Tensor:
        """Steps (B,) int64 of so many frames."""
        return (frames / self.frames_per_step).ceil().long()

    def _encode(self, sentences: Sentences) -> Tensor:
        """What the decoder looks at: (B, U, encoder width)."""
        tokens, lengths, speakers = sentences
        hidden = self.embedding(tokens).transpose(1, 2)
        for convolution in self.encoder.convolutions:
            hidden = convolution(without_padding(hidden, lengths)).relu()
            hidden = functional.dropout(hidden, self.dropout, self.training)
        memory = recurrent_states(self.encoder.lstm, hidden.transpose(1, 2), lengths)
        if self.speaker is not None:
            memory = memory + self.speaker(speakers)[:, None]
        return memory.float()  # or autocast would sum up attention in half precision

    def _decoding(self, memory: Tensor, lengths: Tensor) -> Callable[[Tensor], Step]:
        """What takes one step after the other, each from what the prenet made of the last frames, (B, prenet width)."""
        *state, keys = self.decoder._initialize_decoder_states(memory)
        padding = ~frame_mask(lengths, memory.shape[1])

        def step(heard: Tensor) -> Step:
            nonlocal state
            frames, stop_logits, *state = self.decoder.decode(heard, *state, memory, keys, padding)
            _, _, hidden, _, attention, _, _ = state
            return Step(frames, stop_logits.squeeze(1), attention, hidden)

        return step

    def _forced(self, step: Callable[[Tensor], Step], mel: Tensor) -> list[Step]:
        """The steps of a decoder that hears a recording (B, bins, frames), one step late."""
        filled = functional.pad(mel, (0, -mel.shape[-1] % self.frames_per_step), value=SILENCE)
        stacked = filled.transpose(1, 2).unflatten(1, (-1, self.frames_per_step)).flatten(2)
        late = functional.pad(stacked[:, :-1], (0, 0, 1, 0))  # the first hears zeros
        return [step(heard) for heard in self.decoder.prenet(late).unbind(dim=1)]

    def _free(
        self, step: Callable[[Tensor], Step], limits: Tensor, heed: bool
    ) -> tuple[list[Step], Tensor, Tensor]:
        """The steps of a decoder that hears itself.

        Args:
            step: takes one.
            limits: (B,) int64, steps after which an utterance is cut.
            heed: whether an utterance ends where the decoder says so.

        Returns:
            the steps, of which those taken (B,) int64 belong to each utterance, and which (B,) bool ended by itself.
        """
        taken, ended = torch.zeros_like(limits), torch.zeros_like(limits, dtype=torch.bool)
        running = ~ended
        heard = self.embedding.weight.new_zeros(len(limits), self.frames_per_step * self.bins)
        steps = []
        while running.any():
            said = step(self.decoder.prenet(heard))
            heard = said.frames
            steps.append(said)
            taken = taken + running
            if heed:
                ended = ended | (running & (said.stop_logits.sigmoid() > 0.5))
            running = ~ended & (taken < limits)
        return steps, taken, ended

    def _corrected(self, coarse: Tensor, steps: Tensor) -> Tensor:
        """Frames (B, r * bins, S), of which ``steps`` (B,) are valid, with what the postnet adds to them."""
        hidden, last = coarse, len(self.postnet.convolutions) - 1
        for index, convolution in enumerate(self.postnet.convolutions):
            hidden = convolution(without_padding(hidden, steps))
            if index < last:
                hidden = hidden.tanh()
            hidden = functional.dropout(hidden, self.dropout, self.training)
        return coarse + hidden

    def _unstacked(self, stacked: Tensor, frames: Tensor, length: int) -> Tensor:
        """Frames (B, bins, length) float32 of (B, r * bins, S); silence beyond each utterance's end."""
        mel = stacked.unflatten(1, (self.frames_per_step, self.bins)).permute(0, 2, 3, 1).flatten(2)
        return mel[..., :length].float().masked_fill(~frame_mask(frames, length)[:, None], SILENCE)

    def _load(self, path: Path) -> None:
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} does not exist: fetch the weights of a Tacotron2 bundle in torchaudio.pipelines, or start "
                "from random ones with weights: null"
            )
        tensors = read_pickle(path)
        further = [name for name in tensors if name not in self.state_dict()]
        if further:
            raise ValueError(f"{path} holds the weights of another network: {further[0]} is not in this one")
        load_tensors(self, tensors, path)


class Prenet(nn.Module):
    """Linear layers with ReLU and dropout: the decoder may not rely on the last frames alone.

    Args:
        layers: linear, torchaudio's.
        dropout: probability that a value is dropped.
        at_inference: whether it is in eval mode too.
    """

    def __init__(self, layers: nn.ModuleList, dropout: float, at_inference: bool) -> None:
        super().__init__()
        self.layers = layers
        self.dropout = dropout
        self.at_inference = at_inference

    def forward(self, frames: Tensor) -> Tensor:
        """Map (..., r * bins) to (..., width)."""
        hidden = frames
        for layer in self.layers:
            hidden = functional.dropout(
                layer(hidden).relu(), self.dropout, self.training or self.at_inference
            )
        return hidden
