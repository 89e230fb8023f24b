"""Configs over a few sentences."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from kd_lightning.experiment.compose import Request, conf_folder, stage_config


@pytest.fixture
def config_of_sentences(sentence_words: list[str], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The resolved config of a stage of recognition."""

    def make(stage: str, *words: str) -> dict[str, Any]:
        every = ["experiment=common_voice", *sentence_words, f"paths.runs={tmp_path / 'runs'}", *words]
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return stage_config(Request(compose("config", overrides=every), words), stage)

    return make
