"""The tour of an acoustic network's and a vocoder's runs works on finished ones, and only reads them."""

import subprocess
import sys

import pytest
from speakers import FEED_FORWARD, TACOTRON_TEACHER

VOCOS = ("channels=16", "hidden_channels=24", "layers=1")
TINY = {
    "libritts_tts": (*TACOTRON_TEACHER, *FEED_FORWARD),
    "libritts_vocoder": tuple(f"{role}.network.{size}" for role in ("teacher", "student") for size in VOCOS),
}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_notebook_lets_every_stage_be_heard(tour, voice_root, tmp_path):
    for experiment, networks in TINY.items():
        words = (
            *(f"experiment={experiment}", "debug=tiny", "trainer.enable_progress_bar=false", *networks),
            *(f"corpus.root={voice_root}", "corpus.labelled_fraction=0.5"),
            *("corpus.parts.validation=[dev-clean]", "corpus.parts.test=[test-clean]"),
            *(f"paths.data={tmp_path / 'data'}", f"paths.runs={tmp_path / 'runs'}"),
            *("callbacks.speech.most=2", "callbacks.speech.every_epochs=1"),
        )
        pipeline = [sys.executable, "-m", "kd_lightning.pipeline", *words]
        done = subprocess.run(pipeline, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    runs = {"KD_RUN": "libritts_tts", "KD_VOCODER": "libritts_vocoder"}
    shown = tour("synthesis", **{key: tmp_path / "runs" / name for key, name in runs.items()})
    # Sentences of both runs, the decoder's attention, durations, samples of epochs, curves, size, periods.
    assert shown.pictures >= 2 + 1 + 1 + 1 + 2 + 1 + 1 + 1
    # A recording and four stages each, samples of epochs, and two networks through two vocoders.
    assert shown.sounds >= 3 * 5 + 2 + 4
    assert shown.says("focus rate")
    assert shown.says("STFT distance")
