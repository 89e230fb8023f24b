"""A tiny Tacotron 2 with random weights, as torchaudio publishes large ones."""

from pathlib import Path

import torch
import torchaudio
from torchaudio.pipelines import TACOTRON2_GRIFFINLIM_CHAR_LJSPEECH as PUBLISHED

TINY = {
    "symbol_embedding_dim": 8,
    "encoder_embedding_dim": 8,
    "prenet_dim": 6,
    "attention_rnn_dim": 10,
    "attention_hidden_dim": 7,
    "attention_location_n_filter": 3,
    "attention_location_kernel_size": 5,
    "decoder_rnn_dim": 12,
    "postnet_embedding_dim": 9,
}


def tiny_bundle(folder: Path, stop: float = -9.0) -> tuple[object, torchaudio.models.Tacotron2, Path]:
    """A bundle, its network in eval mode, and the file of its weights.

    Args:
        folder: for the file.
        stop: bias of the logit by which the decoder ends; far below 0 it never does.
    """
    bundle = type(PUBLISHED)("tiny.pth", PUBLISHED._tacotron2_params | TINY)
    torch.manual_seed(0)
    network = torchaudio.models.Tacotron2(**bundle._tacotron2_params).eval()
    network.decoder.gate_layer.bias.data.fill_(stop)
    torch.save(network.state_dict(), folder / "tiny.pth")
    return bundle, network, folder / "tiny.pth"
