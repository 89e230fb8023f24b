"""Read a text aloud: ``python run.py "Good morning." out.wav``.

Needs numpy, soundfile and onnxruntime. Mels become sound through the vocoder given as --vocoder, else vocoder.onnx
beside the script, else Griffin-Lim.
"""

import argparse
import re
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from kd_lightning.deploy.scripts.griffin_lim import griffin_lim
from kd_lightning.deploy.scripts.opening import HERE, opened
from kd_lightning.deploy.scripts.phones import known, phonemised

PAUSE_SECONDS = 0.2


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("text", help="what to say")
    parser.add_argument("out", type=Path, help="the audio file to write")
    parser.add_argument("--phones", action="store_true", help="the text is phones with spaces between them")
    parser.add_argument("--speaker", help="one of those that the network has learnt; the first without")
    parser.add_argument("--network", type=Path, help="another file than network_fp32.onnx")
    parser.add_argument("--vocoder", type=Path, help="a vocoder's folder or network, of the same mels")
    given = parser.parse_args()
    vocoder = vocoder_file(given.vocoder)
    session, told = opened(given.network)
    speaker = given.speaker or told["speakers"][0]
    if speaker not in told["speakers"]:
        raise SystemExit(f"--speaker {speaker}: this network has learnt {', '.join(told['speakers'])}")
    sentences = [given.text] if given.phones else re.split(r"(?<=[.!?…])\s+", given.text.strip())
    parts = []
    for sentence in sentences:
        inputs = {"tokens": np.array([tokens(sentence, told, given.phones)])}
        if "speaker" in [wanted.name for wanted in session.get_inputs()]:
            inputs["speaker"] = np.array([told["speakers"].index(speaker)])
        mel = session.run(["mel"], inputs)[0]
        parts += [spoken(mel, told, vocoder), np.zeros(round(PAUSE_SECONDS * told["sample_rate"]))]
    waveform = np.concatenate(parts[:-1])
    soundfile.write(given.out, waveform / max(1.0, abs(waveform).max()), told["sample_rate"])
    print(f"{given.out}: {len(waveform) / told['sample_rate']:.2f} s")


def tokens(text: str, told: dict[str, Any], is_phones: bool) -> list[int]:
    """Numbers of what the network is told to say: characters or phones, where it knows them between two boundaries."""
    names = told["classes"]
    if told["spelling"] == "phonemes":
        said = known(text.split() if is_phones else phonemised(text, told["voice"]), names)
    else:
        plain = unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'")
        said = [letter if letter in names or letter.isalnum() else " " for letter in plain]
        said = list(re.sub(r" +(?=[,;:.!?…—]|$)|^ +| +(?= )", "", "".join(said)))
    if wrong := sorted(set(said) - set(names)):
        raise SystemExit(
            f"this network cannot say {' '.join(wrong)}: write it in words that it has letters for"
        )
    if not said:
        raise SystemExit(f"there is nothing to say in {text!r}")
    if names[1] == "_":
        said = ["_", *said, "_"]
    return [names.index(piece) for piece in said]


def vocoder_file(given: Path | None) -> Path | None:
    """The vocoder that was asked for, of a folder its network_fp32.onnx; without one that beside the script, if any."""
    if given is None:
        beside = HERE / "vocoder.onnx"
        return beside if beside.is_file() else None
    path = given / "network_fp32.onnx" if given.is_dir() else given
    if not path.is_file():
        raise SystemExit(f"--vocoder {given}: there is no file {path}")
    return path


def spoken(mel: np.ndarray, told: dict[str, Any], path: Path | None) -> np.ndarray:
    """The waveform of a mel (1, bins, frames); without a vocoder's file that of Griffin-Lim."""
    if path is None:
        return griffin_lim(mel[0], told["mel"])
    vocoder, its = opened(path)
    if its["mel"] != told["mel"]:
        raise SystemExit(
            f"{path} speaks from other mels than this network makes: {its['mel']}, {told['mel']}"
        )
    inputs = {"mel": mel}
    if "noise" in [wanted.name for wanted in vocoder.get_inputs()]:
        samples = mel.shape[2] * told["mel"]["hop_length"]
        inputs["noise"] = np.random.default_rng(0).standard_normal((1, samples), np.float32)
    return vocoder.run(["waveform"], inputs)[0][0]


if __name__ == "__main__":
    main()
