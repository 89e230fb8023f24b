"""Whisper from a folder: transformers' own features and scores, layer-dropped students, and files that do not fit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from kd_lightning.frontend.raw_waveform import RawWaveform
from kd_lightning.metrics.efficiency import parameters
from kd_lightning.models.copying import spaced_layers
from kd_lightning.models.recogniser import Recogniser
from kd_lightning.models.whisper import Whisper, spaced

transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

# Numbers below 256 spell; then come the end and the commands, as in Whisper.
END, START, ENGLISH, GERMAN, TRANSCRIBE, TRANSLATE, PLAIN = range(256, 263)
TINY = {
    "vocab_size": 270,
    "num_mel_bins": 80,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 4,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "max_source_positions": 50,
    "max_target_positions": 12,
    "pad_token_id": END,
    "bos_token_id": END,
    "eos_token_id": END,
    "decoder_start_token_id": START,
    "encoder_layerdrop": 0.5,
    "decoder_layerdrop": 0.5,
}
TOLD = {
    "lang_to_id": {"<|en|>": ENGLISH, "<|de|>": GERMAN},
    "task_to_id": {"transcribe": TRANSCRIBE, "translate": TRANSLATE},
    "no_timestamps_token_id": PLAIN,
}
PREFIX = torch.tensor([[73, 30, 99], [256, 1, 0], [0, 0, 0]])
LENGTHS = torch.tensor([16000, 9000, 200])


def written(folder: Path, **settings: Any) -> nn.Module:
    """A tiny Whisper that hears a second, with random weights, saved by transformers."""
    model = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**(TINY | settings)))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    model.eval().save_pretrained(folder)
    edited(folder / "generation_config.json", **TOLD)
    extractor = transformers.WhisperFeatureExtractor(feature_size=80, chunk_length=1)
    extractor.save_pretrained(folder)
    trained = tokenizers.ByteLevelBPETokenizer()
    trained.train_from_iterator(["a"], vocab_size=256)
    trained.save_model(str(folder))
    return model


def edited(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def speech() -> Tensor:
    waveform = 0.1 * torch.randn(3, 16000)
    for clip, length in zip(waveform, LENGTHS, strict=True):
        clip[length:] = 0
    return waveform


@torch.no_grad()
@pytest.mark.parametrize("bins", [80, 128])
def test_features_are_those_of_the_feature_extractor(bins: int, tmp_path: Path) -> None:
    written(tmp_path, num_mel_bins=bins)
    extractor = transformers.WhisperFeatureExtractor(feature_size=bins, chunk_length=1)
    extractor.save_pretrained(tmp_path)
    waveform = speech()
    clips = [clip[:length].numpy() for clip, length in zip(waveform, LENGTHS, strict=True)]
    expected = extractor(clips, sampling_rate=16000, return_tensors="pt")["input_features"]
    found = Whisper(str(tmp_path)).log_mel(waveform, LENGTHS)
    torch.testing.assert_close(
        found, expected, rtol=0, atol=1e-4
    )  # filters in single and in double precision
    silence = extractor([np.zeros(800, np.float32)], sampling_rate=16000, return_tensors="pt")[
        "input_features"
    ]
    found = Whisper(str(tmp_path)).log_mel(torch.zeros(1, 800), torch.tensor([800]))
    torch.testing.assert_close(found, silence, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize(("language", "number"), [("en", ENGLISH), ("de", GERMAN)])
def test_scores_are_those_of_transformers_behind_its_prompt(
    language: str, number: int, tmp_path: Path
) -> None:
    model, waveform = written(tmp_path), speech()
    network = Whisper(str(tmp_path), language=language).eval()
    output = network(waveform, LENGTHS, PREFIX)
    # Our token n + 1 is theirs n.
    prompt = torch.tensor([[START, number, TRANSCRIBE, PLAIN]]).expand(3, -1)
    tokens = torch.cat((prompt, torch.where(PREFIX == 0, END, PREFIX - 1)), dim=1)
    model.set_attn_implementation("eager")
    expected = model(network.log_mel(waveform, LENGTHS), decoder_input_ids=tokens, output_attentions=True)
    logits = expected.logits[:, 3:]
    torch.testing.assert_close(output.token_logits[..., 0], logits[..., END], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(output.token_logits[..., 1:], logits[..., :END], rtol=1e-4, atol=1e-4)
    attention = torch.stack(expected.cross_attentions).mean(dim=(0, 2))[:, 3:]
    torch.testing.assert_close(output.attention, attention, rtol=1e-4, atol=1e-5)
    assert output.logits is None
    assert output.lengths.tolist() == [50, 50, 50]
    assert len(network.pieces) == output.token_logits.shape[2] == END + 1
    assert Recogniser(RawWaveform(), network).writes


@torch.no_grad()
def test_tokens_one_at_a_time_are_those_of_teacher_forcing(tmp_path: Path) -> None:
    written(tmp_path)
    network, waveform = Whisper(str(tmp_path)).eval(), speech()
    forced = network(waveform, LENGTHS, PREFIX).token_logits
    memory, frames = network.encode(waveform, LENGTHS)
    for place in range(4):
        one = network.score_next(memory, frames, PREFIX[:, :place])
        torch.testing.assert_close(one, forced[:, place], rtol=1e-4, atol=1e-5)
    later = PREFIX.clone()
    later[:, 2] = 7
    changed = network(waveform, LENGTHS, later).token_logits
    torch.testing.assert_close(changed[:, :3], forced[:, :3], rtol=1e-4, atol=1e-5)
    assert (changed[:, 3] - forced[:, 3]).abs().amax(dim=1).min() > 1e-3


@torch.no_grad()
def test_an_utterance_is_heard_as_it_is_alone(tmp_path: Path) -> None:
    written(tmp_path)
    network, waveform = Whisper(str(tmp_path)).eval(), speech()
    waveform[1, 9000:] = 1.0  # whatever the padding holds
    together = network(waveform, LENGTHS, PREFIX).token_logits
    for index, length in enumerate(LENGTHS.tolist()):
        one = network(
            waveform[index : index + 1, :length], LENGTHS[index : index + 1], PREFIX[index : index + 1]
        )
        torch.testing.assert_close(one.token_logits[0], together[index], rtol=1e-4, atol=1e-4)


def test_spaced_layers_are_those_of_distil_whisper() -> None:
    assert spaced(32, 2) == [0, 31]
    assert spaced(4, 4) == [0, 1, 2, 3]
    assert spaced(12, 4) == [0, 4, 7, 11]
    assert spaced(4, 1) == [0]
    for layers in (0, 5):
        with pytest.raises(ValueError, match=f"decoder_layers={layers} of a Whisper with 4: set 1 to 4"):
            spaced(4, layers)


@torch.no_grad()
def test_a_student_has_its_teachers_encoder_and_outer_layers(tmp_path: Path) -> None:
    written(tmp_path)
    teacher, student = Whisper(str(tmp_path)).eval(), Whisper(str(tmp_path), decoder_layers=2).eval()
    assert len(student.decoder.layers) == 2
    for ours, number in zip(student.decoder.layers, (0, 3), strict=True):
        for mine, theirs in zip(ours.parameters(), teacher.decoder.layers[number].parameters(), strict=True):
            assert torch.equal(mine, theirs)
    # Without the layers between, the teacher says what the student does.
    teacher.decoder.layers = nn.ModuleList([teacher.decoder.layers[0], teacher.decoder.layers[3]])
    waveform = speech()
    torch.testing.assert_close(
        student(waveform, LENGTHS, PREFIX).token_logits, teacher(waveform, LENGTHS, PREFIX).token_logits
    )


def test_a_student_can_also_be_copied_from_a_finished_teacher(tmp_path: Path) -> None:
    written(tmp_path)
    teacher = Whisper(str(tmp_path))
    copied = Whisper(str(tmp_path), weights=None, decoder_layers=2)
    spaced_layers(copied, teacher, "decoder.layers")
    expected = Whisper(str(tmp_path), decoder_layers=2).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in copied.state_dict().items())


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_encoder_neither_learns_nor_drops(frozen: bool, tmp_path: Path) -> None:
    written(tmp_path, dropout=0.5)
    network = Whisper(str(tmp_path), decoder_layers=2, frozen_encoder=frozen).train()
    waveform = speech()
    memories = [network.encode(waveform, LENGTHS)[0] for _ in range(2)]
    assert torch.equal(*memories) == frozen
    logits = network(waveform, LENGTHS, PREFIX).token_logits
    functional.cross_entropy(logits.flatten(0, 1), torch.full((12,), 5)).backward()
    learning = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    wanted = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert learning == wanted
    assert any(name.startswith("encoder.layers") for name in learning) != frozen


def test_what_is_too_long_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    network = Whisper(str(tmp_path)).eval()
    assert network.max_positions == 12 - 4
    with pytest.raises(ValueError, match="an utterance of 16001 samples: Whisper hears 16000"):
        network(torch.zeros(1, 16001), torch.tensor([16001]))
    padded = torch.zeros(1, 20000)
    assert network.encode(padded, torch.tensor([16000]))[0].shape == (1, 50, 16)
    assert (
        network(padded, torch.tensor([100]), torch.ones(1, 8, dtype=torch.int64)).token_logits.shape[1] == 9
    )
    with pytest.raises(ValueError, match="a transcript of 9 tokens: Whisper writes at most 8"):
        network(padded, torch.tensor([100]), torch.ones(1, 9, dtype=torch.int64))


def test_a_whisper_of_one_language_is_told_no_language(tmp_path: Path) -> None:
    written(tmp_path)
    edited(tmp_path / "generation_config.json", lang_to_id=None)
    assert Whisper(str(tmp_path)).prompt.tolist() == [START, PLAIN]


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    written(tmp_path)

    def refused(error: type[Exception], message: str, **arguments: Any) -> None:
        with pytest.raises(error, match=message):
            Whisper(str(tmp_path), **arguments)

    refused(ValueError, "does not know the language 'fr': set language to one of en, de", language="fr")
    refused(ValueError, "Whisper hears 16000 Hz and the frontend gives 8000 Hz", sample_rate=8000)
    refused(FileNotFoundError, r"none\.safetensors is missing: copy it", weights="none.safetensors")
    edited(tmp_path / "preprocessor_config.json", chunk_length=2)
    refused(
        ValueError, r"preprocessor_config\.json gives 200 frames of 80 bands and config\.json wants 100 of 80"
    )
    edited(tmp_path / "preprocessor_config.json", chunk_length=1)
    edited(tmp_path / "config.json", decoder_layers=5)
    refused(ValueError, r"model\.safetensors holds the weights of another network: decoder\.layers\.4\.")
    edited(tmp_path / "config.json", decoder_layers=4, d_model="wide")
    refused(ValueError, r"config\.json describes no Whisper that can be built")
    edited(tmp_path / "config.json", d_model=16, tie_word_embeddings=False)
    refused(ValueError, r"config\.json keeps apart how tokens are read and scored")
    edited(tmp_path / "config.json", model_type="wav2vec2")
    refused(ValueError, "describes a model of type 'wav2vec2': use a Whisper")
    with pytest.raises(FileNotFoundError, match=r"nowhere is no folder: name one with config\.json"):
        Whisper(str(tmp_path / "nowhere"))


def test_code_and_kernels_that_a_folder_names_are_left_alone(tmp_path: Path) -> None:
    written(tmp_path)
    expected = Whisper(str(tmp_path)).state_dict()
    (tmp_path / "remote.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    edited(
        tmp_path / "config.json",
        auto_map={"AutoConfig": "remote.Config"},
        attn_implementation="someone/kernels",
        quantization_config={"quant_method": "gptq", "bits": 4},
    )
    assert all(
        torch.equal(tensor, expected[name]) for name, tensor in Whisper(str(tmp_path)).state_dict().items()
    )
    assert not (tmp_path / "ran").exists()


def test_parameters_are_those_of_the_published_tiny(tmp_path: Path) -> None:
    written(tmp_path)
    edited(
        tmp_path / "config.json",
        **{"d_model": 384, "encoder_layers": 4, "decoder_layers": 4, "vocab_size": 51865},
        **{"encoder_ffn_dim": 1536, "decoder_ffn_dim": 1536},
        **{"encoder_attention_heads": 6, "decoder_attention_heads": 6},
        **{"max_source_positions": 1500, "max_target_positions": 448},
    )
    edited(tmp_path / "preprocessor_config.json", chunk_length=30)
    assert parameters(Whisper(str(tmp_path), weights=None)) == pytest.approx(39e6, rel=0.04)  # table 1
