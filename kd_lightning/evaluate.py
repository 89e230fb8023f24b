"""Score a finished run: ``python -m kd_lightning.evaluate run=runs/a/finetune corpus.root=/other/data``."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kd_lightning.experiment.command import existing_folder, run_command

if TYPE_CHECKING:
    from kd_lightning.corpora.long_audio import LongAudio
    from kd_lightning.experiment.finished import Evaluation
    from kd_lightning.metrics.streaming import Detector, Sweep

USAGE = """usage: python -m kd_lightning.evaluate run=<folder> [key=value ...]

Scores a finished run on the test set of its corpus, or of another one of the same layout:
  run=runs/my_run/finetune            the finished run
  corpus.root=/other/data             any key of the run's config.json
Prints the metrics and writes them, with the predictions, to <run>/evaluation/.

Of a run that speaks:
  recogniser=runs/my_recogniser/finetune   a run that reads back what is said (round-trip CER)
  vocoder=runs/my_vocoder/finetune         for an acoustic run: what makes its mels heard; Griffin-Lim without
  acoustic=runs/my_voice/finetune          for a vocoder's run: score what it makes of the mels that this run predicts
Without acoustic= a vocoder is scored on the mels of recordings; with it on the test sentences of that acoustic run,
whose config further words change, into <run>/evaluation/predicted_mels/.

Of a keyword spotter:

  streaming=true                      how the spotter behaves in use: false alarms per hour, delay, DET curve
  minutes=60                          of audio, made of the test split and its background noise
  keywords=[yes,no]                   classes to listen for; all words by default
  snr=[20,10,5]                       signal-to-noise ratios in dB, a scene each in turn
  seed=0                              of the audio: runs are compared on the same
  hop=0.1 smoothing=0.3 refractory=1.0 tolerance=1.0   of the detector, in seconds
Prints these and writes <run>/streaming.json and <run>/det.png; the report shows them.

Of a recogniser:
  audio=speech.mp3                    transcribe: wav, flac, ogg or mp3 of any rate and length, or a folder of them
  chunk_seconds=20                    longest stretch that is heard at once; by default corpus.max_seconds of the run
  beam=50                             hypotheses that are kept; 1 is greedy, the default
  language_model=file.arpa            for CTC: an n-gram model over the run's tokens (ARPA or KenLM), a space written |
Prints a line a file and writes <run>/transcripts/<name>.txt and .json, with the time of each word (by CTC)."""


def evaluate(words: dict[str, Any]) -> None:
    """Score ``run=`` on its corpus with further words merged over the run's config."""
    run = existing_folder(words, "run")
    if (streaming := words.pop("streaming", False)) not in (True, False):
        raise ValueError(f"streaming={streaming} is neither true nor false")
    if "audio" in words:
        transcribe(run, words)
    elif streaming:
        stream(run, words)
    elif "acoustic" in words:
        score_predicted_mels(run, existing_folder(words, "acoustic"), words)
    else:
        score(run, words)


def score(run: Path, words: dict[str, Any]) -> None:
    """Score the clips of the test set.

    Raises:
        ValueError: ``vocoder`` is given for a run that predicts no mels, or ``recogniser`` for one that says nothing.
    """
    from kd_lightning.experiment.finished import build_evaluation

    task = task_of(run)
    if "recogniser" in words and task not in ("synthesis", "vocoding"):
        raise ValueError(f"recogniser= reads back what a run says, and run={run} is of task={task}")
    if "vocoder" in words and task != "synthesis":
        raise ValueError(
            f"vocoder= makes an acoustic run's mels heard, and run={run} is of task={task}; a vocoder's run is scored "
            "on predicted mels with acoustic=<acoustic run>"
        )
    score_into(run / "evaluation", build_evaluation(run, words))


