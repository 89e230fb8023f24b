"""What an acoustic network learns from whom: recordings that may be seen, and a teacher that can be trusted."""

import functools
import math
from fractions import Fraction

import pytest
import torch
from speaking_steps import (
    BINS,
    CLASSES,
    HOP,
    LABELLED,
    LENGTHS,
    RATE,
    SECONDS,
    feed_forward,
    fit,
    louder_where_hidden,
    noise,
    reader,
    recogniser,
    spoken_batch,
    tacotron,
    vocoder,
)
from torch import nn

from kd_lightning.distillers.reading import read_aloud, steps_of
from kd_lightning.distillers.round_trip import RoundTrip
from kd_lightning.distillers.synthesis import SynthesisDistiller, either, in_frames
from kd_lightning.distillers.synthesis_terms import (
    AlignmentMatching,
    AttentionDurations,
    Durations,
    FreeStates,
    GuidedAttention,
    Prosody,
    RecordedMel,
    Stop,
    TaughtMel,
)
from kd_lightning.frontend.mel import SILENCE
from kd_lightning.losses.alignment_matching import alignment_divergence
from kd_lightning.losses.attention_durations import attention_cross_entropy
from kd_lightning.losses.guided_attention import guided_attention
from kd_lightning.losses.hints import hint
from kd_lightning.losses.mel import mel_l1
from kd_lightning.losses.monotonic_alignment import durations_of
from kd_lightning.losses.prosody import duration_error, token_error
from kd_lightning.losses.stop import stop_cross_entropy
from kd_lightning.metrics.alignment import focus_rate
from kd_lightning.models.acoustic_output import Recorded

SURE = torch.ones(4)
NEVER = torch.zeros(4, dtype=torch.bool)


def of_recordings():
    return {
        "mel": RecordedMel(mel_l1),
        "duration": Durations(duration_error),
        "pitch": Prosody("pitch", token_error),
        "energy": Prosody("energy", token_error),
    }


def of_a_decoder():
    return {
        "mel": RecordedMel(mel_l1),
        "stop": Stop(stop_cross_entropy),
        "guided_attention": GuidedAttention(guided_attention),
        "attention": AttentionDurations(attention_cross_entropy),
    }


def distiller_of(student=None, teacher=None, terms=None, **settings):
    terms = (terms or of_recordings()) | ({"taught": TaughtMel(mel_l1)} if teacher is not None else {})
    return SynthesisDistiller(
        classes=CLASSES,
        student=student or feed_forward(),
        teacher=teacher,
        terms=terms,
        weights=dict.fromkeys(terms, 1.0),
        optimizer=functools.partial(torch.optim.Adam, lr=1e-3),
        log_every=1000,
        **settings,
    )


def step_of(distiller, batch):
    torch.manual_seed(3)  # dropout, and whom a row follows
    return distiller.run_networks(batch)


def losses(distiller, batch):
    step = step_of(distiller, batch)
    return {key: term(step) for key, term in distiller.terms.items()}


def same(found, expected):
    return found.keys() == expected.keys() and all(
        torch.equal(found[key].sum, expected[key].sum) and found[key].count == expected[key].count
        for key in found
    )


