"""Synthesis and vocoding on a few sentences: experiments build, every recipe and network takes a step and speaks."""

import pytest
import torch
from hydra import compose, initialize_config_dir
from tasks import (
    SYNTHESIS_EXPERIMENTS,
    SYNTHESIS_RECIPES,
    SYNTHESIS_STUDENTS,
    SYNTHESIS_TEACHERS,
    VOCODING_EXPERIMENTS,
    VOCODING_RECIPES,
    VOCODING_STUDENTS,
    VOCODING_TEACHERS,
    names,
)
from untrained import untrained_run

from kd_lightning.experiment.build import build_experiment
from kd_lightning.experiment.compose import Request, conf_folder, stage_config
from kd_lightning.pipeline import stage_configs

TTS, VOCODER = "experiment=libritts_tts", "experiment=libritts_vocoder"
WIDTHS = ("encoder_width", "prenet_width", "attention_space", "attention_width", "decoder_width")


def small_tacotron(role: str) -> tuple[str, ...]:
    return (
        f"{role}=tacotron2_{'embedded' if role == 'teacher' else 'small'}",
        *(f"{role}.network.{width}=16" for width in WIDTHS),
    )


FEED_FORWARD = ("student=feed_forward_small", "student.network.width=16", "student.network.inner=16")
VOCOSES = tuple(
    f"{role}.network.{size}=16" for role in ("teacher", "student") for size in ("channels", "hidden_channels")
)
SMALL_DISCRIMINATORS = (
    *("distiller.discriminators.0.periods=[2,3]", "distiller.discriminators.0.width=1"),
    *("distiller.discriminators.1.resolutions=[[512,128,512]]", "distiller.discriminators.1.width=2"),
)


@pytest.fixture
def composed(voice_words, tmp_path):
    """The config of a user who types these words, over the few sentences."""

    def make(*words: str) -> Request:
        every = [*voice_words, f"paths.runs={tmp_path / 'runs'}", *words]
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return Request(compose("config", overrides=every), tuple(words))

    return make


@pytest.fixture
def built(composed, tmp_path):
    """A stage of these words."""

    def make(stage: str, *words: str):
        return build_experiment(stage_config(composed(*words), stage), tmp_path / stage)

    return make


@pytest.fixture
def teacher_of(voice_words, tmp_path):
    """A teacher with random weights, as a stage leaves it."""

    def make(*words: str) -> str:
        return f"teacher.run={untrained_run(tmp_path / 'teachers', *voice_words, *words, stage='teacher')}"

    return make


def take_a_step(experiment):
    """One optimizer step on the first batch; the mean of each term before it."""
    distiller = experiment.distiller.train()
    batch = next(iter(experiment.datamodule.train_dataloader()))
    before = [weights.clone() for weights in distiller.student.parameters()]
    optimizer = distiller._optimizer([weights for weights in distiller.parameters() if weights.requires_grad])
    distiller.loss_of = lambda step, **beside: distiller.weigh(
        {key: term(step) for key, term in distiller.terms.items()}
    )
    loss, means = distiller.training_step(batch, 0)
    loss.backward()
    optimizer.step()
    assert set(means) == set(distiller.terms)
    assert all(mean.isfinite() for mean in means.values())
    assert all(weights.isfinite().all() for weights in distiller.student.parameters())
    assert not all(map(torch.equal, before, distiller.student.parameters()))
    if distiller.teacher is not None:
        assert all(weights.grad is None for weights in distiller.teacher.parameters())
    return means


@pytest.mark.parametrize("experiment", [*SYNTHESIS_EXPERIMENTS, *VOCODING_EXPERIMENTS])
def test_every_stage_of_every_experiment_builds(experiment, composed, teacher_of, tmp_path):
    teacher = teacher_of(f"experiment={experiment}").removeprefix("teacher.run=")
    for stage, config in stage_configs(composed(f"experiment={experiment}")).items():
        config["student"]["run"] = None  # nothing is trained here
        if config["teacher"] is not None:
            config["teacher"]["run"] = teacher
        built = build_experiment(config, tmp_path / stage)
        assert (built.distiller.teacher is None) == (stage != "distill")
        assert len(built.datamodule.test_dataloader().dataset) == 3
        assert built.datamodule.train_size == 24
        assert built.datamodule.labelled_size == (24 if stage == "teacher" else 12)


@pytest.mark.parametrize("recipe", SYNTHESIS_RECIPES)
def test_every_recipe_of_synthesis_takes_a_step(recipe, built, teacher_of):
    decoder = recipe != "taught_mels"
    words = (
        *(TTS, f"transfer={recipe}", "distiller.min_focus=0.0"),
        *small_tacotron("teacher"),
        *(("distiller=synthesis_decoder_durations", *small_tacotron("student")) if decoder else FEED_FORWARD),
    )
    torch.manual_seed(0)
    experiment = built("distill", *words, teacher_of(*words))
    # An untrained teacher does not stop by itself.
    taught = experiment.distiller._taught
    experiment.distiller._taught = lambda batch: (said := taught(batch))._replace(
        ended=torch.ones_like(said.ended)
    )
    means = take_a_step(experiment)
    assert all(mean > 0 for mean in means.values())


