"""Fixtures: a finished pipeline, and sweeps of given accuracies."""

from collections.abc import Callable
from pathlib import Path

import pytest
from run_folders import SHARES, write_export, write_run


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    """A pipeline folder with all four stages and an export."""
    folder = tmp_path / "runs" / "my_run"
    for stage, share in SHARES.items():
        write_run(folder / stage, stage, share)
    write_export(folder / "finetune")
    return folder


@pytest.fixture
def write_sweep(tmp_path: Path) -> Callable[..., Path]:
    """Write a multirun folder from accuracies by setting and seed, on the test set and, if given, on validation."""

    def write(
        settings: dict[str, dict[int, float]],
        validation: dict[str, dict[int, float]] | None = None,
    ) -> Path:
        folder, job = tmp_path / "multirun" / "2026-01-01" / "10-00-00", 0
        for setting, seeds in settings.items():
            for seed, share in seeds.items():
                overrides = ["experiment=speech_commands", *setting.split(), f"seed={seed}"]
                results = {"metrics": {"accuracy": share, "f1": share, "ece": 0.03}}
                if validation is not None:
                    results["validation"] = {"accuracy": validation[setting][seed]}
                config = {"overrides": overrides, "seed": seed}
                write_run(folder / str(job), "distill", share, 40, seed=seed, config=config, results=results)
                job += 1
        return folder

    return write
