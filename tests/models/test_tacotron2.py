"""Tacotron 2: torchaudio's own words, several frames a step, where it ends, what it does not hear, and its weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchaudio
from recognisers import assert_the_comment_counts, settled
from spoken_sentences import (
    BINS,
    CLASSES,
    alone,
    assert_padding_is_unheard,
    idle,
    recorded,
    sentences,
)
from torch import Tensor
from torch.nn import functional

from kd_lightning.metrics.efficiency import parameters
from kd_lightning.models.acoustic_output import Recorded, Sentences
from kd_lightning.models.copying import channel_slices, same_names, spaced_layers
from kd_lightning.models.tacotron2 import LEAST_LIMIT, Tacotron2

SMALL = {
    "encoder_width": 8,
    "prenet_width": 6,
    "attention_width": 10,
    "attention_space": 7,
    "location_filters": 3,
    "location_kernel": 5,
    "decoder_width": 12,
    "postnet_width": 9,
}
Pair = Callable[[int], tuple[Tacotron2, torchaudio.models.Tacotron2]]


def small(**more: object) -> Tacotron2:
    """In eval mode, with a speech of its own."""
    torch.manual_seed(1)
    network = settled(Tacotron2(BINS, CLASSES, **SMALL | more))
    network.decoder.gate_layer.bias.data.fill_(-9.0)  # never ends
    return network


def theirs(frames_per_step: int = 1) -> torchaudio.models.Tacotron2:
    """torchaudio's network of the same size; frames of a step are bins to it."""
    return torchaudio.models.Tacotron2(
        n_mels=frames_per_step * BINS,
        n_symbol=CLASSES,
        symbol_embedding_dim=8,
        encoder_embedding_dim=8,
        prenet_dim=6,
        attention_rnn_dim=10,
        attention_hidden_dim=7,
        attention_location_n_filter=3,
        attention_location_kernel_size=5,
        decoder_rnn_dim=12,
        postnet_embedding_dim=9,
    )


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """A network with the weights of a file of torchaudio's, and torchaudio's, whose prenet drops nothing either."""
    monkeypatch.setattr(functional, "dropout", lambda hidden, *_, **__: hidden)

    def make(frames_per_step: int) -> tuple[Tacotron2, torchaudio.models.Tacotron2]:
        reference = settled(theirs(frames_per_step))
        reference.decoder.gate_layer.bias.data.fill_(-9.0)
        torch.save(reference.state_dict(), tmp_path / "weights.pth")
        ours = Tacotron2(
            BINS, CLASSES, frames_per_step=frames_per_step, **SMALL, weights=str(tmp_path / "weights.pth")
        )
        return ours.eval(), reference

    return make


def stacked(mel: Tensor, frames_per_step: int) -> Tensor:
    """Frames side by side, in plain indexing: bin b of frame i is channel i % r * bins + b of step i // r."""
    steps = mel.shape[-1] // frames_per_step
    channels = [mel[:, :, i : i + steps * frames_per_step : frames_per_step] for i in range(frames_per_step)]
    return torch.cat(channels, dim=1)


@torch.no_grad()
@pytest.mark.parametrize("frames_per_step", [1, 4])
def test_a_recording_is_followed_as_torchaudio_follows_it(pair: Pair, frames_per_step: int) -> None:
    ours, reference = pair(frames_per_step)
    mel, (tokens, lengths, _) = torch.randn(1, BINS, 20) - 5, alone(1, sentences(), None)[0]
    output = ours(Sentences(tokens, lengths, lengths * 0), Recorded(mel, torch.tensor([20])))
    steps = 20 // frames_per_step
    coarse, finished, stop_logits, attention = reference(
        tokens, lengths, stacked(mel, frames_per_step), torch.tensor([steps])
    )
    assert output.coarse is not None
    torch.testing.assert_close(stacked(output.coarse, frames_per_step), coarse)
    torch.testing.assert_close(stacked(output.mel, frames_per_step), finished)
    torch.testing.assert_close(output.stop_logits, stop_logits)
    torch.testing.assert_close(output.attention, attention)
    assert output.hidden is not None
    assert output.hidden.shape == (1, steps, 12)


