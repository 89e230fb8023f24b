"""Recognisers with and without an attention decoder: who writes with it, and who is decoded by CTC."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from kd_lightning.decoding.greedy import greedy
from kd_lightning.decoding.transcriber import Transcriber
from kd_lightning.deploy.onnx_file import to_onnx
from kd_lightning.distillers.hypotheses import HypothesisListener
from kd_lightning.distillers.recognition import decode, said
from kd_lightning.frontend.features import LogMel
from kd_lightning.models.listen_attend_spell import ListenAttendSpell, Listener
from kd_lightning.models.quartznet import QuartzNet
from kd_lightning.models.recogniser import Recogniser
from kd_lightning.models.transformer_recogniser import TransformerEncoder, TransformerRecogniser
from kd_lightning.teachers.ensemble import Features

PIECES = ["<blank>", " ", *"abc"]
BINS = 10
TINY = {"width": 16, "heads": 2, "inner": 32, "layers": 1, "channels": 4, "dropout": 0.0}
ENCODERS = {
    "decoder_layers=0": lambda: TransformerRecogniser(BINS, len(PIECES), **TINY, decoder_layers=0),
    "transformer": lambda: TransformerEncoder(BINS, len(PIECES), **TINY),
    "listener": lambda: Listener(BINS, len(PIECES), hidden=8, pyramids=1),
    "quartznet": lambda: QuartzNet(BINS, len(PIECES), (8,), (3,), tail_kernel=3, head_channels=8),
}
WRITERS = {
    "transformer": lambda: TransformerRecogniser(BINS, len(PIECES), **TINY, decoder_layers=1),
    "speller": lambda: ListenAttendSpell(BINS, len(PIECES), hidden=8, speller_hidden=8, embedding=4),
}


def recogniser(network: nn.Module) -> Recogniser:
    return Recogniser(LogMel(window_seconds=0.025, bins=BINS, floor_db=80.0, padding="zeros"), network).eval()


@pytest.fixture
def waveforms() -> tuple[Tensor, Tensor]:
    return 0.1 * torch.randn(3, 16000), torch.tensor([16000, 9000, 4000])


@pytest.mark.parametrize("name", WRITERS)
def test_a_decoder_writes(name: str) -> None:
    model = recogniser(WRITERS[name]())
    assert model.writes
    with pytest.raises(ValueError, match="writes with an attention decoder"):
        to_onnx(model, 16000)
    with pytest.raises(ValueError, match="is for CTC, and this teacher writes with a decoder"):
        HypothesisListener(model, PIECES, "en", language_model=Path("words.arpa"))


@pytest.mark.parametrize("name", ENCODERS)
@torch.no_grad()
def test_without_a_decoder_ctc_is_decoded(name: str, waveforms: tuple[Tensor, Tensor]) -> None:
    model = recogniser(ENCODERS[name]())
    assert not model.writes
    features = Features(waveforms[0], None, waveforms[1])
    output = model(*waveforms)
    assert decode(model, features) == greedy(output.logits, output.lengths)
    # There is nothing for a prefix to be continued by.
    assert said(model, features, torch.ones(3, 2, dtype=torch.int64)).token_logits is None
    computed, frames = features(model.frontend), features.frames(model.frontend)
    for beam in (1, 4):
        heard = HypothesisListener(model, PIECES, "en", beam)(computed, frames, output, [None] * 3)
        assert all(one.ended for one in heard)
    found = Transcriber(model, PIECES)((waveforms[0][0] * 32767).numpy().astype(np.int16))
    assert found.words is not None


@pytest.mark.slow  # 10 seconds
def test_an_encoder_decoder_without_decoder_is_exported() -> None:
    graph = to_onnx(recogniser(ENCODERS["decoder_layers=0"]()), 16000)
    assert [value.name for value in graph.graph.output] == ["log_probabilities"]
