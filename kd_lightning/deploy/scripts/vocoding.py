"""Speak from mels: ``python run.py in.wav out.wav`` says a recording again, ``python run.py mel.npy out.wav`` a mel.

Needs numpy, soundfile and onnxruntime. A mel is (bins, frames) float32, as mel.onnx makes it from a waveform.
"""

import argparse
from pathlib import Path

import numpy as np
import soundfile

from kd_lightning.deploy.scripts.audio import mono
from kd_lightning.deploy.scripts.opening import HERE, opened


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "source", type=Path, help="audio of any rate and number of channels, or a mel as .npy"
    )
    parser.add_argument("out", type=Path, help="the audio file to write")
    parser.add_argument("--network", type=Path, help="another file than network_fp32.onnx")
    parser.add_argument("--seed", type=int, default=0, help="of the noise that a flow speaks from")
    given = parser.parse_args()
    session, told = opened(given.network)
    if given.source.suffix == ".npy":
        mel = np.load(given.source).astype(np.float32)
        if mel.ndim != 2 or len(mel) != told["mel"]["bins"]:
            raise SystemExit(f"{given.source}: {mel.shape} is no mel ({told['mel']['bins']} bins, frames)")
    else:
        frontend, _ = opened(HERE / "mel.onnx")
        samples = mono(given.source, told["sample_rate"])
        whole_hops = np.pad(samples, (0, -len(samples) % told["mel"]["hop_length"]))
        mel = frontend.run(["mel"], {"waveform": whole_hops[None]})[0][0]
    inputs: dict[str, np.ndarray] = {"mel": mel[None]}
    if "noise" in [wanted.name for wanted in session.get_inputs()]:
        shape = (1, mel.shape[1] * told["mel"]["hop_length"])
        inputs["noise"] = np.random.default_rng(given.seed).standard_normal(shape, np.float32)
    waveform = session.run(["waveform"], inputs)[0][0]
    soundfile.write(given.out, waveform / max(1.0, abs(waveform).max()), told["sample_rate"])
    print(f"{given.out}: {len(waveform) / told['sample_rate']:.2f} s")


if __name__ == "__main__":
    main()
