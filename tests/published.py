"""Tiny recognisers with random weights, in the formats in which large ones are published."""

import json
import string
from pathlib import Path

import tokenizers
import torch
import torchaudio
import transformers
from torch import nn
from torchaudio.pipelines import Wav2Vec2ASRBundle

LETTERS = "|'" + string.ascii_uppercase
SECONDS = 8
WRITTEN = "adehinost"


def spread(model: nn.Module) -> None:
    """Weights far from the initial ones, with which all frames sound alike."""
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.4, generator=generator)


def wav2vec2_folder(folder: Path) -> Path:
    """wav2vec 2.0 with CTC and the letters of English, as on the Hugging Face hub."""
    config = transformers.Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        conv_dim=(8, 8, 8),
        conv_kernel=(10, 8, 8),
        conv_stride=(5, 8, 8),
        num_conv_pos_embeddings=8,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        vocab_size=len(LETTERS) + 4,
    )
    model = transformers.Wav2Vec2ForCTC(config)
    spread(model)
    model.save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    names = ["<pad>", "<s>", "</s>", "<unk>", *LETTERS]
    (folder / "vocab.json").write_text(json.dumps({name: number for number, name in enumerate(names)}))
    return folder


def wav2vec2_bundle(folder: Path) -> tuple[Wav2Vec2ASRBundle, Path]:
    """The same as a bundle of torchaudio, and its file."""
    sizes = {
        "extractor_mode": "layer_norm",
        "extractor_conv_layer_config": [(8, 10, 5), (8, 8, 8), (8, 8, 8)],
        "extractor_conv_bias": False,
        "encoder_embed_dim": 16,
        "encoder_projection_dropout": 0.0,
        "encoder_pos_conv_kernel": 8,
        "encoder_pos_conv_groups": 2,
        "encoder_num_layers": 2,
        "encoder_num_heads": 2,
        "encoder_attention_dropout": 0.0,
        "encoder_ff_interm_features": 24,
        "encoder_ff_interm_dropout": 0.0,
        "encoder_dropout": 0.0,
        "encoder_layer_norm_first": True,
        "encoder_layer_drop": 0.0,
        "aux_num_out": len(LETTERS) + 1,
    }
    bundle = Wav2Vec2ASRBundle("tiny.pth", sizes, 16000, True, "Wav2Vec2", tuple(LETTERS))
    model = torchaudio.models.wav2vec2_model(**sizes)
    spread(model)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), folder / "tiny.pth")
    return bundle, folder / "tiny.pth"


@torch.no_grad()
def _write_letters(model: transformers.WhisperForConditionalGeneration, end: int, letters: list[int]) -> None:
    """Let a Whisper of random weights write letters alone, and come to an end."""
    decoder = model.model.decoder
    said = torch.zeros(len(decoder.embed_tokens.weight), 1)
    said[[*letters, end]] = 1.0
    decoder.embed_tokens.weight.mul_(said.clamp(min=0.01))
    towards = decoder.embed_tokens.weight[end]
    # The later a place, the more it looks like the end.
    places = torch.linspace(-1, 1, 48).clamp(max=1)
    decoder.embed_positions.weight[: len(places)] += 8.0 * places[:, None] * towards / towards.norm()


def whisper_folder(folder: Path) -> Path:
    """Whisper, which hears eight seconds, writes bytes of English, and has four layers in its decoder."""
    tokenizer = tokenizers.ByteLevelBPETokenizer()
    tokenizer.train_from_iterator([" a"], vocab_size=256)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_model(str(folder))
    end, start, english, transcribe, plain = range(256, 261)
    config = transformers.WhisperConfig(
        vocab_size=261,
        d_model=16,
        encoder_layers=2,
        decoder_layers=4,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        max_source_positions=50 * SECONDS,
        max_target_positions=160,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=start,
    )
    model = transformers.WhisperForConditionalGeneration(config)
    spread(model)
    _write_letters(model, end, [number for name, number in tokenizer.get_vocab().items() if name in WRITTEN])
    model.save_pretrained(folder)
    told = {
        "lang_to_id": {"<|en|>": english},
        "task_to_id": {"transcribe": transcribe},
        "no_timestamps_token_id": plain,
    }
    settings = folder / "generation_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | told))
    transformers.WhisperFeatureExtractor(chunk_length=SECONDS).save_pretrained(folder)
    return folder
