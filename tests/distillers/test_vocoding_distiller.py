"""What a vocoder learns from whom: recordings that may be seen, a teacher, and a critic that learns beside it."""

import functools

import pytest
import torch
from speaking_steps import (
    HOP,
    LABELLED,
    RATE,
    fit,
    flow,
    louder_where_hidden,
    mel,
    noise,
    segment_batch,
    vocoder,
)
from torch import nn

from kd_lightning.distillers.critic import Critic
from kd_lightning.distillers.hints import Hint
from kd_lightning.distillers.vocoding import VocodingDistiller
from kd_lightning.distillers.vocoding_terms import (
    Adversarial,
    FeatureMatching,
    FlowLikelihood,
    RecordedSpectrum,
    TaughtSpectrum,
)
from kd_lightning.losses.adversarial import (
    feature_matching,
    least_squares_discriminator,
    least_squares_generator,
)
from kd_lightning.losses.flow import negative_log_likelihood
from kd_lightning.losses.hints import hint
from kd_lightning.losses.spectral import mel_error, multi_resolution_stft
from kd_lightning.models.discriminators import MultiPeriodDiscriminator, MultiResolutionDiscriminator

STFT = functools.partial(multi_resolution_stft, resolutions=((256, 64, 256),))


def distiller_of(student=None, teacher=None, critic=False, **terms):
    """A vocoder that learns by these terms; with a critic of two small discriminators."""
    usual = {"stft": RecordedSpectrum(STFT)}
    beside = {
        "adversarial": Adversarial(least_squares_generator),
        "features": FeatureMatching(feature_matching),
    }
    terms = (terms or usual) | (beside if critic else {})
    torch.manual_seed(1)
    return VocodingDistiller(
        classes=[],
        student=student or vocoder(),
        teacher=teacher,
        terms=terms,
        weights=dict.fromkeys(terms, 1.0),
        optimizer=functools.partial(torch.optim.Adam, lr=1e-3),
        log_every=1000,
        **discriminating() if critic else {},
    )


def discriminating(lr=3e-3):
    return {
        "discriminators": [
            MultiPeriodDiscriminator((2, 3), width=2),
            MultiResolutionDiscriminator(((256, 64, 256),), width=4),
        ],
        "critic_loss": least_squares_discriminator,
        "critic_optimizer": functools.partial(torch.optim.Adam, lr=lr),
    }


def losses(distiller, batch):
    step = distiller.run_networks(batch)
    return {key: term(step) for key, term in distiller.terms.items()}


def only(batch, rows):
    return batch._replace(
        waveform=batch.waveform[rows],
        samples=batch.samples[rows],
        labelled=batch.labelled[rows],
        **{name: [value for value, kept in zip(getattr(batch, name), rows, strict=True) if kept]
           for name in ("ids", "speakers", "texts")},
    )  # fmt: skip


@pytest.mark.parametrize("kind", [vocoder, flow])
def test_a_hidden_recording_is_not_learnt(kind):
    terms = {"stft": RecordedSpectrum(STFT), "mel": RecordedSpectrum(functools.partial(mel_error, mel=mel()))}
    distiller = distiller_of(
        kind(), **({"likelihood": FlowLikelihood(negative_log_likelihood)} if kind is flow else terms)
    )
    batch = segment_batch()
    found = losses(distiller, batch)
    others = batch._replace(waveform=louder_where_hidden(batch.waveform))
    assert losses(distiller, others) == found
    seen = losses(distiller, only(batch, LABELLED))
    assert found.keys() == seen.keys()
    for key, summed in found.items():
        torch.testing.assert_close(summed, seen[key])
    shown = batch._replace(labelled=torch.ones(4, dtype=torch.bool))
    assert losses(distiller, shown) != found


