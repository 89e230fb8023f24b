"""When each phone of a recording was said, and what that makes of its tokens' durations.

A file ``<id>.phones.tsv`` beside a recording has a line for each phone: start, end (seconds), phone, separated by tabs.
The phone of a silence is empty. The lines follow one another without a gap from the recording's beginning to its end.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from kd_lightning.frontend.phonemes import BOUNDARY_PIECE, without_stress
from kd_lightning.frontend.sentences import MARKS

SUFFIX = ".phones.tsv"


class Phone(NamedTuple):
    """One phone of a recording.

    Attributes:
        start: seconds from the recording's beginning.
        end: where the next one starts, or the recording ends.
        name: as espeak writes it, with its stress; empty for a silence.
    """

    start: float
    end: float
    name: str


def write_phones(path: Path, phones: Iterable[Phone]) -> None:
    """Write the phones of a recording, to the microsecond."""
    lines = (f"{start:.6f}\t{end:.6f}\t{name}\n" for start, end, name in phones)
    path.write_text("".join(lines), encoding="utf-8")


def read_phones(path: Path) -> list[Phone]:
    """Read the phones of a recording.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is not two times and a phone, or does not start where the one before it ends; names the line.
    """
    phones: list[Phone] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            start, end, name = line.split("\t")
            phone = Phone(float(start), float(end), name)
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number}: start, end and phone were expected, not {line!r}"
            ) from error
        if phone.start != (phones[-1].end if phones else 0) or not phone.start <= phone.end:
            raise ValueError(f"{path}, line {number}: {line!r} does not go on where the line before it ends")
        phones.append(phone)
    return phones


def align(phones: Sequence[Phone], pieces: Sequence[str]) -> list[float] | None:
    """How long each token of a recorded sentence lasts.

    The silence before the speech belongs to the first token and that after it to the last, the two boundaries. A pause
    inside belongs to the mark that stands there, to the first of several, or else to the phone before it. Stress is not
    compared: it changes no time.

    Args:
        phones: of the recording, in order, from its beginning to its end.
        pieces: U names of the sentence's tokens, as :class:`~kd_lightning.frontend.phonemes.Phonemes` spells them.

    Returns:
        U durations in seconds, whose sum is the recording's; ``None`` where other phones were said than are written.
    """
    silent = {BOUNDARY_PIECE, *MARKS}
    written = [index for index, piece in enumerate(pieces) if piece not in silent]
    said = [without_stress(phone.name) for phone in phones if phone.name]
    if not said or said != [without_stress(pieces[index]) for index in written]:
        return None
    durations, place, spoken = [0.0] * len(pieces), 0, 0
    for start, end, name in phones:
        if name:
            place = written[spoken]
            spoken += 1
        elif spoken == len(written):
            place = len(pieces) - 1
        elif spoken and pieces[place + 1] in MARKS:
            place += 1
        durations[place] += end - start
    return durations
