"""Networks that hand mels to one another have to mean the same by them."""

from typing import Any


def require_same_mel(student: Any, other: Any, role: str) -> None:
    """Refuse networks that mean something else by a mel.

    Raises:
        ValueError: names the settings that differ.
    """
    if other is None:
        return
    ours, theirs = student.frontend.settings, other.frontend.settings
    differ = [
        f"{key}: {theirs.get(key)} there, {ours.get(key)} here"
        for key in sorted({*ours, *theirs})
        if ours.get(key) != theirs.get(key)
    ]
    if differ:
        raise ValueError(
            f"the {role} speaks other mels ({'; '.join(differ)}): choose one that was trained with the same frontend"
        )
