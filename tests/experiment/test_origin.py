"""Where a run comes from: it says so where it can, and is silent, never wrong, where it cannot."""

import shlex
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from types import SimpleNamespace

import pytest
import torch

from kd_lightning.experiment import origin as made
from kd_lightning.experiment.origin import command, commit, origin


def git(folder, *words: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    ran = subprocess.run(
        ["git", "-C", str(folder), *identity, *words], capture_output=True, check=True, text=True
    )
    return ran.stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    """A repository with a package and its configs beside it; the package's folder."""
    package = tmp_path / "checkout" / "package"
    package.mkdir(parents=True)
    (package.parent / "conf").mkdir()
    (package.parent / "README.md").write_text("read")
    (package.parent / "conf" / "config.yaml").write_text("a: 1")
    (package / "__init__.py").write_text("")
    git(package.parent, "init", "-q")
    git(package.parent, "add", ".")
    git(package.parent, "commit", "-q", "-m", "first")
    return package


def test_a_clean_checkout_is_its_commit(checkout):
    (checkout.parent / "README.md").write_text("changed: no code")
    assert commit(checkout) == git(checkout, "rev-parse", "HEAD")


@pytest.mark.parametrize("changed", ["package/__init__.py", "package/new_network.py", "conf/config.yaml"])
def test_changed_code_new_code_and_changed_configs_are_dirty(checkout, changed):
    (checkout.parent / changed).write_text("x = 1")
    assert commit(checkout) == git(checkout, "rev-parse", "HEAD") + "-dirty"


def test_code_installed_below_another_project_has_no_commit(checkout):
    installed = checkout.parent / "venv" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert commit(installed) is None


def test_without_a_repository_without_a_commit_and_without_git_there_is_none(checkout, tmp_path, monkeypatch):
    (tmp_path / "alone").mkdir()
    assert commit(tmp_path / "alone") is None
    assert commit(tmp_path / "absent") is None
    git(checkout.parent, "update-ref", "-d", "HEAD")
    assert commit(checkout) is None
    monkeypatch.setenv("PATH", "")
    assert commit(checkout) is None


def test_git_that_hangs_is_given_up(checkout, monkeypatch):
    def hang(*words, timeout, **how):
        raise subprocess.TimeoutExpired(words, timeout)

    monkeypatch.setattr(made.subprocess, "run", hang)
    assert commit(checkout) is None


@pytest.mark.parametrize(
    ("module", "script", "program"),
    [
        ("kd_lightning.pipeline", "/code/kd_lightning/pipeline.py", "python -m kd_lightning.pipeline"),
        (None, "/venv/bin/kd-pipeline", "kd-pipeline"),
        # The words of a student that was found are a pipeline's, and budget= is not among them.
        ("kd_lightning.search", "/code/kd_lightning/search.py", "python -m kd_lightning.pipeline"),
        (None, "/venv/bin/kd-search", "kd-pipeline"),
        ("joblib.externals.loky.backend.popen_loky_posix", "popen.py", "python -m kd_lightning.train"),
        (None, "", "python -m kd_lightning.train"),
    ],
)
def test_the_command_is_the_program_with_words_that_a_shell_reads_back(module, script, program, monkeypatch):
    main = SimpleNamespace(__spec__=module and SimpleNamespace(name=module))
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(sys, "argv", [script])
    words = ["experiment=speech_commands", "corpus.words=[a,b]", "name=two words", "x='$HOME'"]
    line = command(words)
    assert line.startswith(f"{program} experiment=speech_commands ")
    assert shlex.split(line) == [*program.split(), *words]


def test_versions_are_those_that_run_and_the_time_is_now(monkeypatch):
    monkeypatch.setattr(made, "_PACKAGES", (*made._PACKAGES, "no-such-package"))
    found = origin([])
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["versions"]["torch"] == version("torch")
    assert torch.__version__.startswith(found["versions"]["torch"])
    assert set(found["versions"]) == {"python", "torch", "torchaudio", "pytorch-lightning", "kd_lightning"}
    started = datetime.fromisoformat(found["started"])
    assert timedelta() <= datetime.now(UTC) - started < timedelta(minutes=5)
