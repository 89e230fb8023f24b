"""Score a finished run on a corpus: ``python -m kd_lightning.evaluate run=runs/a/finetune corpus.root=/other/data``."""

from typing import Any

from kd_lightning.experiment.command import existing_folder, run_command

USAGE = """usage: python -m kd_lightning.evaluate run=<folder> [key=value ...]

Scores a finished run on the test set of its corpus, or of another one of the same layout:
  run=runs/my_run/finetune            the finished run
  corpus.root=/other/data             any key of the run's config.json
Prints the metrics and writes them, with the predictions, to <run>/evaluation/."""


def evaluate(words: dict[str, Any]) -> None:
    """Score ``run=`` on its corpus with further words merged over the run's config."""
    run = existing_folder(words, "run")

    import json

    from kd_lightning.experiment.finished import build_evaluation, build_scorer
    from kd_lightning.files import write
    from kd_lightning.metrics.scores import accuracy_interval

    evaluation = build_evaluation(run, words)
    distiller, trainer = build_scorer(evaluation)
    metrics = trainer.test(distiller, datamodule=evaluation.datamodule, verbose=False)[0]
    lines = distiller.predictions
    low, high = accuracy_interval(lines)
    result = {
        "metrics": metrics,
        "intervals": {"accuracy": [low, high]},
        "corpus": evaluation.config["corpus"],
    }
    folder = run / "evaluation"
    write(folder / "predictions.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    write(folder / "metrics.json", json.dumps(result, indent=2) + "\n")
    for key, value in metrics.items():
        print(f"{key:>12}  {value:.4f}" + (f"  [{low:.4f}, {high:.4f}]" if key == "accuracy" else ""))
    print(f"{len(lines)} test cuts; written to {folder}")


main = run_command(evaluate, USAGE)

if __name__ == "__main__":
    main()
