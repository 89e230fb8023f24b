"""Runs that were never trained, but have all that a finished run leaves for others."""

import json
from pathlib import Path

from hydra import compose, initialize_config_dir
from safetensors.torch import save_file
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from kd_lightning.experiment.build import build_corpus, build_student
from kd_lightning.experiment.compose import Request, conf_folder, stage_config
from kd_lightning.stages import recorded_of
from kd_lightning.teachers.finished_run import WEIGHTS


def untrained_run(folder: Path, *words: str, stage: str = "baseline") -> Path:
    """A stage of these words with random weights, whose BatchNorms do something."""
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        composed = compose("config", overrides=[*words, f"paths.runs={folder}"])
    config = stage_config(Request(composed, words), stage)
    datamodule = build_corpus(config)
    student = build_student(config, datamodule)
    for module in student.modules():
        if isinstance(module, _BatchNorm):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    run = Path(config["folder"])
    run.mkdir(parents=True)
    (run / "config.json").write_text(json.dumps(config | recorded_of(datamodule)))
    save_file({name: tensor.contiguous() for name, tensor in student.state_dict().items()}, run / WEIGHTS)
    return run
