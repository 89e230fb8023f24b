"""Networks that speak, and the critic of a vocoder, end as if never cut; flows draw no other noise."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from kills import Killed, Points, results
from safetensors import safe_open

from kd_lightning.experiment.compose import Request, conf_folder, stage_config
from kd_lightning.stages import run_stage

ADVERSARIAL = (
    *("distiller=vocoding_adversarial", "student=vocos_tiny", "student.network.channels=8"),
    *("student.network.hidden_channels=16", "student.network.layers=1", "distiller.weights.mel=1.0"),
    *("distiller.discriminators.0.periods=[2,3]", "distiller.discriminators.0.width=1"),
    *("distiller.discriminators.1.resolutions=[[256,64,256]]", "distiller.discriminators.1.width=2"),
)
FLOW = (
    *("distiller=vocoding_flow", "student=squeeze_wave_small", "student.network.channels=8"),
    *("student.network.flows=2", "student.network.layers=1", "student.network.group=40"),
)
VOCODING = (
    *("experiment=libritts_vocoder", "corpus.batch_size=4", "corpus.segment_seconds=0.1"),
    *("corpus.labelled_fraction=1.0", "stages.baseline.trainer.max_epochs=2"),
)
SYNTHESIS = (
    *("experiment=libritts_tts", "student=tacotron2_small", "distiller=synthesis_decoder_durations"),
    *(
        f"student.network.{width}=8"
        for width in ("encoder_width", "prenet_width", "attention_space", "attention_width", "decoder_width")
    ),
    *("corpus.batch_seconds=8", "student.network.max_frames_per_token=3"),
)


@pytest.fixture
def config_of(voice_words, tmp_path):
    def make(folder: str, *words: str):
        every = [*voice_words, *words, f"folder={tmp_path / folder}"]
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return stage_config(Request(compose("config", overrides=every)), "baseline")

    return make


def cut(config, monkeypatch, point):
    with monkeypatch.context() as patch:
        Points(patch, Path(config["folder"]), point)
        with pytest.raises(Killed):
            run_stage(config)


def critic(config):
    """The critic as the stage left it, with the state of its optimizer."""
    last = torch.load(Path(config["folder"]) / "checkpoints" / "last.ckpt", weights_only=True)
    weights = {name: tensor for name, tensor in last["state_dict"].items() if name.startswith("critic.")}
    states = last["critic_optimizer"]["state"]
    return weights | {(number, key): value for number in states for key, value in states[number].items()}


def test_a_cut_run_ends_like_the_uncut_one_with_the_same_critic(config_of, monkeypatch):
    whole = config_of("whole", *VOCODING, *ADVERSARIAL)
    run_stage(whole)
    expected = critic(whole)
    assert {int(value) for (key, value) in expected.items() if key[1] == "step"} == {12}
    with safe_open(Path(whole["folder"]) / "network.safetensors", "pt") as network:
        assert all(name.startswith("network.") for name in network.keys())  # noqa: SIM118 (it is no dict)
    for point in (("on_train_batch_start", 2), ("after last.ckpt", 2), ("on_train_epoch_end", 1)):
        config = config_of(point[0], *VOCODING, *ADVERSARIAL)
        cut(config, monkeypatch, point)
        torch.manual_seed(7)  # another process draws otherwise
        run_stage(config)
        assert results(Path(config["folder"])) == results(Path(whole["folder"]))
        found = critic(config)
        assert found.keys() == expected.keys()
        assert all(torch.equal(value, found[key]) for key, value in expected.items())


def test_a_flow_that_is_cut_before_its_test_is_heard_with_the_same_noise(config_of, monkeypatch):
    whole = config_of("whole", *VOCODING, *FLOW)
    run_stage(whole)
    for point in (("on_train_batch_end", 3), ("before predictions.jsonl", 1)):
        config = config_of(point[0], *VOCODING, *FLOW)
        cut(config, monkeypatch, point)
        torch.manual_seed(7)
        run_stage(config)
        assert results(Path(config["folder"])) == results(Path(whole["folder"]))


def test_a_cut_run_of_synthesis_ends_like_the_uncut_one(config_of, monkeypatch):
    whole = config_of("whole", *SYNTHESIS)
    run_stage(whole)
    for point in (("after last.ckpt", 1), ("on_train_epoch_end", 1)):
        config = config_of(point[0], *SYNTHESIS)
        cut(config, monkeypatch, point)
        torch.manual_seed(7)
        run_stage(config)
        assert results(Path(config["folder"])) == results(Path(whole["folder"]))
