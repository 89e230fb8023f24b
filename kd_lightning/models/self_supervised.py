"""Encoders pre-trained on unlabelled speech (wav2vec 2.0, HuBERT, WavLM) as keyword spotters.

The encoder's layers are mixed by learned weights and averaged over time, and a linear layer classifies the outcome, as
in SUPERB: Yang et al., "SUPERB: Speech Processing Universal PERformance Benchmark", Interspeech 2021.
"""

import pickle
from collections.abc import Sequence
from pathlib import Path

import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional
from torchaudio.pipelines import Wav2Vec2Bundle

from kd_lightning.models.waveform_model import KeywordOutput

# torchaudio normalises waveforms by layer_norm with its default epsilon, as fairseq did in pre-training.
TORCHAUDIO_EPSILON = 1e-5


class SpeechEncoder(nn.Module):
    """Waveform in, the hidden states of every layer out.

    Attributes:
        width: size D of a hidden state.
        layers: number of hidden states that ``forward`` returns.
        sample_rate: of the speech that it was pre-trained on, in Hz.
        normalise_epsilon: what is added to the variance where it wants waveforms of zero mean and unit variance;
            ``None`` where it takes them as they are.
        depends_on_padding: whether zeros behind an utterance change its hidden states although its length is given.
    """

    width: int
    layers: int
    sample_rate: int
    normalise_epsilon: float | None
    depends_on_padding: bool

    @property
    def extractor(self) -> nn.Module:
        """The convolutions at the bottom, which are not fine-tuned (Baevski et al. 2020)."""
        raise NotImplementedError

    def forward(self, waveform: Tensor, lengths: Tensor | None) -> tuple[Sequence[Tensor], Tensor | None]:
        """Encode waveforms.

        Args:
            waveform: (B, T) float32.
            lengths: (B,) int64, valid samples; ``None`` where all are.

        Returns:
            hidden states (B, frames, D) of each layer, and the valid frames (B,) if lengths were given.
        """
        raise NotImplementedError


class SelfSupervisedNetwork(nn.Module):
    """A speech encoder, a learned mix of its layers, the mean over time, and a linear classifier.

    It hears the waveform itself (frontend ``waveform``).

    Args:
        classes: number of classes C.
        encoder: built, with the weights that it starts from.
        sample_rate: of the waveforms, in Hz.
        frozen: the encoder stays as it is, in eval mode, and only the mix and the classifier learn; otherwise all but
            its convolutional extractor learns.

    Raises:
        ValueError: if the encoder was pre-trained at another sample rate.
    """

    def __init__(self, classes: int, encoder: SpeechEncoder, sample_rate: int, frozen: bool) -> None:
        super().__init__()
        if encoder.sample_rate != sample_rate:
            raise ValueError(
                f"the encoder hears {encoder.sample_rate} Hz and the frontend gives {sample_rate} Hz: "
                f"use a corpus and a frontend of {encoder.sample_rate} Hz"
            )
        self.encoder = encoder
        self.frozen = frozen
        self.pooling = LayerPooling(encoder.layers)
        self.head = nn.Linear(encoder.width, classes)
        (encoder if frozen else encoder.extractor).requires_grad_(False)

    @property
    def depends_on_padding(self) -> bool:
        """Whether clips of different lengths cannot share a batch; such a network is for clips of one length."""
        return self.encoder.depends_on_padding

    def train(self, mode: bool = True) -> "SelfSupervisedNetwork":
        """Set the mode; what does not learn stays in eval mode."""
        super().train(mode)
        (self.encoder if self.frozen else self.encoder.extractor).eval()
        return self

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> KeywordOutput:
        """Classify clips.

        Args:
            waveform: (B, T) float32, what :class:`~kd_lightning.frontend.raw_waveform.RawWaveform` gives.
            lengths: (B,) int64, valid samples of each clip, where not all are; the others are zeros.

        Returns:
            logits (B, C).

        Raises:
            ValueError: for clips of different lengths where the encoder's outputs depend on padding.
        """
        if lengths is not None and bool((lengths == waveform.shape[1]).all()):
            lengths = None
        if lengths is not None and self.depends_on_padding:
            raise ValueError(
                "this encoder's outputs depend on padding: give it clips of one length, or one with layer "
                "normalisation in its extractor (the large models)"
            )
        if self.encoder.normalise_epsilon is not None:
            waveform = standardised(waveform, lengths, self.encoder.normalise_epsilon)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states, frames = self.encoder(waveform, lengths)
        return KeywordOutput(self.head(self.pooling(states, frames)))