@torch.no_grad()
@pytest.mark.parametrize("frames_per_step", [1, 4])
def test_it_speaks_as_torchaudio_speaks(pair: Pair, frames_per_step: int) -> None:
    ours, reference = pair(frames_per_step)
    sentence, _ = alone(1, sentences(), None)
    forever = ours(sentence, frames=torch.tensor([100])).stop_logits[0]
    # The bias under which the first step above all before it, some way in, ends the sentence.
    peak = next(step for step in range(5, len(forever)) if forever[step] > forever[:step].max())
    bias = -9.0 - float(forever[peak] + forever[:peak].max()) / 2
    for network in (ours, reference):
        network.decoder.gate_layer.bias.fill_(bias)
    output = ours(sentence)
    mel, steps, attention = reference.infer(sentence.tokens, sentence.lengths)
    assert output.ended.tolist() == [True]
    assert output.frames.tolist() == [(peak + 1) * frames_per_step] == (steps * frames_per_step).tolist()
    torch.testing.assert_close(stacked(output.mel, frames_per_step), mel, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(output.attention, attention, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("filler", [0, 5])
@pytest.mark.parametrize("frames_per_step", [1, 3])
def test_a_recording_is_followed_alone_as_in_a_batch(frames_per_step: int, filler: int) -> None:
    network, spoken = small(speakers=2, frames_per_step=frames_per_step), recorded(float(filler))
    output = assert_padding_is_unheard(network, spoken, filler)
    steps = -(-int(spoken.frames.max()) // frames_per_step)
    assert output.mel.shape == output.coarse.shape == spoken.mel.shape
    assert output.attention.shape == (4, steps, 11)
    torch.testing.assert_close(output.attention.sum(dim=2), torch.ones(4, steps))
    assert output.ended is None


@torch.no_grad()
@pytest.mark.parametrize("frames_per_step", [1, 3])
def test_sentences_end_alone_as_in_a_batch(frames_per_step: int) -> None:
    network = small(speakers=2, frames_per_step=frames_per_step, max_frames_per_token=12.0)
    stop_logits = network(sentences()).stop_logits
    network.decoder.gate_layer.bias.add_(-stop_logits.quantile(0.97))
    output = assert_padding_is_unheard(network, None)
    assert len(output.frames.unique()) > 2  # not all go on as long as the longest
    assert output.ended.any()


@torch.no_grad()
def test_a_decoder_that_never_ends_is_cut() -> None:
    output = small(frames_per_step=3, max_frames_per_token=12.0)(sentences())
    assert not output.ended.any()
    least = -(-LEAST_LIMIT // 3) * 3
    assert output.frames.tolist() == [least, 11 * 12, least, least]


@torch.no_grad()
def test_a_step_knows_no_frame_that_it_has_yet_to_say() -> None:
    network, spoken = small(frames_per_step=2), recorded()
    before = network(sentences(), spoken)
    spoken.mel[:, :, 6:] += 1
    after = network(sentences(), spoken)
    assert torch.equal(before.hidden[:, :4], after.hidden[:, :4])
    assert not torch.equal(before.hidden[1, 4], after.hidden[1, 4])


@torch.no_grad()
def test_it_runs_free_for_as_many_frames_as_are_wanted() -> None:
    network, spoken = small(frames_per_step=3), recorded()
    network.decoder.gate_layer.bias.fill_(9.0)  # would end at once
    forced, free = network(sentences(), spoken), network(sentences(), frames=spoken.frames)
    assert free.hidden.shape == forced.hidden.shape
    assert free.mel.shape == forced.mel.shape
    assert free.ended is None
    # Both hear zeros first, and then what they said or what was.
    torch.testing.assert_close(free.hidden[:, 0], forced.hidden[:, 0])
    assert not torch.allclose(free.hidden[:, 1], forced.hidden[:, 1])
    own = network(sentences(), Recorded(free.coarse, spoken.frames))
    torch.testing.assert_close(own.mel, free.mel)


def test_the_prenet_drops_in_training_alone_unless_told_otherwise() -> None:
    network, spoken = small(dropout=0.0, recurrent_dropout=0.0), recorded()

    def twice(network: Tacotron2) -> bool:
        return torch.equal(*(network(sentences(), spoken).hidden for _ in range(2)))

    assert twice(network)
    assert not twice(network.train())
    assert not twice(small(prenet_dropout_at_inference=True))


def test_a_voice_changes_what_is_said() -> None:
    network, (tokens, lengths, _), spoken = small(speakers=2), sentences(), recorded()
    first, second = (network(Sentences(tokens, lengths, torch.full((4,), voice)), spoken) for voice in (0, 1))
    assert not torch.allclose(first.mel, second.mel)
    assert Tacotron2(BINS, CLASSES, **SMALL).speaker is None


def test_every_parameter_learns() -> None:
    network, spoken = small(speakers=2, frames_per_step=2).train(), recorded()
    output = network(sentences(), spoken)
    assert idle(network, output.mel, output.stop_logits) == []
    network.zero_grad()
    free = network(sentences(), frames=spoken.frames)
    assert "decoder.prenet.layers.0.weight" not in idle(network, free.hidden)


def test_nothing_is_learned_from_silence() -> None:
    network, spoken = small(), recorded()
    mel = network(sentences(), spoken).mel.transpose(1, 2)
    mel[torch.arange(mel.shape[1]) >= spoken.frames[:, None]].square().sum().backward()
    assert not any(weights.grad.any() for weights in network.parameters() if weights.grad is not None)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    def load(**more: object) -> Tacotron2:
        return Tacotron2(BINS, CLASSES, **SMALL | more, weights=str(tmp_path / "weights.pth"))

    with pytest.raises(FileNotFoundError, match="fetch the weights of a Tacotron2 bundle"):
        load()
    torch.save(theirs().state_dict(), tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"another network: postnet\.convolutions\.4\S+ is not in this one"):
        load(postnet_layers=4)
    with pytest.raises(ValueError, match=r"another network: encoder\.convolutions\.3\S+ is missing"):
        load(encoder_layers=4)
    with pytest.raises(ValueError, match=r"another network: .*embedding\.weight"):
        Tacotron2(BINS, CLASSES + 1, **SMALL, weights=str(tmp_path / "weights.pth"))
    with pytest.raises(ValueError, match=r"speaker\.weight is missing"):
        load(speakers=2)


def test_a_convolution_without_a_middle_is_refused() -> None:
    with pytest.raises(ValueError, match="location_kernel=4"):
        Tacotron2(BINS, CLASSES, **SMALL | {"location_kernel": 4})


def test_students_start_from_a_teacher() -> None:
    teacher = small(encoder_layers=5)
    student = small(encoder_layers=3)
    copied = spaced_layers(student, teacher, "encoder.convolutions")
    assert copied.parameters == copied.total
    for ours, source in enumerate((0, 2, 4)):
        assert torch.equal(
            student.encoder.convolutions[ours][0].weight, teacher.encoder.convolutions[source][0].weight
        )
    shallow = small(postnet_layers=2)
    assert spaced_layers(shallow, small(), "postnet.convolutions").parameters == parameters(shallow)
    several = small(frames_per_step=2)  # only what says, hears or corrects frames has another size
    assert 0.5 < same_names(several, small()).parameters / parameters(several) < 1.0
    narrow = Tacotron2(BINS, CLASSES, **SMALL | {"encoder_width": 6, "decoder_width": 9})
    assert channel_slices(narrow, small()).parameters == parameters(narrow)


def test_parameters_of_the_published_sizes() -> None:
    with torch.device("meta"):
        assert parameters(Tacotron2(80, 148)) == parameters(torchaudio.models.Tacotron2()) == 28_193_153


@pytest.mark.parametrize(
    ("group", "name"),
    [("teacher", "tacotron2"), ("teacher", "tacotron2_embedded"), ("student", "tacotron2_small")],
)
def test_the_config_says_how_large_it_is(group: str, name: str) -> None:
    assert_the_comment_counts(group, name)
