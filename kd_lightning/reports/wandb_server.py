"""What is asked of wandb's server for a dashboard; whatever goes wrong there is one sentence here."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import wandb

# Seconds that one answer may take.
PATIENCE = 20

# How wandb, which has no error of its own for it, says that nobody has answered.
_SILENCE = re.compile(
    r"respond|time[d ]*out|deadline|dial|connect|no such host|unreachable|proxy|certificate|error 5\d\d",
    re.IGNORECASE,
)


def connect() -> Any:
    """A ``wandb.Api`` whose key the server knows.

    Raises:
        PermissionError: the key is refused.
        ConnectionError: nobody answers.
    """
    try:
        return wandb.Api(timeout=PATIENCE)
    except Exception as error:  # of wandb's, requests' and bare ones
        raise _sentence(error, "wandb refuses the key", "wandb login --relogin") from error


def owner(api: Any) -> str:
    """Who owns what this key logs, where nobody else is named.

    Raises:
        ConnectionError: nobody answers.
        PermissionError: the key belongs to nobody with a project.
    """
    with _of("the account of the key"):
        entity = api.default_entity
    if not entity:
        raise PermissionError("wandb names no owner for this key: say entity=<user or team>")
    return str(entity)


def runs_online(api: Any, entity: str, project: str, ids: Sequence[str]) -> dict[str, Any]:
    """Those of the runs that are in a project on the server, by id.

    Raises:
        PermissionError: the key may not see the project, or there is none.
        ConnectionError: nobody answers.
    """
    with _of(f"the project {entity}/{project}"):
        return {run.id: run for run in api.runs(f"{entity}/{project}", filters={"name": {"$in": list(ids)}})}


def add_to_summary(run: Any, values: Mapping[str, float]) -> None:
    """Put values that became known after a run into its summary.

    Raises:
        PermissionError, ConnectionError: as above.
    """
    with _of(f"the run {run.id}"):
        run.summary.update(dict(values))


def save(shown: Any, project: str) -> str:
    """Save a workspace or a report and return its address.

    Raises:
        PermissionError, ConnectionError: as above.
    """
    with _of(f"the project {project}"):
        shown.save()
        return str(shown.url)


@contextmanager
def _of(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of wandb's, requests' and bare ones
        refused = f"the key may not see or change {what}, or it is not there"
        raise _sentence(error, refused, "entity=<its owner>, or wandb sync of the runs") from error


def _sentence(error: Exception, refused: str, instead: str) -> OSError:
    """What went wrong and what to do, in one line."""
    said = str(error).strip().partition("\n")[0].rstrip(".")
    if _SILENCE.search(said):
        return ConnectionError(f"wandb does not answer ({said}): try again when there is a network")
    return PermissionError(f"{refused} ({said}): try {instead}")
