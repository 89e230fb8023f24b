"""Files of a report: written beside and renamed, JSON that every parser takes."""

import json
import math
import os
from pathlib import Path


def write(path: Path, content: str | bytes) -> None:
    """Write a whole file or nothing: beside its place first, then renamed over it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise OSError(f"{path}: the report could not be written ({error}); is the disk full?") from error


def to_json(value: object) -> str:
    """Strict JSON (RFC 8259): what is not a finite number becomes null."""
    return json.dumps(_finite(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
