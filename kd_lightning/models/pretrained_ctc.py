"""Published recognisers, wav2vec 2.0, HuBERT or WavLM with a CTC layer, that hear the waveform and bring their tokens.

Their tokens are put into the order of this project's alphabets: the blank, the space, then the others as Unicode orders
them. So a student that spells with the same letters can learn from each frame.
"""

import math
from pathlib import Path

import torch
import torchaudio
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torchaudio.pipelines import Wav2Vec2ASRBundle

from kd_lightning.frontend.alphabet import Alphabet
from kd_lightning.frontend.tokens import BLANK_PIECE
from kd_lightning.models.hugging_face import SAFETENSORS, HuggingFaceEncoder, _json, _tensors, on_disk
from kd_lightning.models.recognition_output import RecognitionOutput
from kd_lightning.models.self_supervised import (
    SpeechEncoder,
    TorchaudioEncoder,
    load_tensors,
    read_pickle,
    standardised,
)

# What separates words in the alphabets of fairseq, torchaudio and Hugging Face.
BOUNDARY = "|"
# What transformers' Wav2Vec2CTCTokenizer assumes where a folder does not say.
SPECIAL = {
    "pad_token": "<pad>",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "word_delimiter_token": BOUNDARY,
}


class PretrainedCTC(nn.Module):
    """A speech encoder and the CTC layer that it was fine-tuned with.

    It hears the waveform itself (frontend ``waveform``), whose frames are samples. Encoders whose outputs depend on
    padding hear the utterances of a ragged batch one by one. The convolutions at the bottom are never trained (Baevski
    et al. 2020).

    Args:
        encoder: built, with the weights that it starts from.
        final_norm: path in the encoder of a norm behind its last layer; ``None`` where there is none.
        pieces: names of the tokens, the blank first and " " between words.
        sample_rate: of the waveforms, in Hz.
        dropout: of the frames that the CTC layer hears.

    Attributes:
        tokens: what spells with these pieces, for a corpus to follow.
        width: size D of a hidden frame.
        subsampling: samples for one frame of the output.
        ctc: maps hidden frames (B, frames, D) to token scores (B, frames, V).

    Raises:
        ValueError: if the encoder was trained at another sample rate.
    """

    def __init__(
        self,
        encoder: SpeechEncoder,
        final_norm: str | None,
        pieces: list[str],
        sample_rate: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if encoder.sample_rate != sample_rate:
            raise ValueError(
                f"the recogniser hears {encoder.sample_rate} Hz and the frontend gives {sample_rate} Hz: "
                f"use a corpus and a frontend of {encoder.sample_rate} Hz"
            )
        self.encoder = encoder
        self.final_norm = final_norm
        self.tokens = Alphabet(pieces)
        self.width = encoder.width
        convolutions = [module for module in encoder.extractor.modules() if isinstance(module, nn.Conv1d)]
        self.subsampling = math.prod(convolution.stride[0] for convolution in convolutions)
        # Samples that the first frame hears.
        self.shortest = 1
        for convolution in reversed(convolutions):
            self.shortest = (self.shortest - 1) * convolution.stride[0] + convolution.kernel_size[0]
        self.dropout = nn.Dropout(dropout)
        self.ctc = nn.Linear(self.width, len(pieces))
        encoder.extractor.requires_grad_(False)
        if final_norm is not None:
            encoder.get_submodule(final_norm).requires_grad_(
                True
            )  # where layers are pooled, nobody listens there

    @property
    def pieces(self) -> list[str]:
        """Names of the tokens."""
        return self.tokens.pieces

    @property
    def depends_on_padding(self) -> bool:
        """Whether utterances of different lengths are heard one by one."""
        return self.encoder.depends_on_padding

    def train(self, mode: bool = True) -> "PretrainedCTC":
        """Set the mode; the convolutions at the bottom stay in eval mode."""
        super().train(mode)
        self.encoder.extractor.eval()
        return self

    def forward(self, waveform: Tensor, lengths: Tensor) -> RecognitionOutput:
        """Score the tokens of each frame; the arguments are those of :meth:`encode`."""
        hidden, frames = self.encode(waveform, lengths)
        return RecognitionOutput(self.ctc(hidden), frames)

    def encode(self, waveform: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The last hidden frames.

        Args:
            waveform: (B, T) float32, zero beyond the utterances' ends.
            lengths: (B,) int64, valid samples. An utterance that is too short for a frame gets one, of silence at the
                end.

        Returns:
            (B, frames, D) and its valid frames (B,) int64.
        """
        if self.encoder.normalise_epsilon is not None:
            waveform = standardised(waveform, lengths, self.encoder.normalise_epsilon)
        waveform = nn.functional.pad(waveform, (0, max(0, self.shortest - waveform.shape[1])))
        lengths = lengths.clamp(min=self.shortest)
        if bool((lengths == waveform.shape[1]).all()):
            hidden, _ = self._last(waveform, None)
            frames = torch.full_like(lengths, hidden.shape[1])
        elif self.depends_on_padding:
            clips = zip(waveform, lengths.tolist(), strict=True)
            alone = [self._last(clip[None, :length], None)[0][0] for clip, length in clips]
            hidden = pad_sequence(alone, batch_first=True)
            frames = torch.tensor([len(states) for states in alone], device=lengths.device)
        else:
            hidden, frames = self._last(waveform, lengths)
        return self.dropout(hidden), frames

    def _last(self, waveform: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        states, frames = self.encoder(waveform, lengths)
        last = states[-1]
        return last if self.final_norm is None else self.encoder.get_submodule(self.final_norm)(last), frames

    def load_ctc(self, tensors: dict[str, Tensor], name: str, rows: list[int], source: Path) -> None:
        """Fill the CTC layer with a recogniser's own, in this project's order.

        Args:
            tensors: of the recogniser.
            name: of its last layer among them.
            rows: for each piece, the number that the recogniser gives it.
            source: where they are from, for the error.

        Raises:
            ValueError: if it has no such layer, or one of fewer tokens.
        """
        own = {part: tensors.get(f"{name}.{part}") for part in ("weight", "bias")}
        for part, tensor in own.items():
            if tensor is None:
                raise ValueError(
                    f"{source} has no {name}.{part}: these are the weights of an encoder that was not trained to "
                    "write; choose a recogniser"
                )
            if len(tensor) <= max(rows):
                raise ValueError(
                    f"{source} scores {len(tensor)} tokens and its alphabet has number {max(rows)}: they do not "
                    "belong together, copy both again"
                )
        load_tensors(
            self.ctc, {part: tensor[rows] for part, tensor in own.items() if tensor is not None}, source
        )


class TorchaudioCTC(PretrainedCTC):
    """A recogniser of torchaudio with its own tokens.

    Args:
        bundle: name of a bundle in ``torchaudio.pipelines``: WAV2VEC2_ASR_BASE_960H, HUBERT_ASR_LARGE, ….
        weights: the bundle's ``.pth`` file on disk; nothing is downloaded. ``None`` starts from random weights.
        sample_rate: of the waveforms, in Hz.

    Raises:
        ValueError: if there is no such recogniser, the file does not hold its weights, or it wants another sample rate.
        FileNotFoundError: if there is no such file.
    """

    def __init__(self, bundle: str, weights: str | None = None, sample_rate: int = 16000) -> None:
        recognisers = {
            name: found
            for name, found in vars(torchaudio.pipelines).items()
            # One of them only aligns: its alphabet has nothing between words.
            if isinstance(found, Wav2Vec2ASRBundle) and BOUNDARY in found.get_labels()
        }
        if bundle not in recognisers:
            raise ValueError(
                f"torchaudio.pipelines has no recogniser {bundle!r}; it has {', '.join(sorted(recognisers))}"
            )
        labels = recognisers[bundle].get_labels()
        pieces, rows = in_our_order(0, {label: number for number, label in enumerate(labels) if number})
        encoder = TorchaudioEncoder(bundle, weights)
        transformer = "model.encoder.transformer"
        # torchaudio's flag is of the whole stack: where its norm does not come before all layers, it comes behind them.
        before = encoder.get_submodule(transformer).layer_norm_first
        super().__init__(encoder, None if before else f"{transformer}.layer_norm", pieces, sample_rate)
        if weights is not None:
            tensors = read_pickle(Path(weights))
            # fairseq's files also score symbols that no transcript has.
            silent = recognisers[bundle]._remove_aux_axis
            for name in ("aux.weight", "aux.bias"):
                count = len(tensors.get(name, ()))
                if count > len(labels):
                    tensors[name] = tensors[name][[row for row in range(count) if row not in silent]]
            self.load_ctc(tensors, "aux", rows, Path(weights))


class HuggingFaceCTC(PretrainedCTC):
    """A wav2vec 2.0, HuBERT or WavLM recogniser (``*ForCTC``) from a Hugging Face folder, with its own tokens.

    vocab.json names the tokens: the padding token is the blank, the delimiter of words is " ", and the tokens that
    start, end or replace a text, which CTC never writes, are left out. tokenizer_config.json or special_tokens_map.json
    says which they are, where they are not transformers' usual ones.

    Args:
        folder: holds config.json, preprocessor_config.json, vocab.json and the weights; or a name on the hub.
        weights: name of the file of weights in the folder, as in
            :class:`~kd_lightning.models.hugging_face.HuggingFaceNetwork`.
        sample_rate: of the waveforms, in Hz.

    Raises:
        ValueError: if transformers is not installed, the folder holds another kind of model, its files are damaged or
            do not belong together, or it wants another sample rate.
        FileNotFoundError: if one of its files is missing.
    """

    def __init__(self, folder: str, weights: str | None = SAFETENSORS, sample_rate: int = 16000) -> None:
        place = on_disk(folder)
        encoder = HuggingFaceEncoder(place, weights)
        config = encoder.model.config
        if getattr(config, "add_adapter", False):
            raise ValueError(
                f"{place} has an adapter behind its encoder, which is not supported: use another"
            )
        pieces, rows = _alphabet(place, config.vocab_size)
        final_norm = "model.encoder.layer_norm" if config.do_stable_layer_norm else None
        super().__init__(encoder, final_norm, pieces, sample_rate, config.final_dropout)
        if weights is not None:
            self.load_ctc(_tensors(place, weights), "lm_head", rows, place / weights)


def in_our_order(
    blank: int, numbers: dict[str, int], boundary: str = BOUNDARY
) -> tuple[list[str], list[int]]:
    """A recogniser's tokens as this project writes and orders them.

    Capitals become small letters where that makes no two tokens alike, as transcripts here have small letters.

    Args:
        blank: its number among the recogniser's.
        numbers: the other tokens by name.
        boundary: name of what separates words.

    Returns:
        V pieces, and for each the number that the recogniser gives it.
    """
    named = {" " if name == boundary else name: number for name, number in numbers.items()}
    small = {name.lower(): number for name, number in named.items()}
    if len(small) == len(named):
        named = small
    order = sorted(named)  # no other sign comes before the space
    return [BLANK_PIECE, *order], [blank, *(named[name] for name in order)]


def _alphabet(folder: Path, size: int) -> tuple[list[str], list[int]]:
    """The pieces of a Hugging Face folder, and the numbers that its recogniser of ``size`` tokens gives them."""
    path = folder / "vocab.json"
    numbers = _json(path)
    if not all(isinstance(number, int) for number in numbers.values()):
        raise ValueError(f"{path} has alphabets of several languages: copy that of one beside its weights")
    special = dict(SPECIAL)
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            said = _json(folder / name)
            special |= {role: _name(said[role]) for role in SPECIAL if said.get(role) is not None}
    blank, boundary = special["pad_token"], special["word_delimiter_token"]
    if blank not in numbers:
        raise ValueError(f"{path} has no {blank}, which is the blank: copy the tokenizer's files again")
    silent = set(special.values()) - {boundary}
    written = {name: number for name, number in numbers.items() if name not in silent}
    beyond = [name for name, number in {**written, blank: numbers[blank]}.items() if number >= size]
    if beyond:
        raise ValueError(
            f"{path} has number {numbers[beyond[0]]} for {beyond[0]!r} and config.json says {size} tokens: they do not "
            "belong together, copy both again"
        )
    return in_our_order(numbers[blank], written, boundary)


def _name(token: str | dict[str, str]) -> str:
    return token if isinstance(token, str) else token["content"]
