"""Feed-forward synthesis: durations make the frames, what is known is used, padding is unheard, and sizes."""

import math
import warnings
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from recognisers import assert_the_comment_counts
from spoken_sentences import (
    BINS,
    CLASSES,
    LENGTHS,
    alone,
    assert_padding_is_unheard,
    idle,
    recorded,
    sentences,
)
from torch import Tensor, nn

from kd_lightning.experiment.compose import conf_folder
from kd_lightning.experiment.targets import build
from kd_lightning.frontend.mel import SILENCE
from kd_lightning.metrics.efficiency import parameters
from kd_lightning.models.acoustic_blocks import ConvolutionBlock, TransformerBlock
from kd_lightning.models.acoustic_output import Sentences
from kd_lightning.models.copying import channel_slices, spaced_layers
from kd_lightning.models.feed_forward_acoustic import FeedForwardAcoustic, Predictors
from kd_lightning.models.transformer_recogniser import EncoderLayer

SMALL = {"width": 8, "inner": 12, "encoder_layers": 2, "decoder_layers": 2, "kernel": 5, "predictor_width": 6}
KINDS = ("convolution", "transformer")


def small(blocks: str = "convolution", **more: object) -> FeedForwardAcoustic:
    """In eval mode."""
    torch.manual_seed(1)
    return FeedForwardAcoustic(BINS, CLASSES, blocks=blocks, **SMALL | more).eval()


def lasting(network: FeedForwardAcoustic, frames: float) -> FeedForwardAcoustic:
    """With a prediction of so many frames for every token, whatever it is."""
    network.predictors.head.weight.data[0] = 0.0
    network.predictors.head.bias.data[0] = math.log1p(frames)
    return network


@pytest.mark.parametrize("blocks", KINDS)
@pytest.mark.parametrize("filler", [0, 5])
def test_a_sentence_is_said_alone_as_in_a_batch(blocks: str, filler: int) -> None:
    network, spoken = small(blocks, speakers=2), recorded(float(filler))
    output = assert_padding_is_unheard(network, spoken, filler)
    assert output.mel.shape == spoken.mel.shape
    network.predictors.head.bias.data[0] = math.log1p(4)
    predicted = assert_padding_is_unheard(network, None, filler)
    assert len(predicted.frames.unique()) > 2
    assert predicted.mel.shape[-1] == predicted.frames.max()
    for numbers in (predicted.log_durations, predicted.pitch, predicted.energy):
        assert numbers[torch.arange(11) >= LENGTHS[:, None]].eq(0).all()


@torch.no_grad()
def test_predicted_durations_are_whole_frames_within_bounds() -> None:
    network = small(max_duration=20)
    for predicted, frames in ((3.0, 3), (3.4, 3), (3.6, 4), (50.0, 20)):
        assert torch.equal(lasting(network, predicted)(sentences()).frames, frames * LENGTHS)
    # Nothing is said of a sentence without frames, and a spectrogram without frames is none.
    assert lasting(network, -0.9)(sentences()).frames.tolist() == [1, 1, 1, 1]


@torch.no_grad()
def test_a_token_is_heard_where_its_frames_are() -> None:
    network, spoken = small(kernel=1, predictor_kernel=1), recorded()  # each token by itself
    tokens, lengths, speakers = sentences()
    assert spoken.durations is not None
    place = int(spoken.durations[1, 1:].argmax()) + 1
    changed = tokens.clone()
    changed[1, place] = tokens[1, place] % (CLASSES - 1) + 1
    before, after = (network(Sentences(each, lengths, speakers), spoken).mel[1] for each in (tokens, changed))
    start, end = (int(spoken.durations[1, :token].sum()) for token in (place, place + 1))
    differs = (before != after).any(dim=0)
    assert differs.nonzero().flatten().tolist() == list(range(start, end))
    assert end > start


