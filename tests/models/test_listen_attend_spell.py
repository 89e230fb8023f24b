"""Listen, Attend and Spell: the pyramid, each utterance from its own end, the speller's equations, and counts."""

import pytest
import torch
from ragged import LENGTHS, PREFIX, assert_padding_is_unheard, ragged
from torch import nn

from kd_lightning.metrics.efficiency import parameters
from kd_lightning.models.listen_attend_spell import ListenAttendSpell, Listener, Speller, pairs


def test_neighbours_stand_side_by_side_and_the_odd_one_beside_zeros() -> None:
    frames = torch.tensor([[[1.0, -1.0], [2.0, -2.0], [3.0, -3.0]]])
    assert pairs(frames).tolist() == [[[1, -1, 2, -2], [3, -3, 0, 0]]]
    assert pairs(frames[:, :2]).tolist() == [[[1, -1, 2, -2]]]


@torch.no_grad()
def test_the_listener_is_a_pyramid_of_torchs_lstms() -> None:
    listener, features = Listener(10, 5, hidden=6, pyramids=2), torch.randn(2, 10, 21)
    hidden, _ = listener.layers[0](features.transpose(1, 2))  # 21 frames
    hidden, _ = listener.layers[1](nn.functional.pad(hidden, (0, 0, 0, 1)).reshape(2, 11, 24))
    hidden, _ = listener.layers[2](nn.functional.pad(hidden, (0, 0, 0, 1)).reshape(2, 6, 24))
    found, lengths = listener.encode(features, torch.tensor([21, 21]))
    torch.testing.assert_close(found, hidden)
    assert lengths.tolist() == [6, 6]
    assert listener.subsampling == 4
    torch.testing.assert_close(listener(features, torch.tensor([21, 21])).logits, listener.ctc(hidden))


@pytest.mark.parametrize("pyramids", [0, 1, 3])
def test_the_backward_direction_starts_at_an_utterance_s_end(pyramids: int) -> None:
    listener = Listener(10, 5, hidden=6, pyramids=pyramids).eval()
    assert_padding_is_unheard(listener, 10, 2**pyramids)


@torch.no_grad()
def test_the_speller_is_the_papers_equations_in_float64() -> None:
    speller, memory = (
        Speller(6, 5, 4, layers=1, embedding=3, attention=7).double(),
        torch.randn(1, 9, 6).double(),
    )
    prefix = torch.tensor([[2, 4]])
    logits, weights = speller(memory, torch.tensor([9]), prefix)
    state, cell, context = torch.zeros(4).double(), torch.zeros(4).double(), torch.zeros(6).double()
    lstm = speller.cells[0]
    for place, token in enumerate([0, 2, 4]):
        heard = torch.cat((speller.embedding.weight[token], context))
        gates = lstm.weight_ih @ heard + lstm.bias_ih + lstm.weight_hh @ state + lstm.bias_hh
        entry, forget, change, exit_ = gates.chunk(4)
        cell = forget.sigmoid() * cell + entry.sigmoid() * change.tanh()
        state = exit_.sigmoid() * cell.tanh()
        energies = [speller.query(state) @ speller.key(frame) for frame in memory[0]]
        looked = torch.stack(energies).exp() / torch.stack(energies).exp().sum()
        context = looked @ memory[0]
        torch.testing.assert_close(weights[0, place], looked)
        torch.testing.assert_close(logits[0, place], speller.head(torch.cat((state, context))))


def test_dropout_only_acts_in_training() -> None:
    network, features = ListenAttendSpell(10, 5, 8, 2, 12, 2, 6, dropout=0.5), ragged(10)
    assert not torch.equal(*(network(features, LENGTHS, PREFIX).token_logits for _ in range(2)))
    network.eval()
    assert torch.equal(*(network(features, LENGTHS, PREFIX).token_logits for _ in range(2)))


def test_without_ctc_only_the_speller_speaks() -> None:
    network = ListenAttendSpell(10, 5, 8, 2, 12, 2, 6, ctc=False).eval()
    output = network(ragged(10), LENGTHS, PREFIX)
    assert output.logits is None
    assert output.token_logits.shape == (5, 5, 5)
    assert output.lengths.tolist() == [16, 10, 1, 13, 1]
    assert_padding_is_unheard(network, 10, 4, decoder=True)


def test_parameters_of_the_paper_s_sizes() -> None:
    # Section 4: 40 bins; a BLSTM of 256 a direction and three more on top that hear pairs; two cells of 512. Not said:
    # the size of a token and of the space where states and frames are compared.
    def lstm(inputs: int, hidden: int) -> int:
        return 4 * hidden * (inputs + hidden + 2)

    listener = 2 * lstm(40, 256) + 3 * 2 * lstm(1024, 256) + 513 * 29
    speller = 29 * 128 + lstm(128 + 512, 512) + lstm(512, 512) + 2 * 513 * 512 + 1025 * 512 + 513 * 29
    with torch.device("meta"):
        assert parameters(ListenAttendSpell(40, 29)) == listener + speller == 14_035_130
