"""One encoder for two tasks: sentences by CTC, and the word of a short clip by a classifier."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from kd_lightning.models.attention_recogniser import Encoder
from kd_lightning.models.padding import frame_mask
from kd_lightning.models.recognition_output import RecognitionOutput
from kd_lightning.models.waveform_model import KeywordOutput


class SharedEncoder(nn.Module):
    """A CTC recogniser with a keyword classifier on its last hidden frames h.

    The classifier pools h over the valid frames with learned weights, softmax_t(w h_t) (self-attention pooling, Safari,
    India & Hernando, Interspeech 2020): a word fills only part of its clip.

    Sentences and clips come in batches of their own. Layers that normalise by the batch (BatchNorm) would learn
    statistics of either, and be used with those of both: encoders with LayerNorm, or none, are the ones to share.

    Args:
        bins: number of feature bins.
        classes: number of tokens V, the blank included.
        keywords: names of the classes of clips, in the order of the corpus.
        encoder: makes a recognition network with a CTC layer, of ``bins`` and ``classes``.

    Attributes:
        keywords: as given.
        width: size D of a hidden frame.
        subsampling: frames of the features for one hidden frame.

    Raises:
        ValueError: if there are no keywords.
    """

    def __init__(
        self, bins: int, classes: int, keywords: Sequence[str], encoder: Callable[..., Encoder]
    ) -> None:
        super().__init__()
        if isinstance(keywords, str) or len(keywords) < 2:
            raise ValueError(
                f"keywords={keywords} of a shared encoder: list the words of the clips, as experiment=two_tasks does"
            )
        self.keywords = list(keywords)
        self.encoder = encoder(bins=bins, classes=classes)
        self.width = self.encoder.width
        self.subsampling = self.encoder.subsampling
        self.salience = nn.Linear(self.width, 1)
        self.classifier = nn.Linear(self.width, len(self.keywords))

    def forward(self, features: Tensor, lengths: Tensor) -> RecognitionOutput:
        """Score the tokens of each frame.

        Args:
            features: (B, bins, frames).
            lengths: (B,) int64, valid frames.
        """
        network: Any = self.encoder
        output: RecognitionOutput = network(features, lengths)
        return output

    def encode(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The last hidden frames (B, frames, D) of features (B, bins, frames), and how many are valid (B,)."""
        return self.encoder.encode(features, lengths)

    def classify(self, features: Tensor, lengths: Tensor) -> KeywordOutput:
        """Score the keywords of clips; the arguments are those of :meth:`forward`.

        Returns:
            logits (B, C).
        """
        hidden, lengths = self.encode(features, lengths)
        salience = self.salience(hidden).squeeze(2)
        heard = frame_mask(lengths, hidden.shape[1])
        weights = salience.masked_fill(~heard, -torch.inf).softmax(dim=1)
        return KeywordOutput(self.classifier(torch.einsum("bt,btd->bd", weights, hidden)))
