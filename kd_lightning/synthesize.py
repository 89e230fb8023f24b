"""Speak: ``python -m kd_lightning.synthesize text="Good morning." acoustic=runs/a/finetune out=hello.wav``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_lightning.experiment.command import as_typed, existing_folder, run_command

if TYPE_CHECKING:
    from kd_lightning.reading import Reader, Reading

USAGE = """usage: python -m kd_lightning.synthesize text="…" acoustic=<run> [vocoder=<run>] [out=speech.wav] [key=value]

  text="Good morning, all of you!"    what to say, of any length; it is said sentence by sentence
  sentences=file.txt                  or a text a line, in UTF-8; out= is then a folder
  acoustic=runs/my_run/finetune       a finished run of task=synthesis
  vocoder=runs/my_vocoder/finetune    a finished run of task=vocoding of the same mels; Griffin-Lim without
  speaker=103                         of the corpus; the first without
  out=speech.wav                      wav, flac or ogg
  seed=0                              of the noise that flows speak from
Prints the real-time factor on one thread (or on a GPU, if there is one), and how long it takes until the first sentence
can be heard: computing alone, after the first sentence was said once to warm up."""

ENDINGS = (".wav", ".flac", ".ogg")


def synthesize(words: dict[str, Any]) -> None:
    """Read ``text=`` or the lines of ``sentences=`` aloud.

    Raises:
        ValueError, OSError: a word is not what it should be, or nothing can be said.
    """
    text, sentences = words.pop("text", None), words.pop("sentences", None)
    if (text is None) == (sentences is None):
        raise ValueError('say what to speak: text="…", or sentences=<file>')
    acoustic = existing_folder(words, "acoustic")
    vocoder = existing_folder(words, "vocoder") if "vocoder" in words else None
    speaker, seed = words.pop("speaker", None), words.pop("seed", "0")
    out = Path(words.pop("out", "speech.wav" if sentences is None else "speech"))
    if words:
        raise ValueError(
            f"{', '.join(words)}: there are text, sentences, acoustic, vocoder, speaker, out and seed"
        )
    if not seed.isdecimal():
        raise ValueError(f"seed={seed} is not a whole number")
    lines = None if sentences is None else _existing_file(Path(sentences))
    _require_place(out, is_folder=lines is not None)

    import torch

    from kd_lightning.reading import Reader, lines_of, write_reading

    torch.set_num_threads(1)
    texts = None if lines is None else list(lines_of(lines))
    reader = Reader(acoustic, vocoder, speaker, int(seed))
    if texts is None:
        _show(out, write_reading(out, reader.read(text), reader.sample_rate), reader)
    else:
        _say_all(texts, out, reader)


def _say_all(texts: list[tuple[str, str]], out: Path, reader: Reader) -> None:
    """Read named texts, each into a file of its own; what cannot be said is skipped.

    Raises:
        ValueError: nothing could be said.
    """
    from kd_lightning.reading import write_reading

    skipped = 0
    for name, text in texts:
        path = out / f"{name}.wav"
        try:
            reading = write_reading(path, reader.read(text), reader.sample_rate)
        except ValueError as error:
            skipped += 1
            print(f"{name} was skipped: {error}", file=sys.stderr)
        else:
            _show(path, reading, reader)
    counted = f"{len(texts) - skipped} of {len(texts)} lines are in {out}, {skipped} were skipped"
    if skipped == len(texts):
        raise ValueError(counted)
    print(counted)


def _show(path: Path, reading: Reading, reader: Reader) -> None:
    """Say what a reading took."""
    print(
        f"{path}: {reading.speech_seconds:.2f} s of speech, real-time factor {reading.real_time_factor:.3f} on "
        f"{reader.place}, first heard after {1000 * reading.first_seconds:.0f} ms"
    )
    for sentence in reading.unended:
        print(f"{path}: cut off, the decoder came to no end: {sentence}", file=sys.stderr)


def _existing_file(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"sentences={path} is not a file")
    return path


def _require_place(out: Path, is_folder: bool) -> None:
    """Refuse an ``out=`` that cannot be written.

    Raises:
        ValueError: it is a file instead of a folder, the other way round, or of a format that is not written.
    """
    if is_folder:
        if out.is_file() or out.suffix.lower() in ENDINGS:
            raise ValueError(f"out={out}: with sentences= name a folder, each line gets a file of its own")
    elif out.suffix.lower() not in ENDINGS:
        raise ValueError(f"out={out}: name a file that ends in {', '.join(ENDINGS)}")
    elif out.is_dir():
        raise ValueError(f"out={out} is a folder: name a file")


main = run_command(synthesize, USAGE, as_typed)

if __name__ == "__main__":
    main()