@pytest.mark.parametrize("term", [RecordedSpectrum, TaughtSpectrum])
def test_the_frontend_of_a_loss_goes_to_the_device_with_its_term(term):
    heard = mel()
    distiller = distiller_of(teacher=vocoder(), mel=term(functools.partial(mel_error, mel=heard)))
    distiller.to("meta")
    assert all(buffer.is_meta for buffer in heard.buffers())
    assert not any("terms" in key for key in distiller.state_dict())


def test_what_a_teacher_says_is_learnt_of_every_mel_beside_the_recordings():
    distiller = distiller_of(
        teacher=vocoder(channels=12), stft=RecordedSpectrum(STFT), taught=TaughtSpectrum(STFT)
    )
    batch = segment_batch()
    step = distiller.run_networks(batch)
    mels = distiller.student.frontend(batch.waveform, None, batch.samples)
    assert step.teacher.equal(distiller.teacher(mels))
    assert not step.teacher.requires_grad
    assert distiller.terms["stft"](step).count == 2
    taught = distiller.terms["taught"](step)
    torch.testing.assert_close(taught, STFT(step.student, step.teacher, batch.samples))
    assert taught.count == 4
    taught.sum.backward()
    assert all(parameter.grad is None for parameter in distiller.teacher.parameters())
    assert all(parameter.grad is not None for parameter in distiller.student.parameters())


