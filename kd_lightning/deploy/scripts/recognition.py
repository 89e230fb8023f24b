"""Write down what is said in audio files: ``python run.py hello.wav``.

Needs numpy, soundfile and onnxruntime. Greedy CTC, without a language model; longer audio is cut where it is quiet.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kd_lightning.deploy.scripts.audio import mono
from kd_lightning.deploy.scripts.opening import opened

LONGEST_SECONDS = 20


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="audio of any rate and number of channels")
    parser.add_argument("--network", type=Path, help="another file than network_fp32.onnx")
    given = parser.parse_args()
    session, told = opened(given.network)
    for file in given.files:
        texts = []
        for piece in pieces(mono(file, told["sample_rate"]), told["sample_rate"]):
            scores = session.run(["log_probabilities"], {"waveform": piece[None]})[0][0]
            texts.append(spelt(scores.argmax(axis=1), told["classes"]))
        print(f"{file}: {' '.join(filter(None, texts))}")


def pieces(samples: np.ndarray, rate: int) -> Iterator[np.ndarray]:
    """Parts of at most twenty seconds, cut in the quietest tenth of a second of their last quarter."""
    longest, hop = LONGEST_SECONDS * rate, rate // 10
    while len(samples) > longest:
        quarter = samples[longest * 3 // 4 : longest]
        loudness = np.square(quarter[: len(quarter) // hop * hop]).reshape(-1, hop).sum(axis=1)
        cut = longest * 3 // 4 + int(loudness.argmin()) * hop + hop // 2
        yield samples[:cut]
        samples = samples[cut:]
    yield samples


def spelt(best: np.ndarray, names: list[str]) -> str:
    """The text of each frame's likeliest token: repeated ones once, blanks (token 0) not at all."""
    kept = best[np.diff(best, prepend=-1) != 0]
    text = "".join(names[token] for token in kept if token)
    text = re.sub("(?:<0x[0-9A-F]{2}>)+", characters, text)
    return " ".join(text.replace("\u2581", " ").split())  # sentencepiece's mark of a word's beginning


def characters(run: re.Match[str]) -> str:
    """What tokens of single bytes spell."""
    return bytes.fromhex(re.sub("<0x|>", "", run[0])).decode(errors="ignore")


if __name__ == "__main__":
    main()
