"""Real files to text is right: a network that hears 32 real recordings often enough writes down what is said in them.

    KD_SPEECH=<folder> python -m pytest tests/benchmarks/test_overfit.py -m '' -s --timeout=0

The folder is in the layout of LJSpeech: ``metadata.csv`` with lines ``id|text`` and ``wavs/<id>.wav``.
"""

import json
import os
from pathlib import Path

import pytest
import soundfile

from kd_lightning.stages import run_stage

CLIPS = 32
EPOCHS = 150
VALIDATED = 5  # epochs between two looks
BOUND = 0.05
WORDS = (
    *("experiment=common_voice", "corpus.augment=null", "teacher.network.dropout=0"),
    *("corpus.batch_seconds=40", "optimizer.lr=0.002"),
    *(f"stages.teacher.trainer.max_epochs={EPOCHS}", f"+trainer.check_val_every_n_epoch={VALIDATED}"),
    f"stop_at={{metric: validation/wer, value: {0.9 * BOUND}}}",
    *("logger=csv", "callbacks=none", "trainer.enable_progress_bar=false"),
)


def write_common_voice(speech: Path, root: Path) -> Path:
    """The first clips of a folder as a locale of Common Voice, each in train, dev and test; returns that locale."""
    locale = root / "cv-corpus-1.0" / "en"
    (locale / "clips").mkdir(parents=True)
    rows = ["client_id\tpath\tsentence"]
    for line in (speech / "metadata.csv").read_text(encoding="utf-8").splitlines()[:CLIPS]:
        id, *texts = line.split("|")
        audio, rate = soundfile.read(speech / "wavs" / f"{id}.wav", dtype="int16")
        soundfile.write(locale / "clips" / f"{id}.mp3", audio, rate)
        rows.append(f"reader\t{id}.mp3\t{texts[-1]}")
    for table in ("train", "dev", "test"):
        (locale / f"{table}.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return locale


@pytest.mark.skipif(
    "KD_SPEECH" not in os.environ,
    reason="KD_SPEECH=<folder of metadata.csv and wavs> says where real speech is",
)
def test_real_recordings_are_learnt_by_heart(default_config, tmp_path, say):
    corpus = write_common_voice(Path(os.environ["KD_SPEECH"]), tmp_path)
    folder = tmp_path / "teacher"
    config = default_config(
        "teacher", *WORDS, f"corpus.root={corpus}", f"paths.data={tmp_path / 'data'}", f"folder={folder}"
    )
    metrics = run_stage(config)
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    wer, spoken = metrics["metrics"]["wer"], sum(line["seconds"] for line in lines)
    curve = [line.split(",") for line in (folder / "curves.csv").read_text().splitlines()]
    looks = [float(value) for _, key, value in curve if key == "validation/wer"]
    say(
        f"{len(lines)} real recordings, {spoken:.0f} s: WER {100 * wer:.1f} % after {metrics['steps']} steps, "
        f"{VALIDATED * len(looks)} epochs, {metrics['train_seconds']:.0f} s of training; every {VALIDATED} epochs "
        f"{' '.join(f'{100 * look:.0f}' for look in looks)} %"
    )
    assert len(lines) == CLIPS
    assert wer < BOUND
