"""Prefix beam search for CTC by flashlight-text, without a lexicon, with an n-gram model of tokens if there is one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from kd_lightning.decoding.hypothesis import Hypothesis

BLANK = 0
SPACE = "|"  # stands for a space in the file of a language model, where spaces separate tokens


class PrefixBeam:
    """Searches for the sentences whose paths together are the most probable (Hannun et al. 2014).

    The score of a sentence y is log p(y|x), summed over the paths in the beam, plus ``weight`` log p(y) of the language
    model. Its confidence is p(y|x)^(1/U) with U its number of tokens, all paths counted and no language model: the
    geometric mean a token.

    Args:
        pieces: V names of tokens, the blank first.
        beam: how many prefixes are kept after each frame.
        n_best: how many sentences are returned at most.
        threshold: prefixes this far below the best one, in log-probability, are dropped.
        language_model: an ARPA or KenLM binary file over the same tokens, a space written ``|``; ``None`` for none.
        weight: of the language model, tuned on validation.

    Raises:
        FileNotFoundError: there is no such language model.
        ValueError: flashlight-text is not installed, the file is no language model, or one of other tokens.
    """

    def __init__(
        self,
        pieces: Sequence[str],
        beam: int = 50,
        n_best: int = 1,
        threshold: float = 50.0,
        language_model: str | Path | None = None,
        weight: float = 0.5,
    ) -> None:
        try:
            from torchaudio.models.decoder import ctc_decoder
        except (ImportError, RuntimeError) as error:
            raise ValueError(
                "prefix beam search needs flashlight-text: pip install 'kd_lightning[recognition]'"
            ) from error
        names = [SPACE if piece == " " else piece for piece in pieces]
        self._search = ctc_decoder(
            lexicon=None,
            tokens=names,
            # Given a path, torchaudio 2.11 numbers the model's tokens in another order than the network's.
            lm=None if language_model is None else _language_model(Path(language_model), names),
            nbest=n_best,
            beam_size=beam,
            beam_threshold=threshold,
            lm_weight=weight * math.log(10),  # KenLM counts in powers of ten
            log_add=True,
            blank_token=names[BLANK],
            # Every hypothesis starts and ends in the silence token, which would swallow a space there.
            sil_token=names[BLANK],
        )

    @torch.no_grad()
    def __call__(self, logits: Tensor, lengths: Tensor) -> list[list[Hypothesis]]:
        """Sentences of each utterance, the best first.

        Args:
            logits: (B, frames, V), on any device; the search runs on the CPU.
            lengths: (B,) int64, valid frames.

        Returns:
            up to ``n_best`` hypotheses an utterance; the empty sentence where there is no frame.
        """
        log_probs = logits.float().log_softmax(dim=-1).cpu()
        return [
            self._sentences(utterance[:length].contiguous())
            for utterance, length in zip(log_probs, lengths.tolist(), strict=True)
        ]

    def _sentences(self, log_probs: Tensor) -> list[Hypothesis]:
        """Sentences of one utterance (frames, V)."""
        if not len(log_probs):
            return [Hypothesis([], 0.0, 0.0)]
        (found,) = self._search(log_probs[None])
        lengths = torch.tensor([len(one.tokens) for one in found])
        likelihoods = -functional.ctc_loss(
            log_probs[:, None].expand(-1, len(found), -1),
            torch.cat([one.tokens for one in found]),
            torch.full_like(lengths, len(log_probs)),
            lengths,
            blank=BLANK,
            reduction="none",
        )
        confidences = (likelihoods / lengths.clamp(min=1)).exp().tolist()
        return [
            Hypothesis(one.tokens.tolist(), one.score, sure)
            for one, sure in zip(found, confidences, strict=True)
        ]


def _language_model(path: Path, names: Sequence[str]) -> Any:
    """A KenLM model that knows the tokens by the network's numbers."""
    from flashlight.lib.text.decoder.kenlm import KenLM  # type: ignore[import-untyped]
    from flashlight.lib.text.dictionary import Dictionary  # type: ignore[import-untyped]

    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such language model")
    try:
        model = KenLM(str(path), Dictionary([*names, "<unk>"]))
    except RuntimeError as error:
        raise ValueError(f"{path} is no ARPA or KenLM file ({error})") from error
    start = model.start(False)
    scores = [model.score(start, number)[1] for number in range(len(names) + 1)]
    if all(score == scores[-1] for score in scores[1:]):
        raise ValueError(
            f"{path} knows none of the tokens {list(names[1:5])}…: train it on sentences that are split "
            f"into these tokens, with {SPACE!r} for a space"
        )
    return model
