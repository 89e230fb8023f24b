"""The model card of a deployed network (Mitchell et al., "Model Cards for Model Reporting", FAT* 2019)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from kd_lightning.corpora.published import search
from kd_lightning.deploy.verdict import KEPT, Kept, verdict

UNKNOWN = "not recorded"
_LICENCES = ("LICENSE", "LICENCE", "COPYING")
_EXPORTERS = ("kd_lightning", "torch", "onnx", "onnxruntime")


class Stage(NamedTuple):
    """A stage of the method.

    Attributes:
        name: of the stage.
        network: its class.
        terms: of the loss, with their weights.
        teacher: network and folder, where there was one.
        found: what its ``metrics.json`` says, empty where there is none.
        config: of its run.
    """

    name: str
    network: str
    terms: dict[str, float]
    teacher: str | None
    found: dict[str, Any]
    config: dict[str, Any]

    @property
    def labelled(self) -> str:
        """The share of the training clips whose labels it saw."""
        share = self.config["corpus"].get("labelled_fraction")
        return UNKNOWN if share is None else f"{100 * share:g} %"


def card(run: Path, task: str, results: list[dict[str, Any]]) -> str:
    """Markdown that says what a network is, where it comes from, what it does and what it does not.

    Args:
        run: the run's folder.
        task: "keyword", "recognition", "synthesis" or "vocoding".
        results: of the exported files, from ``deploy/*.json``.
    """
    stages = list(_stages(run))
    own = stages[-1]
    return _template().render(
        task=task,
        own=own,
        config=own.config,
        stages=stages,
        rows=[_row_of_the_network(own.found, KEPT[task]), *(_row(each, KEPT[task]) for each in results)],
        verdicts=[verdict(each, task) for each in results if each["precision"] != "fp32"],
        heads=[
            f"PyTorch{_heard(own.found, task)}",
            *(f"{each['format']} {each['precision']}{_heard(each, task)}" for each in results),
        ],
        others=_others([own.found, *results], KEPT[task]),
        kept=KEPT[task],
        seconds=results[0]["clip_seconds"],
        corpus=corpus(own.config),
        exporters={package: version(package) for package in _EXPORTERS},
        unknown=UNKNOWN,
        files=sorted(path.name for path in (run / "deploy").iterdir() if not path.name.startswith(".")),
    )


def corpus(config: Mapping[str, Any]) -> dict[str, str]:
    """What a card says of the data: what they are, where they lie, and their licence as a file there has it."""
    settings = config["corpus"]
    name = settings["_target_"].rpartition(".")[2]
    published = Path(settings["data"]) / "published" if settings.get("download") else settings.get("root")
    if published is None:
        spoken = settings["synthetic"]["_target_"].rpartition(".")[2]
        return {
            "name": f"{name}, embedded: spoken by espeak-ng ({spoken}); no recording of a person is in it",
            "licence": UNKNOWN,
        }
    return {"name": f"{name}, from the folder {Path(published).name}", "licence": licence(Path(published))}


def licence(root: Path) -> str:
    """The first line of the licence that lies with a corpus, and where."""
    for folder in search(root, lambda names: any(map(_is_licence, names))):
        path = next(path for path in sorted(folder.iterdir()) if _is_licence(path.name))
        lines = [line.strip() for line in path.read_text(errors="replace").splitlines() if line.strip()]
        return f"{lines[0][:120] if lines else 'empty'} ({path.relative_to(root)})"
    return UNKNOWN


def _is_licence(name: str) -> bool:
    return name.upper().startswith(_LICENCES)


def _stages(run: Path) -> Iterator[Stage]:
    """The stages that led to a run, in order; one whose folder is gone ends the way back."""
    config = json.loads((run / "config.json").read_text())
    before = config["student"].get("run")
    if isinstance(before, str) and (folder := _there(run, before)):
        yield from _stages(folder)
    transfer = config.get("transfer") or {}
    metrics = run / "metrics.json"
    yield Stage(
        config["stage"],
        _class_of(config["student"]),
        config["distiller"]["weights"] | transfer.get("weights", {}),
        _teacher(config["teacher"]),
        json.loads(metrics.read_text()) if metrics.is_file() else {},
        config,
    )


def _there(run: Path, before: str) -> Path | None:
    """The folder of an earlier stage: where it was, or beside this one, where runs were moved."""
    places = (Path(before), run.parent / Path(before).name)
    return next((place for place in places if (place / "config.json").is_file() and place != run), None)


def _teacher(node: dict[str, Any] | None) -> str | None:
    if node is None:
        return None
    runs = node.get("run") or node.get("checkpoint")
    named = [_called(run) for run in (runs if isinstance(runs, list) else [runs]) if run]
    return _class_of(node) + (f" ({', '.join(named)})" if named else "")


def _called(run: str) -> str:
    """A run's own name, without what lies above it on somebody's disk."""
    return "/".join(Path(run).parts[-2:])


def _class_of(node: Mapping[str, Any]) -> str:
    target = (node.get("network") or node).get("_target_")
    return str(target).rpartition(".")[2] if target else UNKNOWN


def _row_of_the_network(found: dict[str, Any], kept: Kept) -> list[str]:
    """The network in PyTorch, as its run measured it."""
    if not found:
        return ["PyTorch", *[UNKNOWN] * 4]
    value, bounds = found["metrics"].get(kept.metric), found["intervals"].get(kept.metric)
    written = UNKNOWN if value is None else kept.written(value, bounds)
    return ["PyTorch", _kilobytes(found["size_bytes"]), _times(found["latency_ms"]), written, ""]


def _row(result: dict[str, Any], kept: Kept) -> list[str]:
    change = f"{kept.metric}_change"
    metrics, intervals = result["metrics"], result["intervals"]
    return [
        f"`{result['file']}`",
        _kilobytes(result["size_bytes"]),
        _times(result["latency_ms"]),
        kept.written(metrics[kept.metric], intervals.get(kept.metric)),
        kept.written(metrics[change], intervals.get(change), sign="+"),
    ]


def _others(found: list[dict[str, Any]], kept: Kept) -> list[list[str]]:
    """A line for each metric but the one that decides, in its own numbers, with a column for each network and file."""
    known = [(each.get("metrics", {}), each.get("intervals", {})) for each in found]
    keys = sorted({key for metrics, _ in known for key in metrics} - {kept.metric, f"{kept.metric}_change"})
    return [[key, *(_plain(metrics.get(key), bounds.get(key)) for metrics, bounds in known)] for key in keys]


def _heard(found: Mapping[str, Any], task: str) -> str:
    """What made the mels of an acoustic network sound: its pitch and what a recogniser understands depend on it."""
    if task != "synthesis" or not found:
        return ""
    return f", through {_called(found['vocoder'])}" if found.get("vocoder") else ", through Griffin-Lim"


def _plain(value: float | None, bounds: list[float] | None) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:.3f}" + (f" [{bounds[0]:.3f}, {bounds[1]:.3f}]" if bounds else "")


def _kilobytes(size: int) -> str:
    return f"{size / 1000:,.0f} kB"


def _times(latency: Mapping[str, float]) -> str:
    return f"{latency['p50']:.2f} / {latency['p95']:.2f}"


@cache
def _template() -> Template:
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(
        loader=loader,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("card.md.jinja")