def test_a_hidden_layer_learns_from_the_teachers_of_every_mel():
    path = {"student": "norm", "teacher": "norm", "student_channels": "last", "teacher_channels": "last"}
    distiller = distiller_of(teacher=vocoder(channels=12), hint=Hint(hint, **path))
    batch = segment_batch()
    distiller.size_terms(batch)
    step = distiller.run_networks(batch)
    ours, theirs = step.student_taps["norm"], step.teacher_taps["norm"]
    assert theirs.shape == (4, 2048 // HOP, 12)
    assert not theirs.requires_grad
    project = distiller.terms["hint"].projector[0]
    squares = (project(ours.transpose(1, 2)).transpose(1, 2) - theirs).square()
    found = distiller.terms["hint"](step)
    torch.testing.assert_close(found.sum, squares.mean(dim=(1, 2)).sum())
    assert found.count == 4
    found.sum.backward()
    assert project.weight.grad is not None
    assert distiller.student.network.embedding.weight.grad.abs().sum() > 0


def test_the_likelihood_is_that_of_the_flow():
    distiller = distiller_of(flow(), likelihood=FlowLikelihood(negative_log_likelihood))
    with torch.no_grad():
        for weights in distiller.student.network.parameters():
            weights.add_(noise(*weights.shape))
    batch = segment_batch()
    step = distiller.run_networks(batch)
    assert step.student is None  # nobody asked what it would say
    mels = distiller.student.frontend(batch.waveform, None, batch.samples)
    said = distiller.student.network.flow(batch.waveform, mels, torch.full((4,), 2048 // HOP))
    exact = said.z.double().square().sum(dim=1) / 2 - said.log_determinant.double()
    summed = distiller.terms["likelihood"](step)
    torch.testing.assert_close(summed.sum.double(), exact[LABELLED].sum(), rtol=1e-5, atol=1e-3)
    assert summed.count == 2 * 2048


@pytest.mark.parametrize(("kind", "critic"), [(vocoder, False), (vocoder, True), (flow, False)])
def test_a_batch_without_any_recording_to_learn_from_changes_nothing_and_breaks_nothing(
    kind, critic, tmp_path
):
    terms = {"likelihood": FlowLikelihood(negative_log_likelihood)} if kind is flow else {}
    distiller = distiller_of(kind(), critic=critic, **terms)
    hidden = segment_batch(labelled=torch.zeros(4, dtype=torch.bool))
    found = losses(distiller, hidden)
    if critic:
        assert found.pop("adversarial").count == 4  # it is judged without a recording
        before = [weights.clone() for weights in distiller.critic.parameters()]
    loss, means = distiller.weigh(found)
    assert loss == 0
    assert all(mean == 0 for mean in means.values())
    fit(distiller, [hidden], tmp_path)
    assert all(weights.isfinite().all() for weights in distiller.student.parameters())
    if critic:
        assert all(map(torch.equal, before, distiller.critic.parameters()))


def test_one_short_segment_is_a_batch(tmp_path):
    one = segment_batch(
        waveform=noise(1, 4 * HOP), samples=torch.tensor([3 * HOP + 5]), labelled=torch.tensor([True]),
        ids=["a"], speakers=["s"], texts=["one"],
    )  # fmt: skip
    distiller = distiller_of(critic=True)
    before = [weights.clone() for weights in distiller.student.parameters()]
    fit(distiller, [one], tmp_path)
    assert not all(map(torch.equal, before, distiller.student.parameters()))


# The critic


def test_the_critic_learns_to_tell_recordings_from_the_vocoder():
    distiller = distiller_of(critic=True)
    batch = segment_batch(labelled=torch.ones(4, dtype=torch.bool))
    said = distiller.run_networks(batch).student.detach()
    told = [float(distiller.critic.learn(batch.waveform, said)) for _ in range(20)]
    assert told[-1] < 0.9 * told[0]
    recorded, synthesised = (
        torch.stack(
            [scores.mean() for each in distiller.critic.discriminators for scores in each(waveform)[0]]
        )
        for waveform in (batch.waveform, said)
    )
    assert (recorded > synthesised).all()


def test_the_critic_hears_the_recordings_that_may_be_seen_and_the_student_of_those(monkeypatch):
    distiller = distiller_of(critic=True)
    distiller.loss_of = lambda step, **beside: beside["critic"]
    heard = []
    monkeypatch.setattr(
        Critic, "learn", lambda critic, recorded, said: heard.append((recorded, said)) or torch.zeros(())
    )
    batch = segment_batch()
    distiller.training_step(batch, 0)
    ((recorded, said),) = heard
    assert recorded.equal(batch.waveform[LABELLED])
    assert said.equal(distiller.run_networks(batch).student[LABELLED])


def test_the_critics_step_gives_the_student_no_gradient_and_the_students_gives_the_critic_none(tmp_path):
    distiller = distiller_of(critic=True)
    batch = segment_batch()
    step = distiller.run_networks(batch)
    distiller.critic.learn(step.waveform, step.student)
    assert all(parameter.grad is None for parameter in distiller.student.parameters())
    before = [parameter.grad.clone() for parameter in distiller.critic.parameters()]
    sum(term(step).sum for term in distiller.terms.values()).backward()
    assert all(parameter.grad is not None for parameter in distiller.student.parameters())
    after = [parameter.grad for parameter in distiller.critic.parameters()]
    assert all(map(torch.equal, before, after))


def test_the_loss_of_the_critic_is_that_of_the_paper_and_its_gradient_is_clipped():
    distiller = distiller_of(critic=True)
    batch = segment_batch()
    said = distiller.run_networks(batch).student.detach()
    expected = 0.0
    for discriminator in distiller.critic.discriminators:
        for theirs, ours in zip(discriminator(batch.waveform)[0], discriminator(said)[0], strict=True):
            expected += float((theirs.double() - 1).square().mean() + ours.double().square().mean())
    distiller.critic.clip = 1e-3
    assert float(distiller.critic.learn(batch.waveform, said)) == pytest.approx(expected, rel=1e-5)
    norm = torch.stack([parameter.grad.norm() for parameter in distiller.critic.parameters()]).norm()
    assert float(norm) == pytest.approx(1e-3, rel=1e-3)


def test_features_are_those_of_the_recordings_or_of_the_teacher():
    of_teacher = FeatureMatching(feature_matching, of="teacher")
    assert of_teacher.needs_teacher
    torch.manual_seed(1)
    distiller = VocodingDistiller(
        classes=[], student=vocoder(), teacher=vocoder(channels=12),
        terms={"of_teacher": of_teacher, "of_recording": FeatureMatching(feature_matching)},
        weights={"of_teacher": 1.0, "of_recording": 1.0}, optimizer=torch.optim.Adam, **discriminating(),
    )  # fmt: skip
    step = distiller.run_networks(segment_batch())
    for key, rows, wanted in (
        ("of_teacher", slice(None), step.teacher),
        ("of_recording", LABELLED, step.waveform),
    ):
        expected = sum(
            float((ours.detach().double() - theirs.double()).abs().flatten(1).mean(1).sum())
            for each in distiller.critic.discriminators
            for ours, theirs in zip(each(step.student[rows])[1], each(wanted[rows])[1], strict=True)
        )
        summed = distiller.terms[key](step)
        assert summed.sum.item() == pytest.approx(expected, rel=1e-5)
        assert summed.count == len(step.student[rows])
    with pytest.raises(ValueError, match="of=nobody: features are matched"):
        FeatureMatching(feature_matching, of="nobody")


def test_a_step_is_a_step_of_the_student_and_the_critics_parameters_are_its_own(tmp_path):
    distiller = distiller_of(critic=True)
    before = [weights.clone() for weights in distiller.critic.parameters()]
    trainer = fit(distiller, [segment_batch()] * 3, tmp_path)
    assert trainer.global_step == 3
    (optimizer,) = trainer.optimizers
    optimised = {id(weights) for group in optimizer.param_groups for weights in group["params"]}
    assert optimised == {id(weights) for weights in distiller.student.parameters()}
    own = {id(weights) for group in distiller.critic.optimizer.param_groups for weights in group["params"]}
    assert own == {id(weights) for weights in distiller.critic.parameters()}
    assert not any(map(torch.equal, before, distiller.critic.parameters()))
    states = distiller.critic.optimizer.state.values()
    assert {int(state["step"]) for state in states} == {3}


def test_a_checkpoint_holds_the_critic_its_optimizer_and_no_teacher(tmp_path):
    distiller = distiller_of(
        teacher=vocoder(channels=12), critic=True, stft=RecordedSpectrum(STFT), taught=TaughtSpectrum(STFT)
    )
    trainer = fit(distiller, [segment_batch()] * 2, tmp_path)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    saved = torch.load(tmp_path / "one.ckpt", weights_only=True)
    assert {name.split(".")[0] for name in saved["state_dict"]} == {"student", "critic"}
    assert not any("critic" in name or "discriminator" in name for name in distiller.student.state_dict())

    again = distiller_of(
        teacher=vocoder(channels=12), critic=True, stft=RecordedSpectrum(STFT), taught=TaughtSpectrum(STFT)
    )
    again.on_load_checkpoint(saved)
    again.load_state_dict(saved["state_dict"], strict=True)
    again.on_fit_start()
    before, after = (one.critic.optimizer.state_dict()["state"] for one in (distiller, again))
    assert before.keys() == after.keys()
    assert len(before) == len(list(distiller.critic.parameters()))
    for number, state in before.items():
        assert all(torch.equal(value, after[number][name]) for name, value in state.items())


def learn_on_a_rank(rank, folder):
    """Two steps of a critic: on one recording of four, or the three others; then on none of two, or both."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    critic = distiller_of(critic=True).critic
    told = [critic.learn(*(waveform[rows] for waveform in RECORDED_AND_SAID)) for rows in RANKS[rank]]
    torch.distributed.all_reduce(over_ranks := torch.stack(told))
    torch.save((over_ranks / 2, list(critic.parameters())), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


RECORDED_AND_SAID = (noise(4, 1024), noise(4, 1024, seed=1))
RANKS = ([slice(0, 1), slice(0, 0)], [slice(1, 4), slice(0, 2)])


@pytest.mark.ddp
def test_the_critics_of_two_ranks_learn_what_one_learns_from_all_recordings(tmp_path):
    torch.multiprocessing.spawn(learn_on_a_rank, (tmp_path,), nprocs=2)
    critic = distiller_of(critic=True).critic
    told = [
        critic.learn(*(waveform[rows] for waveform in RECORDED_AND_SAID))
        for rows in (slice(0, 4), slice(0, 2))
    ]
    for rank in (0, 1):
        over_ranks, parameters = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        torch.testing.assert_close(over_ranks, torch.stack(told))
        torch.testing.assert_close(parameters, list(critic.parameters()), rtol=1e-4, atol=1e-5)


def test_half_precision_stops_before_the_critic(tmp_path):
    seen = []

    def spy(recorded, said):
        summed = least_squares_discriminator(recorded, said)
        seen.append({tensor.dtype for tensor in (*recorded, *said)})
        return summed

    distiller = distiller_of(critic=True)
    distiller.critic.loss = spy
    fit(distiller, [segment_batch()], tmp_path, precision="bf16-mixed")
    assert seen == [{torch.float32}] * 2


def test_a_term_without_its_critic_says_what_to_choose():
    with pytest.raises(ValueError, match="distiller=vocoding_adversarial"):
        distiller_of(adversarial=Adversarial(least_squares_generator))


def test_a_teacher_of_other_mels_is_refused_with_what_differs():
    with pytest.raises(
        ValueError, match=rf"teacher speaks other mels \(high_hz: 3000.0 there, {RATE / 2} here\)"
    ):
        distiller_of(teacher=vocoder(high_hz=3000.0), taught=TaughtSpectrum(STFT))


# Copy synthesis


def test_a_recording_is_said_again_as_it_would_be_alone():
    distiller = distiller_of().eval()
    samples = torch.tensor([2048, 1000, 640, 1999])
    ragged = segment_batch(samples=samples)
    ragged = ragged._replace(waveform=ragged.waveform * (torch.arange(2048) < samples[:, None]))
    together = distiller.say(ragged)
    for row, length in enumerate(samples.tolist()):
        mels = distiller.student.frontend(ragged.waveform[row : row + 1, :length])
        said = together[row].spoken
        assert torch.equal(torch.from_numpy(said.waveform), distiller.student(mels)[0, :length].clamp(-1, 1))
        assert torch.equal(torch.from_numpy(said.reference_mel), mels[0])
        assert said.mel.shape == said.reference_mel.shape
        assert len(said.reference) == length
    for pair, said in zip(distiller.say_mels(ragged), together, strict=True):
        assert (pair.reference == said.spoken.reference_mel).all()
        assert (pair.said == said.spoken.mel).all()


def test_a_flow_says_the_same_whenever_it_is_heard():
    distiller = distiller_of(flow(), likelihood=FlowLikelihood(negative_log_likelihood)).eval()
    first = distiller.speak_samples(segment_batch())
    torch.manual_seed(5)
    state = torch.get_rng_state()
    second = distiller.speak_samples(segment_batch())
    assert torch.equal(torch.get_rng_state(), state)
    assert all((one.waveform == other.waveform).all() for one, other in zip(first, second, strict=True))
    assert any((one.waveform != first[0].waveform).any() for one in first[1:])


class Recorded(nn.Module):
    """Says the recordings themselves."""

    def __init__(self, waveform):
        super().__init__()
        self.waveform = waveform

    def forward(self, mel):
        return self.waveform


def test_a_vocoder_that_says_the_recording_has_no_error():
    time = torch.arange(8192) / RATE
    voice = sum(torch.sin(2 * torch.pi * 150 * harmonic * time) / harmonic for harmonic in range(1, 9))
    waveform = (0.2 * voice + noise(8192) / 20)[None]
    distiller = distiller_of()
    distiller.student.network = Recorded(waveform)
    one = segment_batch(waveform=waveform, samples=torch.tensor([8192]), ids=["a"])
    (said,) = distiller.say(one)
    scores = distiller.judge(said.spoken)
    assert scores.pop("stoi") == pytest.approx(1)
    assert scores == pytest.approx(dict.fromkeys(("mcd", "stft_distance", "f0_rmse", "voicing_error"), 0.0))