def other_recordings():
    """Where they are hidden: another sound, of another length."""
    batch = spoken_batch()
    return batch._replace(
        waveform=louder_where_hidden(batch.waveform),
        samples=batch.samples.where(LABELLED, batch.samples // 2),
        durations=batch.durations.where(LABELLED[:, None], 2 * batch.durations),
        f0=batch.f0.where(LABELLED[:, None], 2 * batch.f0),
    )


# Hidden recordings


@pytest.mark.parametrize("taught", [False, True])
@pytest.mark.parametrize("decoder", [False, True])
def test_a_hidden_recording_is_not_learnt(decoder, taught):
    distiller = distiller_of(
        tacotron() if decoder else feed_forward(),
        reader(focus=SURE, ended=~NEVER) if taught else None,
        of_a_decoder() if decoder else of_recordings(),
        taught_share=0.0,
    )
    distiller.student.eval()
    found = losses(distiller, spoken_batch())
    assert same(losses(distiller, other_recordings()), found)
    shown = spoken_batch(labelled=torch.ones(4, dtype=torch.bool))
    assert not same(losses(distiller, shown), found)


def test_what_the_teacher_says_takes_the_place_of_a_hidden_recording():
    quiet, loud = (
        distiller_of(teacher=reader(focus=SURE, ended=~NEVER, level=level), taught_share=0.0)
        for level in (-4.0, -1.0)
    )
    found, expected = losses(quiet, spoken_batch()), losses(loud, spoken_batch())
    assert found["mel"].sum == expected["mel"].sum
    assert found["taught"].sum != expected["taught"].sum
    assert found["taught"].count == expected["taught"].count == 3 * int(LENGTHS[~LABELLED].sum()) * BINS


# Whom a row follows


@pytest.mark.parametrize(("share", "followed"), [(0.0, [False, True, False, True]), (1.0, [True] * 4)])
def test_the_share_of_rows_with_a_recording_that_follow_the_teacher(share, followed):
    distiller = distiller_of(teacher=reader(focus=SURE, ended=~NEVER), taught_share=share)
    for seed in range(5):
        torch.manual_seed(seed)
        step = distiller.run_networks(spoken_batch())
        assert step.taught.tolist() == followed
        heard = distiller.student.hear(spoken_batch().waveform, spoken_batch().samples)
        taught = read_aloud(distiller.teacher, spoken_batch().sentences).recorded
        for row, of_teacher in enumerate(followed):
            of = taught if of_teacher else heard
            frames = int(of.frames[row])
            assert step.target.frames[row] == frames
            assert torch.equal(step.target.mel[row, :, :frames], of.mel[row, :, :frames])
            assert step.target.durations[row].sum() == frames


def test_a_share_between_follows_the_teacher_now_and_then_as_the_seed_says():
    distiller = distiller_of(teacher=reader(focus=SURE, ended=~NEVER), taught_share=0.25)
    drawn = []
    for seed in range(60):
        torch.manual_seed(seed)
        drawn.append(distiller.run_networks(spoken_batch()).taught[LABELLED])
    torch.manual_seed(7)
    assert torch.equal(distiller.run_networks(spoken_batch()).taught[LABELLED], drawn[7])
    share = float(torch.stack(drawn).float().mean())
    assert share == pytest.approx(0.25, abs=3 * math.sqrt(0.25 * 0.75 / 120))


def test_what_a_teacher_did_not_read_well_is_not_learnt():
    # Of the sentences whose recordings are hidden, the second is read without focus and the fourth well.
    focus, ended = torch.tensor([0.9, 0.5, 0.9, 0.9]), torch.tensor([True, True, False, True])
    distiller = distiller_of(teacher=reader(focus=focus, ended=ended), taught_share=1.0)
    step = step_of(distiller, spoken_batch())
    assert step.sentences.lengths.tolist() == LENGTHS[[0, 2, 3]].tolist()
    # The third was not read to its end, and its recording is there.
    assert step.taught.tolist() == [True, False, True]
    assert len(step.student.mel) == len(step.target.mel) == 3
    other = distiller_of(teacher=reader(focus=focus, ended=ended), taught_share=1.0, min_focus=0.3)
    assert step_of(other, spoken_batch()).taught.tolist() == [True, True, False, True]


@pytest.mark.parametrize(("share", "read"), [(1.0, True), (0.9, True), (0.5, False)])
def test_a_teacher_that_stops_early_has_not_read_to_the_end(share, read, monkeypatch):
    sentences, teacher = spoken_batch().sentences, reader(focus=SURE, ended=~NEVER)
    said = teacher(sentences)
    stopped = said._replace(frames=(share * said.frames).long())
    monkeypatch.setattr(teacher.network, "forward", lambda *_: stopped)
    taught = read_aloud(teacher, sentences)
    assert taught.trusted(0.8).tolist() == [read] * len(LENGTHS)
    assert taught.trusted(0.0).all()


@pytest.mark.parametrize(
    ("ended", "min_focus", "taught"), [(~NEVER, 0.8, True), (NEVER, 0.8, False), (NEVER, 0.0, True)]
)
def test_a_teacher_that_reads_nothing_to_the_end_is_refused_once_it_has_been_heard(ended, min_focus, taught):
    distiller = distiller_of(teacher=reader(focus=SURE, ended=ended), min_focus=min_focus)
    for _ in range(15):
        distiller.run_networks(spoken_batch())
    if taught:
        distiller.run_networks(spoken_batch())
    else:
        with pytest.raises(ValueError, match="read none of 64 sentences to the end"):
            distiller.run_networks(spoken_batch())


def test_a_stored_reading_is_that_of_the_teacher_who_is_away():
    teacher = reader(focus=SURE, ended=~NEVER)
    stored = read_aloud(teacher, spoken_batch().sentences)
    live = distiller_of(teacher=teacher)
    away = distiller_of(terms=dict(live.terms.items()), stored=True)
    assert away.teacher is None
    assert same(losses(away, spoken_batch(stored=stored)), losses(live, spoken_batch()))


@pytest.mark.parametrize("stored", [False, True])
def test_a_teacher_that_does_not_attend_is_refused_once_it_has_been_heard(stored):
    teacher = reader(focus=torch.full((4,), 0.6), ended=~NEVER)
    batch = spoken_batch(stored=read_aloud(teacher, spoken_batch().sentences) if stored else None)
    distiller = distiller_of(teacher=teacher)
    for _ in range(15):
        distiller.run_networks(batch)
    with pytest.raises(
        ValueError, match=r"focus rate is 0\.60, below distiller\.min_focus=0\.8: .* train it longer"
    ):
        distiller.run_networks(batch)
    attentive = distiller_of(teacher=reader(focus=torch.full((4,), 0.85), ended=~NEVER))
    for _ in range(20):
        attentive.run_networks(batch if not stored else spoken_batch())


@pytest.mark.parametrize("decoder", [False, True])
def test_a_batch_without_anything_to_learn_has_no_loss_and_no_nan(decoder):
    student = tacotron() if decoder else feed_forward()
    distiller = distiller_of(
        student, reader(focus=SURE, ended=NEVER), of_a_decoder() if decoder else of_recordings()
    )
    distiller.train()
    # As a corpus gives it: what is hidden has no samples.
    batch = spoken_batch(
        labelled=NEVER, waveform=torch.zeros(4, 1), samples=torch.zeros(4, dtype=torch.long),
        durations=torch.zeros(4, 5), f0=torch.zeros(4, 1),
    )  # fmt: skip
    loss, means = distiller.weigh(losses(distiller, batch))
    assert loss == 0
    assert all(mean == 0 for mean in means.values())
    loss.backward()
    gradients = [weights.grad for weights in distiller.student.parameters() if weights.grad is not None]
    assert gradients
    assert all((gradient == 0).all() for gradient in gradients)


# Durations in frames


def test_durations_in_frames_sum_to_the_recording_and_end_where_the_tokens_do():
    generator = torch.Generator().manual_seed(0)
    hop = HOP / RATE
    for _ in range(50):
        # Milliseconds, so that nothing ends near the middle of a frame but where Fractions say so too.
        milliseconds = torch.randint(0, 90, (6, 12), generator=generator)
        milliseconds[torch.rand(6, 12, generator=generator) < 0.3] = 0
        milliseconds[:, 0] += 13
        milliseconds[3, 7:] = 0  # a shorter sentence
        seconds = milliseconds / 1000
        samples = milliseconds.sum(dim=1) * RATE // 1000
        frames = -(-samples // HOP)
        found = in_frames(seconds, frames, hop)
        assert torch.equal(found.sum(dim=1), frames)
        assert (found >= 0).all()
        assert (found[milliseconds == 0] == 0).all()
        for row in range(6):
            ends = found[row].cumsum(dim=0).tolist()
            spoken = milliseconds[row].nonzero().squeeze(1).tolist()
            total = 0
            for token in spoken[:-1]:
                total = int(milliseconds[row, : token + 1].sum())
                exact = Fraction(total, 1000) / Fraction(HOP, RATE)
                assert abs(ends[token] - exact) <= Fraction(1, 2)


def test_a_hidden_recording_has_no_frames():
    assert in_frames(torch.zeros(2, 4), torch.tensor([0, 0]), 0.01).tolist() == [[0] * 4] * 2


def test_the_target_has_the_durations_of_the_corpus():
    step = step_of(distiller_of(), spoken_batch(labelled=torch.ones(4, dtype=torch.bool)))
    expected = in_frames(SECONDS, -(-spoken_batch().samples // HOP), HOP / RATE)
    assert torch.equal(step.target.durations, expected)


def test_without_durations_of_the_corpus_they_are_the_teachers():
    distiller = distiller_of(
        teacher=reader(focus=torch.full((4,), 0.9), ended=~NEVER),
        terms={"mel": RecordedMel(mel_l1), "duration": Durations(duration_error)},
        taught_share=0.0,
    )
    everyone = torch.ones(4, dtype=torch.bool)
    step = step_of(distiller, spoken_batch(durations=None, labelled=everyone))
    assert torch.equal(step.target.durations.sum(dim=1), step.target.frames)
    for durations, frames, tokens in zip(step.target.durations, step.target.frames, LENGTHS, strict=True):
        # It reads three frames a token.
        assert (durations[: tokens - 1] == 3).all()
        assert durations[tokens - 1] == frames - 3 * (tokens - 1)


# One of two readings


def test_the_shorter_of_two_readings_is_padded_with_silence():
    said, heard = noise(3, BINS, 6), noise(3, BINS, 9, seed=1)
    durations = torch.tensor([[2, 4], [3, 3], [6, 0]]), torch.tensor([[4, 5], [8, 1], [9, 0]])
    one = Recorded(said, torch.tensor([6, 6, 6]), durations[0])
    other = Recorded(heard, torch.tensor([9, 9, 9]), durations[1], noise(3, 2), noise(3, 2))
    taught = torch.tensor([True, False, True])
    for first, second, rows in ((one, other, taught), (other, one, ~taught)):
        mixed = either(rows, first, second)
        assert mixed.frames.tolist() == [6, 9, 6]
        assert torch.equal(mixed.mel[1], heard[1])
        for row in (0, 2):
            assert torch.equal(mixed.mel[row, :, :6], said[row])
            assert (mixed.mel[row, :, 6:] == torch.tensor(SILENCE)).all()
        assert mixed.durations.tolist() == [[2, 4], [8, 1], [6, 0]]
    # What the teacher's voice does is not known.
    pitch = either(taught, one, other).pitch
    assert pitch[taught].isnan().all()
    assert torch.equal(pitch[1], other.pitch[1])


# What is frozen, what is kept


def test_teacher_vocoder_aligner_and_listener_are_frozen_and_in_no_checkpoint(tmp_path):
    def make():
        listener = RoundTrip(recogniser(classes=3), ["<blank>", "a", "b"], "en")
        return distiller_of(
            tacotron(), tacotron(decoder_width=12), of_a_decoder(), vocoder=vocoder(), round_trip=listener,
            aligner=tacotron(decoder_width=16), min_focus=0.0,
        )  # fmt: skip

    distiller = make()
    fixed = (distiller.teacher, distiller.vocoder, distiller.aligner, distiller.round_trip)
    before = [{name: tensor.clone() for name, tensor in module.state_dict().items()} for module in fixed]
    trainer = fit(distiller, [spoken_batch()] * 2, tmp_path)
    distiller.train()
    for module, weights in zip(fixed, before, strict=True):
        assert not any(part.training for part in module.modules())
        assert not any(parameter.requires_grad for parameter in module.parameters())
        assert all(torch.equal(tensor, weights[name]) for name, tensor in module.state_dict().items())
    optimised = {id(weights) for group in trainer.optimizers[0].param_groups for weights in group["params"]}
    assert optimised == {id(weights) for weights in distiller.student.parameters()}
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    saved = torch.load(tmp_path / "one.ckpt", weights_only=True)
    assert {name.split(".")[0] for name in saved["state_dict"]} == {"student"}
    again = make()
    again.on_load_checkpoint(saved)
    again.load_state_dict(saved["state_dict"], strict=True)


# What decoders do when nobody tells them


def free_states(student, teacher, **settings):
    terms = {
        "mel": RecordedMel(mel_l1),
        "free": FreeStates(hint),
        "alignment": AlignmentMatching(alignment_divergence),
    }
    return distiller_of(student, teacher, terms, min_focus=0.0, **settings)


@pytest.mark.parametrize("width", [8, 12])
def test_states_of_a_free_decoder_teach_the_student_alone(width):
    batch = spoken_batch(labelled=~NEVER)
    distiller = free_states(tacotron(), tacotron(decoder_width=width), taught_share=0.0)
    torch.manual_seed(0)
    distiller.size_terms(batch)
    projector = distiller.terms["free"].projector
    assert isinstance(projector, nn.Identity if width == 8 else nn.Linear)
    step = step_of(distiller, batch)
    summed = distiller.terms["free"](step)
    assert summed.count == sum(-(-int(frames) // 2) for frames in step.target.frames)
    summed.sum.backward()
    network = distiller.student.network
    reached = {name.split(".")[0] for name, weights in network.named_parameters() if weights.grad is not None}
    assert reached == {"embedding", "encoder", "decoder"}
    assert network.decoder.decoder_rnn.weight_hh.grad.abs().sum() > 0
    assert network.decoder.prenet.layers[0].weight.grad.abs().sum() > 0
    assert all(weights.grad is None for weights in distiller.teacher.parameters())
    assert not step.teacher.hidden.requires_grad


def test_nobody_takes_steps_for_recordings_that_are_not_learnt():
    # All follow a teacher that stops at once, beside recordings that are longer.
    distiller = free_states(tacotron(), tacotron(), taught_share=1.0)
    step = step_of(distiller, spoken_batch())
    assert step.target.mel.shape[2] == step.target.frames.max() < spoken_batch().samples.max() // HOP
    assert step.free.hidden.shape[1] == step.teacher.hidden.shape[1]
    assert distiller.terms["free"](step).count == (step.target.frames // 2).sum()


def test_states_of_other_steps_do_not_compare():
    distiller = free_states(tacotron(), tacotron(frames_per_step=4))
    with pytest.raises(ValueError, match=r"steps of 2 frames and the teacher of 4: .*same frames_per_step"):
        distiller.size_terms(spoken_batch())


# What a network or a corpus lacks


@pytest.mark.parametrize("name", ["stop", "guided_attention", "attention"])
def test_terms_of_a_decoder_say_what_to_choose_for_a_feed_forward_network(name):
    distiller = distiller_of(terms={name: of_a_decoder()[name], "duration": Durations(duration_error)})
    step = step_of(distiller, spoken_batch())
    read = {"stop": "stop_logits"}.get(name, "attention")
    with pytest.raises(ValueError, match=f"reads {read}, and .* distiller=synthesis for a feed-forward one"):
        distiller.terms[name](step)


@pytest.mark.parametrize("name", ["duration", "pitch", "energy"])
def test_terms_of_a_feed_forward_network_say_what_to_choose_for_a_decoder(name):
    distiller = distiller_of(tacotron(), terms={name: of_recordings()[name]})
    read = {"duration": "log_durations"}.get(name, name)
    with pytest.raises(
        ValueError, match=f"reads {read}, .* distiller=synthesis_decoder for one with a decoder"
    ):
        distiller.terms[name](step_of(distiller, spoken_batch()))


@pytest.mark.parametrize("term", [AlignmentMatching(alignment_divergence), FreeStates(hint)])
def test_transfer_between_decoders_says_so_where_the_teacher_has_none(term):
    distiller = distiller_of(tacotron(), feed_forward(), {"transfer": term, "mel": RecordedMel(mel_l1)})
    batch = spoken_batch()
    target = distiller.student.hear(batch.waveform, batch.samples)
    said = distiller.student(batch.sentences, target)
    step = step_of(distiller_of(), spoken_batch(labelled=~NEVER))._replace(
        student=said, free=said, teacher=distiller.teacher(batch.sentences)
    )
    with pytest.raises(ValueError, match="choose the terms for this kind of network"):
        distiller.terms["transfer"](step)


def test_durations_that_nobody_knows_are_an_error_that_says_what_to_do():
    batch = spoken_batch(durations=None)
    with pytest.raises(
        ValueError, match=r"no durations \(<id>\.phones\.tsv .* nobody to time its tokens: set aligner="
    ):
        distiller_of().run_networks(batch)
    with pytest.raises(ValueError, match=r"this teacher has no attention .*teacher=tacotron2_embedded"):
        distiller_of(teacher=reader()).run_networks(batch)


def test_an_aligner_times_recordings_in_the_teachers_place():
    batch = spoken_batch(durations=None, labelled=~NEVER)
    aligner = tacotron().eval()
    distiller = distiller_of(teacher=reader(), aligner=aligner, taught_share=0.0, min_focus=0.0)
    timed = distiller.run_networks(batch).target
    attention = aligner.eval()(
        batch.sentences, distiller.student.hear(batch.waveform, batch.samples)
    ).attention
    expected = durations_of(attention, batch.sentences.lengths, timed.frames, aligner.network.frames_per_step)
    assert torch.equal(timed.durations, expected)


def test_a_recording_whose_alignment_failed_is_not_learnt():
    batch = spoken_batch(durations=None, labelled=~NEVER)
    aligner = tacotron().eval()
    recorded = feed_forward().hear(batch.waveform, batch.samples)
    said = aligner(batch.sentences, recorded)
    focus = focus_rate(said.attention, steps_of(said))
    between = float(focus.sort().values[:2].mean())
    step = distiller_of(aligner=aligner, min_focus=between).run_networks(batch)
    assert torch.equal(step.sentences.lengths, batch.sentences.lengths[focus >= between])


def test_an_aligner_that_attends_to_nothing_is_refused():
    distiller = distiller_of(aligner=tacotron(), min_focus=0.99)
    batch = spoken_batch(durations=None, labelled=~NEVER)
    for _ in range(15):  # sixty sentences are too few to say
        distiller.run_networks(batch)
    with pytest.raises(ValueError, match=r"focus rate is 0\.\d+, below distiller\.min_focus=0\.99"):
        distiller.run_networks(batch)


def test_attention_is_told_nothing_where_nobody_knows_the_durations():
    distiller = distiller_of(tacotron(), terms={"attention": of_a_decoder()["attention"]})
    step = distiller.run_networks(spoken_batch(durations=None, labelled=~NEVER))
    said = distiller.terms["attention"](step)
    assert (float(said.sum), float(said.count)) == (0.0, 0.0)


def test_a_pitch_that_nobody_found_is_an_error_that_says_what_to_set():
    with pytest.raises(ValueError, match=r"set corpus\.pitch=true"):
        distiller_of().run_networks(spoken_batch(f0=None))


@pytest.mark.parametrize("role", ["teacher", "vocoder"])
def test_other_mels_are_refused_with_what_differs(role):
    other = {"hop_length": 128, "bins": BINS}
    given = (
        {"teacher": feed_forward(**other)}
        if role == "teacher"
        else {"vocoder": vocoder(**{"high_hz": 3000.0})}
    )
    differ = "hop_length: 128 there, 64 here" if role == "teacher" else "high_hz: 3000.0 there, 4000.0 here"
    with pytest.raises(ValueError, match=rf"the {role} speaks other mels \({differ}\): .*the same frontend"):
        distiller_of(**given)
