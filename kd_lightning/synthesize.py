"""Speak: ``python -m kd_lightning.synthesize text="Good morning." acoustic=runs/a/finetune out=hello.wav``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_lightning.experiment.command import existing_folder, run_command

if TYPE_CHECKING:
    from kd_lightning.reading import Reading

USAGE = """usage: python -m kd_lightning.synthesize text="…" acoustic=<run> [vocoder=<run>] [out=speech.wav] [key=value]

  text="Good morning."                what to say; long texts are cut at sentences
  sentences=file.txt                  or a sentence a line; out= is then a folder
  acoustic=runs/my_run/finetune       a finished run of task=synthesis
  vocoder=runs/my_vocoder/finetune    a finished run of task=vocoding of the same mels; Griffin-Lim without
  speaker=84                          of the corpus; the first without
  out=speech.wav                      wav, flac or ogg
Prints the real-time factor on one thread, and the time until the first sentence could be heard."""

ENDINGS = (".wav", ".flac", ".ogg")


def synthesize(words: dict[str, Any]) -> None:
    """Read ``text=`` or the lines of ``sentences=`` aloud.

    Raises:
        ValueError: a word is not what it should be, or nothing can be said.
    """
    text, sentences = words.pop("text", None), words.pop("sentences", None)
    if (text is None) == (sentences is None):
        raise ValueError('say what to speak: text="…", or sentences=<file>')
    acoustic = existing_folder(words, "acoustic")
    vocoder = existing_folder(words, "vocoder") if "vocoder" in words else None
    speaker = words.pop("speaker", None)
    out = Path(str(words.pop("out", "speech.wav" if sentences is None else "speech")))
    if words:
        raise ValueError(f"{', '.join(words)}: there are text, sentences, acoustic, vocoder, speaker and out")
    if sentences is None and out.suffix not in ENDINGS:
        raise ValueError(f"out={out}: write a file that ends in {', '.join(ENDINGS)}")
    if sentences is not None and not Path(str(sentences)).is_file():
        raise FileNotFoundError(f"sentences={sentences} is not a file")

    import torch

    from kd_lightning.reading import Reader, lines_of

    torch.set_num_threads(1)
    reader = Reader(acoustic, vocoder, None if speaker is None else str(speaker))
    if sentences is None:
        _say(out, reader(str(text)))
        return
    failed = 0
    for name, line in lines_of(Path(str(sentences))):
        try:
            reading = reader(line)
        except ValueError as error:
            failed += 1
            print(f"{name} was not said: {error}", file=sys.stderr)
            continue
        _say(out / f"{name}.wav", reading)
    if failed:
        raise ValueError(f"{failed} sentences were not said; the reasons are printed above")


def _say(path: Path, reading: Reading) -> None:
    """Write a reading, and print what it took."""
    import soundfile as sf

    from kd_lightning.files import whole

    with whole(path) as beside:
        sf.write(beside, reading.waveform.numpy(), reading.sample_rate, format=path.suffix[1:].upper())
    seconds = len(reading.waveform) / reading.sample_rate
    print(
        f"{path}: {seconds:.2f} s of speech, real-time factor {reading.real_time_factor:.3f}, first heard after "
        f"{1000 * reading.first_seconds:.0f} ms"
    )
    for sentence in reading.unended:
        print(f"cut off, its decoder came to no end: {sentence}", file=sys.stderr)


main = run_command(synthesize, USAGE)

if __name__ == "__main__":
    main()
