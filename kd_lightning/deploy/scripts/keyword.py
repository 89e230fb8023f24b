"""Name the word in audio files: ``python run.py hello.wav``; in longer audio every word that is heard, and when.

Needs numpy, soundfile and onnxruntime. The network hears windows of a second, which slide over longer files.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np

from kd_lightning.deploy.scripts.audio import mono
from kd_lightning.deploy.scripts.opening import opened

BATCH = 64


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="audio of any rate and number of channels")
    parser.add_argument("--network", type=Path, help="another file than network_fp32.onnx")
    parser.add_argument("--hop", type=float, default=0.1, help="seconds between windows of longer audio")
    parser.add_argument(
        "--threshold", type=float, default=0.5, help="least probability in longer audio (default 0.5)"
    )
    given = parser.parse_args()
    session, told = opened(given.network)
    rate, length = told["sample_rate"], session.get_inputs()[0].shape[1]
    for file in given.files:
        samples = mono(file, rate)
        pieces = windows(samples, length, max(1, round(given.hop * rate)))
        batches = [pieces[start : start + BATCH] for start in range(0, len(pieces), BATCH)]
        scores = np.concatenate([session.run(["scores"], {"waveform": batch})[0] for batch in batches])
        if len(scores) == 1:
            print(f"{file}: {told['classes'][scores[0].argmax()]} ({scores[0].max():.2f})")
            continue
        for window, word, score in heard(scores, told["classes"], given.threshold):
            print(f"{file} {window * given.hop:.1f} s: {word} ({score:.2f})")


def windows(samples: np.ndarray, length: int, hop: int) -> np.ndarray:
    """Windows (N, length), a hop apart; a shorter clip is followed by silence, and so is the rest of a longer one."""
    rest = length - len(samples) if len(samples) < length else -(len(samples) - length) % hop
    return np.lib.stride_tricks.sliding_window_view(np.pad(samples, (0, rest)), length)[::hop]


def heard(scores: np.ndarray, words: list[str], threshold: float) -> list[tuple[int, str, float]]:
    """Window, word and score where each word is surest; neighbouring windows of one word are one word."""
    best, score = scores.argmax(axis=1), scores.max(axis=1)
    edges = np.flatnonzero(np.diff(best, prepend=-1, append=-1))
    found: list[tuple[int, str, float]] = []
    for start, end in pairwise(edges):
        window = int(start + score[start:end].argmax())
        word = words[best[window]]
        if score[window] >= threshold and not word.startswith("_"):  # _silence_, _unknown_
            found.append((window, word, float(score[window])))
    return found


if __name__ == "__main__":
    main()
