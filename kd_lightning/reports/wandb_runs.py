"""The wandb runs that belong to run folders: what they are called there, what they hold, what is not sent yet."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from kd_lightning.reports.runs import UnreadableRun, read_curves, read_mapping, read_results, text

# media/<kind>/<key>_<step>_<hash>.<ending>; the key may have folders.
_MEDIUM = re.compile(r"(.+)_\d+_[0-9a-f]+")


class WandbRun(NamedTuple):
    """A run folder that is also a run in wandb.

    Attributes:
        folder: the run folder.
        id: drawn once for the folder; the last part of the run's address.
        project: where it is logged.
        entity: who owns the project; ``None``: the owner of the key.
        unsent: offline runs in the folder that ``wandb sync`` has not sent.
        config: as it was logged.
        results: as in metrics.json, which is in the run's summary; empty where the run was stopped before its end.
        curves: keys that were logged while it trained.
        media: keys of sounds and pictures, sounds first.
    """

    folder: Path
    id: str
    project: str
    entity: str | None
    unsent: list[Path]
    config: dict[str, Any]
    results: dict[str, Any]
    curves: list[str]
    media: list[str]


def wandb_runs(folders: Iterable[Path]) -> list[WandbRun]:
    """The wandb runs of those run folders that were logged to wandb."""
    return [run for folder in folders if (run := _wandb_run(folder)) is not None]


def _wandb_run(folder: Path) -> WandbRun | None:
    kept = folder / ".wandb_id"
    config, results = _read(read_mapping, folder / "config.json"), _read(read_results, folder)
    project = text(config, "logger", "wandb", "project")
    if project is None or not kept.is_file():
        return None
    offline = sorted(folder.glob("wandb/offline-run-*/*.wandb"))
    return WandbRun(
        folder,
        kept.read_text().strip(),
        project,
        text(config, "logger", "wandb", "entity"),
        [path.parent for path in offline if not path.with_name(f"{path.name}.synced").exists()],
        config,
        results,
        list(read_curves(folder / "curves.csv")[0]),
        list(dict.fromkeys(key for kind in ("audio", "images") for key in _media(folder, kind))),
    )


def _read(read: Callable[[Path], dict[str, Any]], path: Path) -> dict[str, Any]:
    try:
        return read(path)
    except UnreadableRun:
        return {}


def _media(folder: Path, kind: str) -> Iterator[str]:
    for media in sorted(folder.glob(f"wandb/*run-*/files/media/{kind}")):
        for path in sorted(media.rglob("*.*")):
            if named := _MEDIUM.fullmatch(path.relative_to(media).with_suffix("").as_posix()):
                yield named[1]