def score_predicted_mels(run: Path, acoustic: Path, words: dict[str, Any]) -> None:
    """Score what a vocoder makes of the mels that an acoustic network predicts for its test sentences.

    Raises:
        ValueError: ``run`` is no vocoder, ``acoustic`` no acoustic network, or they mean something else by a mel.
    """
    from kd_lightning.experiment.finished import build_evaluation

    for folder, wanted, key in ((run, "vocoding", "run"), (acoustic, "synthesis", "acoustic")):
        if (task := task_of(folder)) != wanted:
            raise ValueError(
                f"acoustic= is for the run of a vocoder and names that of an acoustic network: {key}={folder} is of "
                f"task={task}; an acoustic run is heard with run=<acoustic run> vocoder=<vocoder run>"
            )
    if words.pop("vocoder", None) is not None:
        raise ValueError("vocoder: with acoustic=, the vocoder is the run itself")
    evaluation = build_evaluation(acoustic, words | {"vocoder": str(run)})
    heard = "kd_lightning.distillers.heard_synthesis.HeardSynthesis"
    score_into(run / "evaluation" / "predicted_mels", evaluation, heard, acoustic=str(acoustic))


def score_into(folder: Path, evaluation: Evaluation, distiller: str | None = None, **facts: str) -> None:
    """Score a network, print the metrics, and write them with the predictions.

    Args:
        folder: where they are written.
        evaluation: the network and the corpus.
        distiller: class path of another one than the run's.
        facts: what metrics.json says beside the metrics.
    """
    import json

    from kd_lightning.experiment.finished import build_scorer, heard_through
    from kd_lightning.files import write
    from kd_lightning.reports.strict_json import to_json

    scorer, trainer = build_scorer(evaluation, distiller=distiller)
    metrics = trainer.test(scorer, datamodule=evaluation.datamodule, verbose=False)[0]
    lines, intervals = scorer.predictions, scorer.intervals()
    result = {
        "metrics": metrics,
        "intervals": intervals,
        "corpus": evaluation.config["corpus"],
        **heard_through(evaluation.config),
        **facts,
    }
    write(folder / "predictions.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    write(folder / "metrics.json", to_json(result))
    width = max(12, *map(len, metrics))
    for key, value in metrics.items():
        low_high = f"  [{intervals[key][0]:.4f}, {intervals[key][1]:.4f}]" if key in intervals else ""
        print(f"{key:>{width}}  {value:.4f}{low_high}")
    print(f"{len(lines)} test cuts; written to {folder}")


def stream(run: Path, words: dict[str, Any]) -> None:
    """Listen to long audio for keywords.

    Raises:
        ValueError: a word is not what it should be, the run is a recogniser, or the corpus has no clip of a keyword.
    """
    minutes, seed = number(words, "minutes", 60), number(words, "seed", 0)
    levels, asked = words.pop("snr", [20, 10, 5]), words.pop("keywords", None)
    snr = [number({"snr": level}, "snr", 0) for level in (levels if isinstance(levels, list) else [levels])]

    from kd_lightning.corpora.long_audio import LongAudio
    from kd_lightning.experiment.finished import build_evaluation
    from kd_lightning.files import write
    from kd_lightning.metrics.streaming import Detector
    from kd_lightning.reports.html import plot
    from kd_lightning.reports.streaming import (
        WHITE_NOISE,
        det_curves,
        streaming_results,
        streaming_row,
        streaming_table,
    )
    from kd_lightning.reports.strict_json import to_json
    from kd_lightning.reports.terminal import default_console, print_lines, rich_table

    detector = Detector(**{key: number(words, key, usual) for key, usual in Detector()._asdict().items()})
    detector.check()
    if (task := task_of(run)) != "keyword":
        instead = (
            "transcribe audio=<file or folder>" if task == "recognition" else "name a run of task=keyword"
        )
        raise ValueError(f"streaming=true spots keywords, and {run} is of task={task}: {instead}")
    evaluation = build_evaluation(run, words)
    keywords = chosen_keywords(asked, evaluation.classes)
    prepared = evaluation.datamodule.test_dataloader().dataset.prepared
    audio = LongAudio(prepared, keywords, minutes, snr, int(seed))
    swept, said = listen(evaluation, audio, keywords, detector)
    made = {
        "corpus": prepared.folder.name,
        "minutes": audio.minutes,
        "words": said,
        "background": "background noise" if audio.noise else WHITE_NOISE,
        "snr": snr,
        "seed": int(seed),
    }
    results = streaming_results(swept, keywords, made, detector._asdict())
    row = streaming_row(str(evaluation.config["stage"]), results)
    drawn = plot("det", "Miss rate over false alarms per hour.", lambda theme: det_curves([row], theme))
    write(run / "det.png", drawn.light)
    write(run / "streaming.json", to_json(results))
    console = default_console()
    console.print(rich_table(streaming_table([row])))
    print_lines([f"Note: {note}" for note in results["notes"]], console)
    print(f"{audio.minutes:g} min with {said} words; written to {run / 'streaming.json'} and det.png")


def transcribe(run: Path, words: dict[str, Any]) -> None:
    """Transcribe audio files.

    Raises:
        ValueError: a word is not what it should be, the run spots keywords, or no file could be read.
    """
    audio, beam, language_model = (words.pop(key, None) for key in ("audio", "beam", "language_model"))
    chunk_seconds = number(words, "chunk_seconds", 0) if "chunk_seconds" in words else None
    if beam is not None and (isinstance(beam, bool) or not isinstance(beam, int)):
        raise ValueError(f"beam={beam} is not a whole number")
    if words:
        raise ValueError(f"{', '.join(words)}: with audio= go beam=, language_model= and chunk_seconds=")
    if (task := task_of(run)) in ("synthesis", "vocoding"):
        raise ValueError(
            f"audio= is transcribed, and {run} is of task={task}, which speaks: name a run of task=recognition"
        )

    from kd_lightning.transcription import transcribe as transcripts

    counts = {True: 0, False: 0}
    for path, found in transcripts(run, Path(str(audio)), chunk_seconds, beam, language_model):
        readable = not isinstance(found, str)
        counts[readable] += 1
        if isinstance(found, str):
            print(f"{path} could not be read: {found}", file=sys.stderr)
        else:
            print(f"{path} ({found.seconds:.1f} s): {found.text}")
    said = f"{counts[True]} transcribed to {run / 'transcripts'}, {counts[False]} could not be read"
    if not counts[True]:
        raise ValueError(said)
    print(said)


def task_of(run: Path) -> str:
    """What a finished run is for."""
    from kd_lightning.experiment.finished import finished_config

    return str(finished_config(run)["task"])


def listen(
    evaluation: Evaluation, audio: LongAudio, keywords: Sequence[str], detector: Detector
) -> tuple[Sweep, int]:
    """Slide the network over the audio and sweep its thresholds; also says how many words there were."""
    import numpy as np
    import torch
    from tqdm import tqdm

    from kd_lightning.metrics.sliding import sliding_posteriors
    from kd_lightning.metrics.streaming import Events, smooth, sweep

    rate, window = evaluation.datamodule.sample_rate, evaluation.datamodule.clip_samples
    spoken = []

    def pieces() -> Iterator[Any]:
        for scene in tqdm(audio, total=audio.scenes, desc="listening", unit="scene", disable=None):
            spoken.extend(scene.spoken)
            yield scene.waveform

    model = evaluation.model.to("cuda" if torch.cuda.is_available() else "cpu")
    posteriors = sliding_posteriors(model, pieces(), window, round(detector.hop * rate))
    columns = [evaluation.classes.index(keyword) for keyword in keywords]
    scores = smooth(posteriors[:, columns], max(1, round(detector.smoothing / detector.hop)))
    times = np.arange(len(scores)) * detector.hop + window / rate
    targets = [word for word in spoken if word.word in keywords]
    events = Events(
        np.array([keywords.index(word.word) for word in targets]),
        np.array([word.onset for word in targets]),
        np.array([word.offset for word in targets]),
    )
    return sweep(scores, times, events, detector), len(spoken)


def chosen_keywords(asked: Any, classes: Sequence[str]) -> list[str]:
    """The classes to listen for: those that were asked for, or every word.

    Raises:
        ValueError: a keyword is no class.
    """
    words = [name for name in classes if not name.startswith("_")]
    if asked is None:
        return words
    keywords = asked if isinstance(asked, list) else [asked]
    for keyword in keywords:
        if keyword not in words:
            close = ", ".join(difflib.get_close_matches(str(keyword), words)) or ", ".join(words)
            raise ValueError(
                f"keywords: {keyword!r} is no word that this network knows; did you mean {close}?"
            )
    if not keywords or len(set(keywords)) < len(keywords):
        raise ValueError(f"keywords names none, or one twice: {keywords}")
    return keywords


def number(words: dict[str, Any], key: str, usual: float) -> float:
    """Take a number out of the words.

    Raises:
        ValueError: it is none.
    """
    value = words.pop(key, usual)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{key}={value} is not a number")
    return value


main = run_command(evaluate, USAGE)

if __name__ == "__main__":
    main()