@torch.no_grad()
@pytest.mark.parametrize("name", ["pitch", "energy"])
def test_what_is_known_of_a_voice_replaces_what_is_predicted(name: str) -> None:
    network, spoken = small(), recorded()
    unknown = network(sentences(), spoken._replace(**{name: None}))
    told = network(sentences(), spoken._replace(**{name: getattr(unknown, name)}))
    torch.testing.assert_close(told.mel, unknown.mel)
    known = network(sentences(), spoken)
    assert not torch.allclose(known.mel, unknown.mel)
    torch.testing.assert_close(getattr(known, name), getattr(unknown, name))


def test_a_recording_of_unknown_durations_is_refused() -> None:
    with pytest.raises(ValueError, match="nobody knows it of this recording"):
        small()(sentences(), recorded()._replace(durations=None))


@torch.no_grad()
def test_predictors_that_run_at_once_are_separate_networks() -> None:
    together, encoded, spoken = Predictors(3, 8, 6, 3, 0.0), torch.randn(2, 5, 8), torch.ones(2, 5, 1) > 0
    predicted = together(encoded, spoken)
    for number in range(3):
        own, mine = Predictors(1, 8, 6, 3, 0.0), slice(6 * number, 6 * number + 6)
        for name, weights in own.named_parameters():
            offered = together.get_parameter(name)
            weights.copy_(offered[number : number + 1] if name.startswith("head") else offered[mine])
        torch.testing.assert_close(own(encoded, spoken)[..., 0], predicted[..., number])


@torch.no_grad()
def test_a_transformer_block_of_kernel_1_is_torchs_layer() -> None:
    ours, theirs = TransformerBlock(8, 12, 1, 2, 0.0).eval(), EncoderLayer(8, 2, 12, 0.0).eval()
    for mine, other in (
        (ours.attention, theirs.self_attn),
        (ours.attention_norm, theirs.norm1),
        (ours.convolution_norm, theirs.norm2),
    ):
        mine.load_state_dict(other.state_dict())
    for mine, other in ((ours.convolutions[0], theirs.linear1), (ours.convolutions[3], theirs.linear2)):
        mine.weight.copy_(other.weight[..., None])
        mine.bias.copy_(other.bias)
    hidden, valid = torch.randn(2, 7, 8), torch.arange(7) < torch.tensor([[7], [4]])
    found, expected = ours(hidden, valid[..., None]), theirs(hidden, ~valid)
    torch.testing.assert_close(found[valid], expected[valid])


@torch.no_grad()
def test_a_convolution_block_is_its_equation_in_float64() -> None:
    block, hidden = ConvolutionBlock(4, 6, 3, 0.0).double(), torch.randn(1, 5, 4).double()
    kernel, (up, _, _, down) = block.depthwise.weight[:, 0], block.perceptron
    padded = nn.functional.pad(hidden[0], (0, 0, 1, 1))
    for t in range(5):
        mixed = (padded[t : t + 3] * kernel.T).sum(dim=0)
        normal = (mixed - mixed.mean()) / (mixed.var(correction=0) + block.norm.eps).sqrt()
        expected = hidden[0, t] + down.weight @ (up.weight @ normal + up.bias).clamp(min=0) + down.bias
        torch.testing.assert_close(block(hidden, torch.ones(1, 5, 1) > 0)[0, t], expected)


@torch.no_grad()
def test_a_transformer_knows_the_order_of_its_tokens_and_frames() -> None:
    network = small("transformer", kernel=1, predictor_kernel=1)
    tokens = torch.full((1, 6), 3)
    mel = lasting(network, 2.0)(Sentences(tokens, torch.tensor([6]), torch.tensor([0]))).mel
    assert not torch.allclose(mel[..., 0], mel[..., 1], atol=1e-3)


def test_a_voice_changes_what_is_said() -> None:
    network, (tokens, lengths, _), spoken = small(speakers=2), sentences(), recorded()
    first, second = (network(Sentences(tokens, lengths, torch.full((4,), voice)), spoken) for voice in (0, 1))
    assert not torch.allclose(first.mel, second.mel)
    assert small().speaker is None


@pytest.mark.parametrize("blocks", KINDS)
def test_every_parameter_learns(blocks: str) -> None:
    network = small(blocks, speakers=2).train()
    output = network(sentences(), recorded())
    assert idle(network, output.mel, output.log_durations, output.pitch, output.energy) == []


