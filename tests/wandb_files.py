"""Read what wandb has written offline: records in blocks of 32 KiB, as in LevelDB's log."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import wandb
from wandb.proto import wandb_internal_pb2 as written

BLOCK, HEADER = 32768, struct.Struct("<IHB")
FULL, LAST = 1, 4


class Logged(NamedTuple):
    """What a run has logged.

    Attributes:
        run: its id, group, job type, sweep, project and name.
        config: by key, as it was last said.
        history: all keys that were logged with a step.
        summary: by key, as it was last said.
        exit_code: of the process, as the run says; ``None`` where it has not ended.
    """

    run: Any
    config: dict[str, Any]
    history: set[str]
    summary: dict[str, Any]
    exit_code: int | None


def close_wandb() -> None:
    """Finish the run and wait for its file; wandb's own process still writes when ``finish`` has returned."""
    wandb.finish()
    wandb.teardown()


def read_logged(folder: Path) -> Logged:
    """What the offline run in a run folder has logged."""
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    run, config, history, summary, exit_code = None, {}, set(), {}, None
    for record in _records(path.read_bytes()):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "config":
            config |= {item.key: json.loads(item.value_json) for item in record.config.update}
        elif kind == "history":
            history |= {item.key or "/".join(item.nested_key[:1]) for item in record.history.item}
        elif kind == "summary":
            summary |= {
                ".".join(item.nested_key) or item.key: json.loads(item.value_json)
                for item in record.summary.update
            }
        elif kind == "exit":
            exit_code = record.exit.exit_code
    return Logged(run, config, history, summary, exit_code)


def _records(data: bytes) -> Iterator[Any]:
    at, parts = 7, b""  # after the name of the format
    while at + HEADER.size <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEADER.size:
            at += left
            continue
        _, length, kind = HEADER.unpack_from(data, at)
        at += HEADER.size
        parts, at = parts + data[at : at + length], at + length
        if kind in (FULL, LAST):
            record = written.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record
