"""Compare runs, or a sweep: ``python -m kd_lightning.report runs=runs/my_run`` or ``runs=multirun/<name>``."""

from typing import Any

from kd_lightning.experiment.command import existing_folder, run_command

USAGE = """usage: python -m kd_lightning.report runs=<folder>

  runs=runs/my_run                    the stages of a pipeline: table, gap recovered, what the student lost
  runs=multirun/<name>                a sweep: mean and interval a setting, difference to transfer=none, the Pareto
                                      front against size, MACs and latency, and which key mattered
Writes comparison.json, comparison.md, index.html and plots to <folder>/report/."""


def report(words: dict[str, Any]) -> None:
    """Write and print the report of ``runs=``."""
    folder = existing_folder(words, "runs")
    if words:
        raise ValueError(f"unknown words {sorted(words)}: the report takes runs=<folder>")

    from kd_lightning.experiment.compose import STAGES
    from kd_lightning.reports.page import write_report
    from kd_lightning.reports.sweep import write_sweep_report
    from kd_lightning.reports.terminal import print_report

    pipeline = any((folder / stage).is_dir() for stage in STAGES)
    print_report(write_report(folder) if pipeline else write_sweep_report(folder))


main = run_command(report, USAGE)

if __name__ == "__main__":
    main()
