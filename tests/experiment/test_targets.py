"""A config builds networks, losses and the like; anything else that it names is refused before it is called."""

import re

import pytest
import torch
from torch import nn

from kd_lightning.experiment.targets import build, resolve


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "subprocess.Popen",
        "torchaudio.os.getcwd",  # an honest prefix, somebody else's function
        "torch.hub.load",
        "torch.load",
        "torch.serialization.load",
        "torch.utils.cpp_extension.load_inline",
        "pytorch_lightning.Trainer",
        "kd_lightning.corpora.download.fetch",
        "kd_lightning.corpora.growing_npy.GrowingNpy",
        "kd_lightning.models.copying._copy",
        "torch.jit.ScriptModule",
        "torch.nn.parallel.DistributedDataParallel",
        "torch.distributed.nn.RemoteModule",
        "kd_lightning.stages.run_stage",
        "kd_lightning.experiment.targets.build",
        "kd_lightning.stages.json.loads",
    ],
)
def test_what_could_run_code_or_touch_files_is_refused(target):
    with pytest.raises(ValueError, match=r"not allowed|does not exist"):
        resolve(target)


@pytest.mark.parametrize(
    "target",
    [
        "kd_lightning.models.tc_resnet.TCResNet",
        "kd_lightning.losses.logits.soft_targets",
        "kd_lightning.distillers.weights.Linear",
        "kd_lightning.distillers.schedules.one_cycle",
        "kd_lightning.corpora.speech_commands.SpeechCommands",
        "kd_lightning.corpora.augment.Augment",
        "torch.optim.AdamW",
        "torch.nn.Linear",
        "pytorch_lightning.callbacks.TQDMProgressBar",
        "pytorch_lightning.loggers.WandbLogger",
    ],
)
def test_what_an_experiment_is_made_of_is_allowed(target):
    assert callable(resolve(target))


def test_nothing_inside_is_built_before_it_is_checked():
    hostile = {"_target_": "torch.nn.Linear", "in_features": {"_target_": "os.getpid"}, "out_features": 1}
    with pytest.raises(ValueError, match=r"os\.getpid is not allowed"):
        build(hostile)


def test_nested_objects_and_partials():
    config = {
        "_target_": "torch.nn.Sequential",
    }
    assert isinstance(build(config), nn.Sequential)
    optimizer = build({"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.5})
    assert optimizer([nn.Parameter(torch.zeros(1))]).defaults["lr"] == 0.5
    assert build([{"a": {"b": 1}}]) == [{"a": {"b": 1}}]


def test_an_argument_that_the_object_does_not_take_names_the_target():
    with pytest.raises(ValueError, match=r"torch\.nn\.Linear.*colour"):
        build({"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1, "colour": "red"})


@pytest.mark.parametrize(
    ("target", "argument", "value", "wanted"),
    [
        ("kd_lightning.corpora.speech_commands.SpeechCommands", "limit", "lots", "int | None"),
        ("kd_lightning.corpora.speech_commands.SpeechCommands", "batch_size", 2.5, "int"),
        ("kd_lightning.corpora.speech_commands.SpeechCommands", "words", "yes", "list[str] | None"),
        ("kd_lightning.corpora.speech_commands.SpeechCommands", "unknown", "maybe", "bool"),
        ("kd_lightning.corpora.speech_commands.SpeechCommands", "augment", "loud", "Augment | None"),
        ("kd_lightning.corpora.augment.Augment", "snr", ["a", "b"], "Sequence[float]"),
        ("kd_lightning.models.tc_resnet.TCResNet", "width", "wide", "float"),
        ("torch.optim.AdamW", "lr", "fast", "float | torch.Tensor"),
        ("torch.optim.AdamW", "betas", [0.9, "a"], "tuple"),
    ],
)
def test_an_argument_of_another_type_is_named_with_what_it_has_to_be(target, argument, value, wanted):
    usual = {"root": None, "data": "data"} if target.endswith("SpeechCommands") else {}
    said = f"{target}: {argument}={value} is not "
    with pytest.raises(ValueError, match=f"^{re.escape(said)}.*{re.escape(wanted)}.*; look at"):
        build({"_target_": target, "_partial_": True, **usual, argument: value})


def test_whole_numbers_are_numbers_and_lists_are_tuples():
    optimizer = build({"_target_": "torch.optim.AdamW", "_partial_": True, "lr": 1, "betas": [0.9, 0.98]})
    assert optimizer([nn.Parameter(torch.zeros(1))]).defaults["betas"] == (0.9, 0.98)


def test_the_place_says_what_kind_is_wanted():
    network = {"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1}
    assert isinstance(build(network, nn.Module), nn.Linear)
    with pytest.raises(ValueError, match=r"WandbLogger is not allowed here: a Module is wanted"):
        build({"_target_": "pytorch_lightning.loggers.WandbLogger"}, nn.Module)


def test_a_missing_object_is_named():
    with pytest.raises(ValueError, match=r"kd_lightning\.models\.tc_resnet\.TCResnet does not exist"):
        resolve("kd_lightning.models.tc_resnet.TCResnet")
