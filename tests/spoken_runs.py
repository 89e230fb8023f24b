"""Untrained networks that speak, small ones, as finished runs over a few sentences of one voice."""

from pathlib import Path

from untrained import untrained_run

from kd_lightning.corpora.synthetic_voice import SyntheticVoice

SENTENCES = 3  # of the test split

_TINY = {
    "libritts_tts": ("width=16", "inner=24", "encoder_layers=1", "decoder_layers=1", "predictor_width=8"),
    "libritts_vocoder": ("channels=16", "hidden_channels=24", "layers=1"),
}


RECOGNISER = (
    "experiment=common_voice",
    "transfer=none",
    "student=quartznet_small",
    "student.network.channels=[16,16,16]",
    "student.network.head_channels=32",
)


def write_voice(folder: Path) -> Path:
    """Sentences whose test split has no phone that the training split lacks; returns the corpus root."""
    return SyntheticVoice(clips=(16, 3, SENTENCES), seed=7).write(folder)


def speaking_run(folder: Path, root: Path, experiment: str, *words: str) -> Path:
    """A baseline of an experiment with random weights.

    Args:
        folder: of the run.
        root: of the corpus.
        experiment: libritts_tts or libritts_vocoder.
        words: further ones, for another network in place of a tiny one.
    """
    sizes = () if words else tuple(f"student.network.{size}" for size in _TINY[experiment])
    return untrained_run(
        folder,
        f"experiment={experiment}",
        "transfer=none",
        "name=quick",
        "logger=csv",
        "corpus.parts.validation=[dev-clean]",
        "corpus.parts.test=[test-clean]",
        f"corpus.root={root}",
        f"paths.data={root.parent / 'data'}",
        *sizes,
        *words,
    )