class LayerPooling(nn.Module):
    """Mean over time of a weighted sum of layers; the weights are a softmax of learned scores, equal at first.

    Args:
        layers: number of layers.
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(torch.zeros(layers))

    def forward(self, states: Sequence[Tensor], lengths: Tensor | None = None) -> Tensor:
        """Pool states (B, frames, D), one a layer, over their valid frames ``lengths`` (B,) to (B, D)."""
        # Time first: the mean of a sum is the sum of the means, and keeps a frames-th of it in memory.
        if lengths is None:
            means = torch.stack([state.mean(dim=1) for state in states])
        else:
            valid = torch.arange(states[0].shape[1], device=lengths.device) < lengths[:, None]
            shares = (valid / lengths[:, None]).to(states[0].dtype)
            means = torch.stack([torch.einsum("btd,bt->bd", state, shares) for state in states])
        return torch.einsum("l,lbd->bd", self.scores.softmax(dim=0).to(means.dtype), means)


def standardised(waveform: Tensor, lengths: Tensor | None, epsilon: float) -> Tensor:
    """Give each clip zero mean and unit variance over its own samples.

    Args:
        waveform: (B, T) float32.
        lengths: (B,) int64, valid samples; ``None`` where all are.
        epsilon: added to the variance.

    Returns:
        (B, T) float32, zero behind each clip's end.
    """
    if lengths is None:
        return functional.layer_norm(waveform, waveform.shape[1:], eps=epsilon)
    count = lengths[:, None]
    valid = torch.arange(waveform.shape[1], device=waveform.device) < count
    centred = (waveform - (waveform * valid).sum(dim=1, keepdim=True) / count) * valid
    return centred / (centred.square().sum(dim=1, keepdim=True) / count + epsilon).sqrt()


class TorchaudioNetwork(SelfSupervisedNetwork):
    """A pre-trained encoder of torchaudio with a pooling head.

    Args:
        classes: number of classes C.
        bundle: name of a bundle in ``torchaudio.pipelines``: WAV2VEC2_BASE, HUBERT_BASE, WAVLM_BASE, ….
        weights: the bundle's ``.pth`` file on disk; nothing is downloaded. ``None`` starts from random weights.
        sample_rate: of the waveforms, in Hz.
        frozen: only the head learns.

    Raises:
        ValueError: if there is no such bundle, the file does not hold its weights, or it wants another sample rate.
        FileNotFoundError: if there is no such file.
    """

    def __init__(
        self,
        classes: int,
        bundle: str,
        weights: str | None = None,
        sample_rate: int = 16000,
        frozen: bool = True,
    ) -> None:
        super().__init__(classes, TorchaudioEncoder(bundle, weights), sample_rate, frozen)


class TorchaudioEncoder(SpeechEncoder):
    """The encoder of a bundle in ``torchaudio.pipelines``, without a recogniser's last layer.

    ``forward`` returns the output of each transformer layer. Layers are never dropped: all of them are mixed. Unlike
    torchaudio's own wrapper, which normalises waveforms over the whole batch, each clip is normalised by itself.

    Args:
        bundle: its name.
        weights: the bundle's ``.pth`` file; ``None`` for random weights.

    Raises:
        ValueError, FileNotFoundError: as :class:`TorchaudioNetwork`.
    """

    def __init__(self, bundle: str, weights: str | None) -> None:
        super().__init__()
        found = getattr(torchaudio.pipelines, bundle, None)
        if not isinstance(found, Wav2Vec2Bundle):
            bundles = (
                name
                for name in sorted(vars(torchaudio.pipelines))
                if isinstance(getattr(torchaudio.pipelines, name), Wav2Vec2Bundle)
            )
            raise ValueError(f"torchaudio.pipelines has no encoder {bundle!r}; it has {', '.join(bundles)}")
        settings = found._params | {"aux_num_out": None}
        is_wavlm = found._model_type == "WavLM"
        factory = torchaudio.models.wavlm_model if is_wavlm else torchaudio.models.wav2vec2_model
        self.model = factory(**settings)
        self.width = settings["encoder_embed_dim"]
        self.layers = settings["encoder_num_layers"]
        self.sample_rate = int(found.sample_rate)
        self.normalise_epsilon = TORCHAUDIO_EPSILON if found._normalize_waveform else None
        # Group norm takes its statistics over time, padding included; torchaudio's WavLM takes no mask at all.
        self.depends_on_padding = is_wavlm or settings["extractor_mode"] == "group_norm"
        transformer = self.model.encoder.transformer
        if not transformer.layer_norm_first:
            transformer.layer_norm.requires_grad_(False)  # behind the last layer, where nobody listens
        if weights is not None:
            path = Path(weights)
            if not path.is_file():
                raise FileNotFoundError(
                    f"{path} does not exist: fetch the weights of torchaudio.pipelines.{bundle} ({found._path}), or "
                    "start from random ones with weights: null"
                )
            load_tensors(self.model, read_pickle(path), path)

    @property
    def extractor(self) -> nn.Module:
        """The convolutions at the bottom."""
        extractor: nn.Module = self.model.feature_extractor
        return extractor

    def forward(self, waveform: Tensor, lengths: Tensor | None) -> tuple[list[Tensor], Tensor | None]:
        """Encode waveforms (B, T): the output (B, frames, D) of each transformer layer."""
        states, frames = self.model.extract_features(waveform, lengths)
        return states, frames


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that ``torch.save`` wrote, without running what else it may hold.

    Raises:
        ValueError: if it is damaged, or holds anything but tensors by name.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise ValueError(f"{path} is damaged or holds more than weights: fetch it again") from error
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise ValueError(f"{path} holds more than weights: name a file of tensors by name")
    return state


def load_tensors(model: nn.Module, tensors: dict[str, Tensor], source: Path) -> None:
    """Fill every tensor of the model; further ones (a recogniser's last layer, a quantiser) are left out.

    Args:
        model: changed in place.
        tensors: by name, of any precision.
        source: where they are from, for the error.

    Raises:
        ValueError: if one is missing or has another shape.
    """
    try:
        missing = [f"{name} is missing" for name in model.load_state_dict(tensors, strict=False).missing_keys]
    except RuntimeError as error:
        missing = [line.strip() for line in str(error).splitlines()[1:]]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise ValueError(f"{source} holds the weights of another network: {missing[0]}{more}")
