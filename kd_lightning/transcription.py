"""Transcribe recordings with a finished run."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch

from kd_lightning.decoding.transcriber import Transcriber, Transcript
from kd_lightning.experiment.finished import finished_model
from kd_lightning.files import write
from kd_lightning.frontend.audio_file import read_mono
from kd_lightning.models.recogniser import Recogniser

# What a folder is searched for; any file that libsndfile reads may be named itself.
ENDINGS = frozenset({".wav", ".flac", ".ogg", ".opus", ".mp3"})

_log = logging.getLogger(__name__)


def transcribe(
    run: Path,
    audio: Path,
    chunk_seconds: float | None = None,
    beam: int | None = None,
    language_model: str | None = None,
) -> Iterator[tuple[Path, Transcript | str]]:
    """Transcribe a file, or the audio files of a folder and those below it.

    Each transcript is written to ``<run>/transcripts`` under the file's name, as ``.json`` and as plain ``.txt``.

    Args:
        run: a finished run of a recogniser.
        audio: a file or a folder.
        chunk_seconds: longest stretch that is heard at once; ``None``: ``corpus.max_seconds`` of the run.
        beam: see :class:`~kd_lightning.decoding.transcriber.Transcriber`.
        language_model: likewise, the path of a file.

    Yields:
        each file, and its transcript or the reason why it could not be read.

    Raises:
        FileNotFoundError: there is no such file or run.
        ValueError: the run recognises no sentences, the folder has no audio, or an option does not fit the network.
    """
    paths = audio_files(audio)
    model, config = finished_model(run)
    if not isinstance(model, Recogniser):
        raise ValueError(
            f"{run} spots keywords: a run of task=recognition transcribes; streaming=true is for this one"
        )
    transcriber = Transcriber(
        model.to("cuda" if torch.cuda.is_available() else "cpu"),
        config["classes"],
        float(config["corpus"]["max_seconds"]) if chunk_seconds is None else chunk_seconds,
        beam,
        language_model,
    )
    if not transcriber.has_ctc:
        _log.warning(
            "%s has no CTC layer: it does not say when a word was said", type(model.network).__name__
        )
    for path, name in names(paths, audio).items():
        try:
            samples = read_mono(path, model.frontend.sample_rate)
        except (ValueError, OSError) as error:
            yield path, str(error)
            continue
        transcript = transcriber(samples)
        write(run / "transcripts" / f"{name}.json", to_json(path, transcript))
        write(run / "transcripts" / f"{name}.txt", transcript.text + "\n")
        yield path, transcript


def audio_files(audio: Path) -> list[Path]:
    """A file, or the audio files of a folder and those below it, in order, without hidden ones (macOS leaves some).

    Raises:
        FileNotFoundError: there is neither.
        ValueError: the folder has no audio.
    """
    if audio.is_file():
        return [audio]
    if not audio.is_dir():
        raise FileNotFoundError(f"audio={audio} is neither a file nor a folder")
    named = (path for path in audio.rglob("*") if path.suffix.lower() in ENDINGS)
    paths = sorted(path for path in named if path.is_file() and not path.name.startswith("."))
    if not paths:
        raise ValueError(f"audio={audio} has no file that ends in {', '.join(sorted(ENDINGS))}")
    return paths


def names(paths: list[Path], audio: Path) -> dict[Path, str]:
    """Where each transcript goes: the file's place in the folder, without its ending where that makes no two alike."""
    places = {path: path.relative_to(audio) if audio.is_dir() else Path(path.name) for path in paths}
    alike = Counter(place.with_suffix("") for place in places.values())
    return {
        path: str(place if alike[place.with_suffix("")] > 1 else place.with_suffix(""))
        for path, place in places.items()
    }


def to_json(path: Path, transcript: Transcript) -> str:
    """A transcript as it is stored; times in seconds, to the millisecond."""
    said = transcript.words
    stored = {
        "audio": str(path),
        "seconds": round(transcript.seconds, 3),
        "text": transcript.text,
        "words": None if said is None else [_rounded(word._asdict()) for word in said],
        "segments": [_rounded(segment._asdict()) for segment in transcript.segments],
    }
    return json.dumps(stored, ensure_ascii=False, indent=2) + "\n"


def _rounded(values: dict[str, float | str]) -> dict[str, float | str]:
    return {key: value if isinstance(value, str) else round(value, 3) for key, value in values.items()}
