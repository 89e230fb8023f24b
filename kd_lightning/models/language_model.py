"""A language model over tokens: what is likely to be said next, without hearing anything.

As a teacher it tells an attention decoder how transcripts are spelt: Bai, Yi, Tao, Tian & Wen, "Learn Spelling from
Teachers: Transferring Knowledge from Language Models to Sequence-to-Sequence Speech Recognition", Interspeech 2019.
"""

import torch
from torch import Tensor, nn

from kd_lightning.models.recognition_output import RecognitionOutput


class LanguageModel(nn.Module):
    """An LSTM over the tokens so far. It has the outputs of a recogniser with a decoder, and ignores the audio.

    There are no frames in what it says, so nothing can be decoded from it; it is judged by its perplexity.

    Args:
        classes: number of tokens V; 0 starts and ends the sentence.
        width: size of a token and of the state.
        layers: of the LSTM.
        dropout: probability that a value of a token, or of what a layer gives to the next, is dropped.

    Attributes:
        hears: False.
    """

    hears = False

    def __init__(self, classes: int, width: int = 256, layers: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, width)
        self.layers = nn.ModuleList(nn.LSTM(width, width, batch_first=True) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, classes)

    def forward(self, features: Tensor, lengths: Tensor, prefix: Tensor | None = None) -> RecognitionOutput:
        """Score what follows 0, y1, ..., yU.

        Args:
            features: (B, bins, frames), not looked at.
            lengths: (B,) int64, not looked at.
            prefix: (B, U) int64, y1 to yU, padded with 0; ``None`` for no scores.
        """
        token_logits = None if prefix is None else self.score(prefix)
        return RecognitionOutput(None, torch.zeros_like(lengths), token_logits)

    def score(self, prefix: Tensor) -> Tensor:
        """Logits (B, U + 1, V) of what follows each of the tokens 0, y1, ..., yU, given those before it."""
        hidden = self.dropout(self.embedding(torch.cat((prefix.new_zeros(len(prefix), 1), prefix), dim=1)))
        for layer in self.layers:
            hidden = self.dropout(layer(hidden)[0])
        logits: Tensor = self.head(hidden)
        return logits

    def score_next(self, memory: Tensor, lengths: Tensor, prefix: Tensor) -> Tensor:
        """Logits (B, V) of the token after a prefix (B, U), whatever an encoder remembers."""
        return self.score(prefix)[:, -1]

    def encode(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What a search would look at.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "a language model hears nothing, so it has no sentence for an utterance: as a teacher it goes with "
            "transfer=attention_language_model, and no recipe that learns from what the teacher heard"
        )