def test_settings_that_no_network_has_are_refused() -> None:
    with pytest.raises(ValueError, match="blocks='recurrent': set transformer or convolution"):
        small("recurrent")
    with pytest.raises(ValueError, match="kernel=4"):
        small(kernel=4)


@pytest.mark.parametrize("blocks", KINDS)
def test_students_start_from_a_teacher(blocks: str) -> None:
    student, teacher = small(blocks), small(blocks, decoder_layers=5)
    copied = spaced_layers(student, teacher, "decoder.layers")
    assert copied.parameters == copied.total
    for ours, source in ((0, 0), (1, 4)):
        state = teacher.decoder.layers[source].state_dict()
        assert all(
            torch.equal(tensor, state[name])
            for name, tensor in student.decoder.layers[ours].state_dict().items()
        )
    narrow = small(blocks, width=6)
    assert channel_slices(narrow, small(blocks)).parameters == parameters(narrow)


def test_parameters_of_the_published_sizes() -> None:
    # Sections 2.2, 2.3 and 3.1: four blocks on each side; attention; convolutions of 9 and 1 frames and two norms.
    attention, norm = 4 * (256 * 256 + 256), 2 * 256
    block = attention + 2 * norm + (9 * 256 * 1024 + 1024) + (1024 * 256 + 256)
    predictor = (3 * 256 * 256 + 256) * 2 + 257  # its norms have no weights here
    around = 70 * 256 + (2 * 3 * 256 + 256) + 257 * 80 + 2 * norm
    with torch.device("meta"):
        network = FeedForwardAcoustic(80, 70)
    assert parameters(network) == 8 * block + 3 * predictor + around == 24_318_547


@pytest.mark.parametrize("name", ["feed_forward_small", "feed_forward_transformer", "fast_speech2"])
def test_the_config_says_how_large_it_is(name: str) -> None:
    assert_the_comment_counts("student", name)


def test_the_embedded_student_is_at_most_a_quarter_of_its_teacher() -> None:
    words = ["teacher=tacotron2_embedded", "student=feed_forward_small"]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        config = compose("config", overrides=words)
    with torch.device("meta"):
        teacher, student = (
            build(OmegaConf.to_container(config[role].network), nn.Module, bins=80, classes=70)
            for role in ("teacher", "student")
        )
    assert 4 * parameters(student) <= parameters(teacher)


class _Spectrogram(nn.Module):
    """Only what an exported graph can take and give."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: Tensor, lengths: Tensor, speakers: Tensor) -> Tensor:
        return self.network(Sentences(tokens, lengths, speakers)).mel


@pytest.mark.parametrize("blocks", ["convolution", pytest.param("transformer", marks=pytest.mark.slow)])
def test_onnx_runtime_says_the_same(blocks: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    network = small(blocks, speakers=2)
    network.predictors.head.bias.data[0] = math.log1p(4)
    many = sentences()
    # The exporter wants to know whether oneDNN would be faster, which depends on how many frames there will be.
    with warnings.catch_warnings(action="ignore"), torch.backends.mkldnn.flags(enabled=False):
        torch.onnx.export(
            _Spectrogram(network).eval(),
            tuple(alone(1, many, None)[0]),
            tmp_path / "network.onnx",
            dynamo=True,
            input_names=["tokens", "lengths", "speakers"],
            output_names=["mel"],
            dynamic_shapes={"tokens": {1: "length"}, "lengths": {}, "speakers": {}},
            verbose=False,
        )
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    for index in (0, 1, 3):
        sentence, _ = alone(index, many, None)
        named = {name: tensor.numpy() for name, tensor in sentence._asdict().items()}
        with torch.no_grad():
            expected = network(sentence).mel
        torch.testing.assert_close(
            torch.from_numpy(session.run(None, named)[0]), expected, rtol=1e-3, atol=1e-4
        )
        assert expected.shape[-1] > int(sentence.lengths)
        assert expected.min() > SILENCE