@pytest.mark.parametrize("recipe", VOCODING_RECIPES)
def test_every_recipe_of_vocoding_takes_a_step(recipe, built, teacher_of):
    words = (VOCODER, *VOCOSES, f"transfer={recipe}")
    means = take_a_step(built("distill", *words, teacher_of(*words)))
    assert all(mean > 0 for mean in means.values())


@pytest.mark.parametrize("distiller", [name for name in names("distiller") if name.startswith("synthesis")])
def test_every_distiller_of_synthesis_takes_a_step(distiller, built):
    network = FEED_FORWARD if distiller == "synthesis" else small_tacotron("student")
    means = take_a_step(built("baseline", TTS, f"distiller={distiller}", *network))
    assert all(mean > 0 for mean in means.values())


@pytest.mark.parametrize("distiller", [name for name in names("distiller") if name.startswith("vocoding")])
def test_every_distiller_of_vocoding_takes_a_step(distiller, built):
    words = {
        "vocoding": VOCOSES,
        "vocoding_adversarial": (*VOCOSES, *SMALL_DISCRIMINATORS),
        "vocoding_flow": ("frontend=mel_22k", "student=squeeze_wave_small", "student.network.channels=8"),
    }[distiller]
    means = take_a_step(built("baseline", VOCODER, f"distiller={distiller}", *words))
    assert all(mean > 0 or key == "likelihood" for key, mean in means.items())


# As large as in their papers.
LARGE = {
    *("tacotron2", "fast_speech2", "waveglow", "vocos"),
    *(f"squeeze_wave_{width}{size}" for width in (64, 128) for size in "ls"),
}
# Has letters of its own; built where its weights are.
BUNDLE = "tacotron2_bundle"


def frontend(network: str) -> str:
    """What a network of a fixed group of samples fits."""
    return (
        "frontend=mel_22k"
        if network.startswith(("squeeze", "waveglow", "tacotron2_b"))
        else "frontend=mel_16k"
    )


def stage_of(role: str) -> str:
    return {"teacher": "teacher", "student": "baseline"}[role]


@pytest.mark.parametrize(
    ("role", "network"),
    [
        *[("student", name) for name in SYNTHESIS_STUDENTS if name not in LARGE],
        *[("teacher", name) for name in SYNTHESIS_TEACHERS if name not in {*LARGE, BUNDLE}],
    ],
)
def test_every_acoustic_network_speaks(role, network, built):
    # An untrained decoder is cut at its longest.
    short = [f"{role}.network.max_frames_per_token=4"] if network.startswith("tacotron2") else []
    experiment = built(stage_of(role), TTS, f"{role}={network}", frontend(network), *short)
    batch = next(iter(experiment.datamodule.val_dataloader()))
    for pair, id in zip(experiment.distiller.eval().say_mels(batch), batch.ids, strict=True):
        assert pair.said.shape[0] == pair.reference.shape[0] == 80, id
        assert torch.from_numpy(pair.said).isfinite().all()


@pytest.mark.parametrize(
    ("role", "network"),
    [
        *[("student", name) for name in VOCODING_STUDENTS if name not in LARGE],
        *[("teacher", name) for name in VOCODING_TEACHERS if name not in LARGE],
    ],
)
def test_every_vocoder_speaks(role, network, built):
    experiment = built(stage_of(role), VOCODER, f"{role}={network}", frontend(network))
    batch = next(iter(experiment.datamodule.val_dataloader()))
    for said in experiment.distiller.eval().speak_samples(batch):
        assert len(said.waveform) == len(said.reference)
        assert torch.from_numpy(said.waveform).isfinite().all()


def learner(network: str) -> tuple[str, ...]:
    """The experiment and the terms by which a network of a paper learns."""
    if network.startswith(("waveglow", "squeeze_wave")):
        return VOCODER, "distiller=vocoding_flow"
    return {
        "tacotron2": (TTS,),
        "fast_speech2": (TTS, "distiller=synthesis"),
        "vocos": (VOCODER, "distiller=vocoding_adversarial"),
    }[network]


@pytest.mark.slow
@pytest.mark.parametrize("network", sorted(LARGE))
def test_every_network_of_a_paper_takes_a_step(network, built):
    role = "teacher" if network in (*SYNTHESIS_TEACHERS, *VOCODING_TEACHERS) else "student"
    size = "corpus.batch_seconds=4" if TTS in learner(network) else "corpus.batch_size=1"
    words = [*learner(network), f"{role}={network}", "frontend=mel_22k", size]
    experiment = built(stage_of(role), *words)
    count = sum(weights.numel() for weights in experiment.distiller.student.parameters())
    assert count > {"squeeze_wave_64s": 7e6, "squeeze_wave_128s": 7e6}.get(network, 1e7)
    take_a_step(experiment)
