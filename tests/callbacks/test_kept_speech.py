"""What a run keeps of what its network says: the sound, the mels and the attention, as they were."""

from types import SimpleNamespace

import numpy as np
import pytest
import soundfile as sf
from PIL import Image
from pytorch_lightning.loggers import WandbLogger

from kd_lightning.callbacks.kept_speech import KeptSpeech
from kd_lightning.distillers.spoken import Spoken, first

RATE, HOP = 22050, 256


def sentence(cut: str, frames: int = 40, attended: bool = True, seed: int = 0) -> Spoken:
    """A sentence of noise; the recording is longer than what was said."""
    draw = np.random.default_rng(seed)
    tokens = ["_", "h", "aI", "_"]
    attention = draw.random((frames // 4, len(tokens)), dtype=np.float32)
    return Spoken(
        cut,
        draw.uniform(-0.9, 0.9, frames * HOP).astype(np.float32),
        draw.normal(-5, 2, (80, frames)).astype(np.float32),
        draw.uniform(-0.9, 0.9, (frames + 8) * HOP).astype(np.float32),
        draw.normal(-5, 2, (80, frames + 8)).astype(np.float32),
        attention if attended else None,
        tokens if attended else [],
    )


@pytest.fixture
def trainer(tmp_path):
    return SimpleNamespace(
        default_root_dir=str(tmp_path), current_epoch=0, global_step=100, sanity_checking=False,
        is_global_zero=True, loggers=[],
    )  # fmt: skip


class Speaker(SimpleNamespace):
    """A distiller that says the cuts of its batches, and remembers them."""

    def speak_samples(self, batch: list[str]) -> list[Spoken]:
        self.asked = batch
        return [sentence(cut, seed=place) for place, cut in enumerate(batch)]


@pytest.fixture
def module():
    frontend = SimpleNamespace(sample_rate=RATE, hop_seconds=HOP / RATE)
    return Speaker(student=SimpleNamespace(frontend=frontend), spoken=[], most_spoken=0)


def test_the_sentences_that_come_first_by_id_are_kept_whatever_the_order() -> None:
    spoken: list[Spoken] = []
    for cut in ("d", "b", "e", "a", "c"):
        spoken = first([*spoken, sentence(cut)], 3)
    assert [one.cut for one in spoken] == ["a", "b", "c"]
    assert first(spoken, 0) == []


def test_the_test_leaves_sound_mels_and_attention_as_they_were(trainer, module, tmp_path) -> None:
    kept = KeptSpeech(most=2)
    kept.setup(trainer, module, "test")
    assert module.most_spoken == 2
    one, other = sentence("a/1"), sentence("a/2", attended=False, seed=1)
    module.spoken = [one, other]
    kept.on_test_end(trainer, module)
    assert {path.name for path in (tmp_path / "audio").iterdir()} == {
        "a%2F1.flac", "a%2F1.reference.flac", "a%2F2.flac", "a%2F2.reference.flac",
    }  # fmt: skip
    for name, waveform in (("a%2F1", one.waveform), ("a%2F1.reference", one.reference)):
        heard, rate = sf.read(tmp_path / "audio" / f"{name}.flac", dtype="float32")
        assert rate == RATE
        np.testing.assert_allclose(heard, waveform, atol=1 / 32768)
    with np.load(tmp_path / "spectrograms" / "a%2F1.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["mel"], one.mel)
        np.testing.assert_array_equal(arrays["reference_mel"], one.reference_mel)
        np.testing.assert_array_equal(arrays["attention"], one.attention)
        assert arrays["tokens"].tolist() == one.tokens
        assert float(arrays["hop_seconds"]) == HOP / RATE
    with np.load(tmp_path / "spectrograms" / "a%2F2.npz", allow_pickle=False) as arrays:
        assert sorted(arrays) == ["hop_seconds", "mel", "reference_mel"]


def test_speech_louder_than_a_file_holds_is_clipped_and_nothing_said_is_no_file(
    trainer, module, tmp_path
) -> None:
    loud = sentence("loud")._replace(waveform=np.array([2.0, -3.0, 0.5], dtype=np.float32))
    nothing = sentence("nothing", frames=0)
    module.spoken = [loud, nothing]
    KeptSpeech().on_test_end(trainer, module)
    heard, _ = sf.read(tmp_path / "audio" / "loud.flac")
    np.testing.assert_allclose(heard, [1.0, -1.0, 0.5], atol=1 / 32000)
    assert {path.name for path in (tmp_path / "audio").iterdir()} == {"loud.flac", "loud.reference.flac"}
    trainer.current_epoch = 4
    module.speak_samples = lambda batch: [nothing]
    KeptSpeech().on_validation_batch_end(trainer, module, None, ["nothing"], 0)
    assert not (tmp_path / "samples").exists()


def spoken_epochs(kept: KeptSpeech, trainer, module, epochs: int) -> None:
    """Two batches of validation after each epoch."""
    for trainer.current_epoch in range(epochs):
        for index, batch in enumerate((["a", "b", "c"], ["d", "e", "f"])):
            kept.on_validation_batch_end(trainer, module, None, batch, index)


def test_every_few_epochs_the_first_batch_of_validation_is_spoken(trainer, module, tmp_path) -> None:
    spoken_epochs(KeptSpeech(most=2, every_epochs=3), trainer, module, 7)
    assert module.asked == ["a", "b", "c"]
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["epoch_3", "epoch_6"]
    folder = tmp_path / "samples" / "epoch_3"
    assert {path.name for path in folder.iterdir()} == {
        f"{cut}{ending}" for cut in "ab" for ending in (".flac", ".reference.flac", ".png")
    }
    heard, rate = sf.read(folder / "b.flac", dtype="float32")
    assert rate == RATE
    np.testing.assert_allclose(heard, sentence("b", seed=1).waveform, atol=1 / 32768)
    assert Image.open(folder / "a.png").size[0] == 720


@pytest.mark.parametrize("quiet", [{"sanity_checking": True}, {"is_global_zero": False}])
def test_nobody_speaks_before_the_first_step_nor_on_other_ranks(trainer, module, tmp_path, quiet) -> None:
    vars(trainer).update(quiet)
    spoken_epochs(KeptSpeech(every_epochs=1), trainer, module, 2)
    assert not (tmp_path / "samples").exists()


def test_no_epochs_is_never(trainer, module, tmp_path) -> None:
    spoken_epochs(KeptSpeech(every_epochs=0), trainer, module, 3)
    assert not (tmp_path / "samples").exists()
    with pytest.raises(ValueError, match="every_epochs=-1"):
        KeptSpeech(every_epochs=-1)


def test_wandb_holds_the_sound_and_the_picture(trainer, module, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    logger = WandbLogger(save_dir=str(tmp_path), offline=True, mode="offline")
    trainer.loggers = [logger]
    try:
        spoken_epochs(KeptSpeech(most=2, every_epochs=1), trainer, module, 1)
        summary = dict(logger.experiment.summary)
    finally:
        logger.experiment.finish()
    for key, kind in (("speech", "audio"), ("recordings", "audio"), ("spectrograms", "images")):
        shown = dict(summary[f"samples/{key}"])
        assert shown["_type"] == (kind if kind == "audio" else "images/separated")
        assert shown["count"] == 2
        assert (shown.get("caption") or shown["captions"]) == ["a", "b"]
    media = [path.suffix for path in (tmp_path / "wandb").glob("offline-run-*/files/media/**/*.*")]
    assert (media.count(".wav"), media.count(".png")) == (4, 2)
