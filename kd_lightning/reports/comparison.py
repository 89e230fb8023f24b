"""Compare the stages of a pipeline: what each network does and costs, and what the teacher was good for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kd_lightning.metrics.intervals import Estimate
from kd_lightning.reports.aligned import Aligned, align
from kd_lightning.reports.known_tasks import task_of
from kd_lightning.reports.runs import (
    STAGES,
    Run,
    UnreadableRun,
    number,
    numbers,
    pairs,
    read_mapping,
    read_run,
    text,
    texts,
    whole,
)
from kd_lightning.reports.streaming import streaming_notes, streaming_row
from kd_lightning.reports.task import Scores, Task

DIFFERENCES = (
    ("teacher", "baseline"),
    ("assistant", "baseline"),
    ("finetune", "baseline"),
    ("distill", "baseline"),
    ("finetune", "distill"),
    ("finetune", "teacher"),
    ("finetune", "assistant"),
)


def read_stages(folder: Path) -> tuple[dict[str, Run], list[str]]:
    """The finished stages of a pipeline folder, and a note for each that is left out.

    Raises:
        FileNotFoundError: when no stage can be read; the message says what was looked for.
    """
    runs: dict[str, Run] = {}
    notes: list[str] = []
    for stage in STAGES:
        place = folder / stage
        if stage == "teacher" and not place.is_dir():
            place = _teacher_elsewhere(folder) or place
        if not place.is_dir():
            continue
        try:
            runs[stage] = read_run(place, stage)
        except UnreadableRun as error:
            notes.append(f"{stage} is left out: {error}")
    if not runs:
        looked = ", ".join(f"{stage}/metrics.json" for stage in STAGES)
        found = (
            " ".join(notes)
            or "None of these folders is there; train first, or give another folder with runs=."
        )
        raise FileNotFoundError(f"{folder}: no finished run. Looked for {looked}. {found}")
    return runs, notes


def compare(folder: Path) -> dict[str, Any]:
    """Everything the report says of a pipeline folder, as plain values for comparison.json.

    Args:
        folder: `runs/<name>` with sub-folders teacher, baseline, distill, finetune; any may be missing.

    Raises:
        FileNotFoundError: when no stage can be read.
    """
    runs, notes = read_stages(Path(folder))
    return compare_runs(Path(folder).name, runs, notes)


def compare_runs(name: str, runs: dict[str, Run], notes: Sequence[str] = ()) -> dict[str, Any]:
    """As `compare`, of stages that are read already."""
    notes = [*notes, *(note for run in runs.values() for note in run.notes)]
    last = next(run for run in (runs.get(stage) for stage in reversed(STAGES)) if run)
    named = next((found for run in reversed(runs.values()) if (found := text(run.config, "task"))), None)
    task = task_of(named)
    counted = {stage: task.scores(run.predictions) for stage, run in runs.items()}
    comparison: dict[str, Any] = {
        "name": name,
        "task": named,
        "metric": task.metric,
        "corpus": corpus(last) | task.corpus(last),
        "rows": [_row(run, counted[stage]) for stage, run in runs.items()],
        "gap_recovered": None,
        "gap_recovered_interval": None,
        "differences": [],
        **{part: [] for part in task.parts},
        "exports": [_export(run.stage, export) for run in runs.values() for export in run.exports],
        "streaming": [streaming_row(run.stage, run.streaming) for run in runs.values() if run.streaming],
        "notes": notes,
    }
    notes.extend(_evaluation_notes(runs, counted, task))
    notes.extend([*task.notes(runs), *streaming_notes(runs)])
    try:
        aligned = align({stage: run.predictions for stage, run in runs.items()})
    except ValueError as error:
        notes.append(str(error))
        return comparison
    notes.extend(_partly_common(runs, aligned))
    outcomes = {stage: task.outcomes(aligned, stage) for stage in aligned.outputs}
    _add_agreement(comparison["rows"], aligned, task)
    _add_gap(comparison, outcomes, aligned, task)
    comparison["differences"] = [
        _difference(outcomes, aligned, task, one, other)
        for one, other in DIFFERENCES
        if one in runs and other in runs
    ]
    comparison |= task.details(aligned, outcomes)
    notes.extend(_step_notes(runs))
    if len(set(aligned.speakers)) == 1:
        notes.append("All test cuts are of one speaker: the intervals are over cuts, not over speakers.")
    return comparison


def corpus(run: Run) -> dict[str, Any]:
    """What a run was trained and tested on."""
    settings = run.config.get("corpus")
    settings = settings if isinstance(settings, dict) else {}
    target = text(settings, "_target_")
    return {
        "name": target.rsplit(".", 1)[-1] if target else None,
        "embedded": bool(settings) and settings.get("root") is None and settings.get("download") is not True,
        "labelled_fraction": number(settings, "labelled_fraction"),
        "test_cuts": len(run.predictions.cuts),
        "test_speakers": len(set(run.predictions.speakers)),
    }


def cost(results: dict[str, Any]) -> dict[str, Any]:
    """The costs that a metrics.json or an export states, absent ones None."""
    return {
        "size_bytes": whole(results, "size_bytes"),
        "latency_ms": {key: number(results, "latency_ms", key) for key in ("p50", "p95")},
        "real_time_factor": number(results, "real_time_factor"),
    }


def _teacher_elsewhere(folder: Path) -> Path | None:
    """The finished run that taught the student or its assistant, when the pipeline trained no teacher of its own."""
    taught = "assistant" if (folder / "assistant").is_dir() else "distill"
    try:
        run = text(read_mapping(folder / taught / "config.json"), "teacher", "run")
    except UnreadableRun:
        return None
    return Path(run) if run else None


def _row(run: Run, counted: Scores) -> dict[str, Any]:
    macs, length = whole(run.results, "macs"), number(run.results, "clip_seconds")
    return {
        "stage": run.stage,
        "network": text(run.results, "network"),
        "seed": whole(run.results, "seed"),
        "params": whole(run.results, "params"),
        "macs": macs,
        "clip_seconds": length,
        "macs_per_second": macs / length if macs is not None and length else None,
        **cost(run.results),
        "labelled_fraction": number(run.config, "corpus", "labelled_fraction"),
        "train_seconds": number(run.results, "train_seconds"),
        "steps": whole(run.results, "steps"),
        "metrics": counted.metrics | numbers(run.results.get("metrics")),
        "intervals": pairs(run.results.get("intervals")) | counted.intervals,
        "notes": texts(run.results.get("notes")),
    }


def _export(stage: str, export: dict[str, Any]) -> dict[str, Any]:
    return {
        "stage": stage,
        "format": text(export, "format"),
        "precision": text(export, "precision"),
        "file": text(export, "file"),
        **cost(export),
        "metrics": numbers(export.get("metrics")),
        "intervals": pairs(export.get("intervals")),
        "max_abs_difference": number(export, "max_abs_difference"),
    }


def _add_agreement(rows: list[dict[str, Any]], aligned: Aligned, task: Task[Any]) -> None:
    """How near each student's outputs are to the teacher's."""
    for row in rows:
        row["metrics"].pop("agreement", None)
        if row["stage"] != "teacher" and "teacher" in aligned.outputs:
            outputs, teacher = aligned.outputs[row["stage"]], aligned.outputs["teacher"]
            near = task.agreement(outputs, teacher, aligned.speakers)
            row["metrics"] |= near.metrics
            row["intervals"] |= near.intervals


def _add_gap(comparison: dict[str, Any], outcomes: dict[str, Any], aligned: Aligned, task: Task[Any]) -> None:
    missing = [stage for stage in ("teacher", "baseline", "finetune") if stage not in outcomes]
    if missing:
        comparison["notes"].append(
            f"The gap recovered needs teacher, baseline and finetune; missing: {', '.join(missing)}."
        )
        return
    share = task.gap_recovered(
        outcomes["finetune"], outcomes["baseline"], outcomes["teacher"], aligned.speakers
    )
    if share is None:
        side = "below" if task.lower_is_better else "above"
        comparison["notes"].append(
            f"The gap recovered is not stated: the interval of teacher - baseline does not lie {side} zero."
        )
        return
    comparison["gap_recovered"] = share.value
    comparison["gap_recovered_interval"] = [share.low, share.high]


def _difference(
    outcomes: dict[str, Any], aligned: Aligned, task: Task[Any], one: str, other: str
) -> dict[str, Any]:
    found: Estimate = task.difference(outcomes[one], outcomes[other], aligned.speakers)
    return {
        "stage": one,
        "minus": other,
        "metric": task.metric,
        "value": found.value,
        "interval": [found.low, found.high],
        "excludes_zero": bool(found.excludes_zero),
    }


def _evaluation_notes(runs: dict[str, Run], counted: dict[str, Scores], task: Task[Any]) -> list[str]:
    """Where metrics.json and predictions.jsonl do not speak of the same evaluation."""
    notes = []
    for stage, run in runs.items():
        stated, found = number(run.results, "metrics", task.metric), counted[stage].metrics.get(task.metric)
        if stated is not None and found is not None and abs(stated - found) > 1e-3:
            notes.append(
                f"{stage}: metrics.json says {task.called} {stated:.4f}, predictions.jsonl {found:.4f}: "
                "the files are not of one evaluation"
            )
    return notes


def _partly_common(runs: dict[str, Run], aligned: Aligned) -> list[str]:
    common = len(aligned.references)
    return [
        f"{stage} scored {len(run.predictions.cuts)} cuts, of which {common} are common to all stages: "
        "differences, agreement and flips are over those."
        for stage, run in runs.items()
        if len(run.predictions.cuts) != common
    ]


def _step_notes(runs: dict[str, Run]) -> list[str]:
    steps = {stage: number(run.results, "steps") or 0 for stage, run in runs.items()}
    baseline = steps.get("baseline")
    together = steps.get("distill", 0) + steps.get("finetune", 0)
    notes = []
    if baseline and "distill" in steps and "finetune" in steps and baseline != together:
        notes.append(
            f"The baseline trained {baseline:,.0f} steps, distill and finetune together {together:,.0f}: "
            "the comparison is not step-matched."
        )
    if baseline and "distill" in steps and steps["distill"] != baseline:
        notes.append(
            f"distill alone trained {steps['distill']:,.0f} steps and the baseline {baseline:,.0f}: "
            "a claim about distill alone needs a baseline of as many steps."
        )
    return notes
