"""Where a run comes from: the command, the commit and the libraries that made it."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
_PACKAGES = ("torch", "torchaudio", "pytorch-lightning", "kd_lightning")
# Git on a slow network disk must not hold up a training.
_PATIENCE_SECONDS = 10
# The search runs the pipeline for the student that it has found, whose words are those of its runs.
_AGAIN = {"python -m kd_lightning.search": "python -m kd_lightning.pipeline", "kd-search": "kd-pipeline"}


def origin(words: Sequence[str]) -> dict[str, Any]:
    """What ``metrics.json`` says of where a run comes from.

    Args:
        words: that train the run again, ``key=value`` each.

    Returns:
        ``started`` (ISO 8601, UTC), ``command``, ``commit`` and ``versions`` by package.
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command(words),
        "commit": commit(),
        "versions": versions(),
    }


def command(words: Sequence[str]) -> str:
    """The line that starts this run again. A job that a launcher or other code started is one of ``train``."""
    main = getattr(sys.modules["__main__"], "__spec__", None)
    script = Path(sys.argv[0]).name
    if main is not None and main.name.startswith("kd_lightning."):
        program = f"python -m {main.name}"
    else:
        program = script if script.startswith("kd-") else "python -m kd_lightning.train"
    return " ".join([_AGAIN.get(program, program), *map(shlex.quote, words)])


def commit(package: Path = PACKAGE) -> str | None:
    """The commit of the code, with ``-dirty`` behind it where code or configs are not as committed.

    Args:
        package: its folder; ``conf`` lies beside it.

    Returns:
        ``None`` without git, and where the code is in no repository or is not tracked by the one around it, as a wheel
        that is installed below somebody's project.
    """

    def git(*words: str) -> str:
        ran = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(package), *words],
            capture_output=True, check=True, text=True, errors="replace", timeout=_PATIENCE_SECONDS,
        )  # fmt: skip
        return ran.stdout.strip()

    try:
        if not git("ls-files", "__init__.py"):
            return None
        # A new network is an untracked file: it counts.
        changed = git("status", "--porcelain", "--", ".", "../conf")
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on; one that is not installed is left out."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
