"""A request as the command line makes it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from kd_lightning.experiment.compose import Request, conf_folder


@pytest.fixture(scope="session")
def typed(quick_words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Request]:
    """Composes ``conf`` with the quick words and further ones, and remembers them all."""
    runs = tmp_path_factory.mktemp("runs")

    def make(*words: str, runs: Path = runs) -> Request:
        # No width is typed: that is what is searched for.
        quick = [word for word in quick_words if ".network." not in word]
        every = (*quick, f"paths.runs={runs}", "name=quick", *words)
        with initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return Request(compose("config", overrides=list(every)), every)

    return make
