"""Store what a teacher says of a corpus: ``python -m kd_lightning.label teacher.run=runs/a/teacher views=8``.

A teacher of synthesis also says text that nobody recorded: ``text=sentences.txt``.
"""

import sys
from pathlib import Path

from kd_lightning.experiment.command import experiment_command
from kd_lightning.experiment.compose import (
    Request,
    forbid_shadowed_words,
    forbid_sweep_of_ranks,
    stage_config,
)

STAGE = "distill"
# Short words of this command.
SHORT = {"views": "labels.views", "text": "corpus.text"}


def label(request: Request) -> None:
    """Label the training clips for the stage that learns from them, into ``runs/<name>/label``."""
    config = stage_config(request, STAGE, corpus__views=request.config.labels.views)
    forbid_sweep_of_ranks(request, config)
    forbid_shadowed_words(request, (STAGE,))
    # A multirun names the folder of each job itself.
    folder = Path(config["folder"]) if request.job_folder else Path(config["folder"]).parent / "label"

    from kd_lightning.labelling import run_label

    run_label(config, folder)


_command = experiment_command(label)


def main() -> None:
    """The command line; ``views=`` is short for ``labels.views=``, and ``text=`` for ``corpus.text=``."""
    words = (word.partition("=") for word in sys.argv[1:])
    sys.argv[1:] = [f"{SHORT.get(key, key)}{equals}{value}" for key, equals, value in words]
    _command()


if __name__ == "__main__":
    main()
