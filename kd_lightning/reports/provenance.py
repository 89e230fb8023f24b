"""Where the runs of a report come from: command, commit, versions and resolved config of each stage."""

import json
import shlex
from collections.abc import Mapping
from typing import Any, Protocol

from kd_lightning.reports.formats import UNKNOWN, plain, shortened
from kd_lightning.reports.html import Block, Section
from kd_lightning.reports.runs import text, texts
from kd_lightning.reports.table import Table

# Of a config on the page, in characters: a run may be anyone's.
MOST = 100_000
_MOST_PACKAGES = 12
_DIRTY = "-dirty"


class Recorded(Protocol):
    """A run by what it wrote: config.json and metrics.json."""

    @property
    def config(self) -> dict[str, Any]: ...
    @property
    def results(self) -> dict[str, Any]: ...


def provenance(runs: Mapping[str, Recorded]) -> list[dict[str, Any]]:
    """What comparison.json says of where each stage comes from; what a run did not record is None."""
    return [
        {
            "stage": stage,
            **{key: text(run.results, key) for key in ("started", "command", "commit")},
            "versions": _versions(run),
        }
        for stage, run in runs.items()
    ]


def section(found: list[dict[str, Any]], runs: Mapping[str, Recorded]) -> Section:
    """The section of the page.

    Args:
        found: from ``provenance``.
        runs: by stage, for their configs.
    """
    shown = [_versions_table(found)] if any(one["versions"] or one["commit"] for one in found) else []
    said = [*_commands(found, runs), *_cautions(found)]
    configs = [
        Block(f"Config of {stage}", _written_config(run.config)) for stage, run in runs.items() if run.config
    ]
    return Section("Where the runs come from", said, shown, [], blocks=configs)


def _versions(run: Recorded) -> dict[str, str]:
    stated = run.results.get("versions")
    named = {str(key): text(stated, key) for key in stated} if isinstance(stated, Mapping) else {}
    return {key: version for key, version in list(named.items())[:_MOST_PACKAGES] if version is not None}


def _versions_table(found: list[dict[str, Any]]) -> Table:
    packages = list(dict.fromkeys(package for one in found for package in one["versions"]))
    dirty = any((one["commit"] or "").endswith(_DIRTY) for one in found)
    return Table(
        "Versions",
        ["stage", "started (UTC)", *(shortened(package) for package in packages), "commit"],
        [
            [
                one["stage"],
                _minute(one["started"]),
                *(shortened(one["versions"].get(package, UNKNOWN)) for package in packages),
                _short(one["commit"]),
            ]
            for one in found
        ],
        "Dirty: code or configs were not as committed." if dirty else "",
    )


def _commands(found: list[dict[str, Any]], runs: Mapping[str, Recorded]) -> list[str]:
    """The command of each stage; stages that one command trained share a line."""
    stages: dict[str, list[str]] = {}
    for one in found:
        words = shlex.join(texts(runs[one["stage"]].config.get("overrides")))
        line = one["command"] or (f"a command with the words {words}" if words else None)
        if line:
            stages.setdefault(plain(line), []).append(one["stage"])
    return [f"{', '.join(names)}: {line}" for line, names in stages.items()]


def _cautions(found: list[dict[str, Any]]) -> list[str]:
    """What makes the stages hard to repeat or to compare."""
    cautions = []
    silent = [one["stage"] for one in found if not one["versions"]]
    if silent:
        cautions.append(f"Versions were not recorded by: {', '.join(silent)}.")
    commits = {one["stage"]: _short(one["commit"]) for one in found if one["commit"]}
    if len(set(commits.values())) > 1:
        listed = ", ".join(f"{stage} {commit}" for stage, commit in commits.items())
        cautions.append(f"The stages were not trained by the same code: {listed}.")
    return cautions


def _short(commit: str | None) -> str:
    if not commit:
        return UNKNOWN
    found = commit.removesuffix(_DIRTY)
    return plain(found[:10]) + (" dirty" if found != commit else "")


def _minute(started: str | None) -> str:
    """`2026-01-31 09:30` of an ISO time."""
    return shortened(started.replace("T", " ")[:16]) if started else UNKNOWN


def _written_config(config: dict[str, Any]) -> str:
    try:
        lines = _lines(config)
    except RecursionError:
        return "The config is nested too deeply to be shown."
    written = "\n".join(map(plain, lines))
    if len(written) > MOST:
        return f"{written[:MOST]}\n… and {len(written) - MOST:,} more characters in config.json"
    return written


def _lines(config: Mapping[str, Any], indent: str = "") -> list[str]:
    """A nested mapping, a key a line; lists stay on their line."""
    lines = []
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            lines += [f"{indent}{key}:", *_lines(value, f"{indent}  ")]
        else:
            lines.append(f"{indent}{key}: {json.dumps(value, ensure_ascii=False)}")
    return lines
