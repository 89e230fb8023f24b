"""Published recognisers teach: as they are, in their own tokens, live and stored, frames and text."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers")

import torchaudio
from hydra import compose, initialize_config_dir
from published import wav2vec2_bundle, wav2vec2_folder, whisper_folder

from kd_lightning.evaluate import evaluate
from kd_lightning.experiment.build import build_experiment
from kd_lightning.experiment.compose import Request, conf_folder, stage_config
from kd_lightning.experiment.stored_labels import open_stored
from kd_lightning.labelling import run_label
from kd_lightning.reports.page import write_report
from kd_lightning.stages import run_stage

QUARTZNET = (
    "student=quartznet_small",
    "student.network.channels=[16,16,16]",
    "student.network.head_channels=32",
)
AS_IT_IS = "stages.teacher.trainer.max_epochs=0"


@pytest.fixture(scope="module")
def wav2vec2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wav2vec2_folder(tmp_path_factory.mktemp("wav2vec2"))


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whisper_folder(tmp_path_factory.mktemp("whisper"))


def composed(words: list[str], stage: str, folder: Path, *more: str) -> dict[str, Any]:
    experiment = [] if any(word.startswith("experiment=") for word in more) else ["experiment=common_voice"]
    every = [*experiment, *words, AS_IT_IS, f"paths.runs={folder}", *more]
    with initialize_config_dir(str(conf_folder()), version_base="1.3"):
        return stage_config(Request(compose("config", overrides=every), tuple(more)), stage)


@pytest.fixture
def config_of(sentence_words: list[str], tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def make(stage: str, *words: str) -> dict[str, Any]:
        return composed(sentence_words, stage, tmp_path, *QUARTZNET, *words)

    return make


@pytest.fixture(scope="module")
def teacher(sentence_words: list[str], wav2vec2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished run of a published recogniser that was not trained any further."""
    words = ("teacher=hugging_face_ctc", f"teacher.network.folder={wav2vec2}")
    config = composed(sentence_words, "teacher", tmp_path_factory.mktemp("teacher"), *words)
    run_stage(config)
    return Path(config["folder"])


def test_a_recogniser_as_it_is_leaves_a_finished_run(teacher: Path, wav2vec2: Path) -> None:
    config = json.loads((teacher / "config.json").read_text())
    assert config["classes"] == ["<blank>", " ", "'", *"abcdefghijklmnopqrstuvwxyz"]
    metrics = json.loads((teacher / "metrics.json").read_text())
    assert metrics["steps"] == 0
    assert metrics["metrics"]["wer"] > 0
    lines = [json.loads(line) for line in (teacher / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == 8
    assert any(line["output"] for line in lines)


def step_of(built: Any) -> tuple[Any, dict[str, float]]:
    """What the first batch offers the terms, and the mean of each."""
    step = built.distiller.run_networks(next(iter(built.datamodule.train_dataloader())))
    loss, means = built.distiller.weigh({key: term(step) for key, term in built.distiller.terms.items()})
    loss.backward()
    return step, {key: float(mean) for key, mean in means.items()}


def test_it_teaches_a_student_of_other_tokens_through_text(teacher: Path, config_of: Any) -> None:
    words = ("transfer=sequence", f"teacher.run={teacher}")
    distill = run_stage(config_of("distill", *words))
    config = config_of("distill", *words)
    alphabet = json.loads(Path(config["folder"], "config.json").read_text())["classes"]
    assert alphabet != json.loads((teacher / "config.json").read_text())["classes"]
    assert distill["steps"] > 0
    finetune = run_stage(config_of("finetune", f"student.run={config['folder']}"))
    assert finetune["metrics"]["wer"] >= 0
    assert finetune["network"] == "QuartzNet"


def test_live_and_stored_it_says_the_same(teacher: Path, config_of: Any, tmp_path: Path) -> None:
    words = ("transfer=sequence", f"teacher.run={teacher}", "labels.views=2")
    stored = config_of("distill", *words, "teacher.stored=true")
    run_label(stored, Path(stored["folder"]).parent / "label")
    live = build_experiment(config_of("distill", *words, "corpus.views=2"), tmp_path / "live")
    live.datamodule.use_labels(open_stored(stored, live.datamodule))
    batch = next(iter(live.datamodule.train_dataloader()))
    live.distiller.eval()
    with torch.no_grad():
        read, heard = (live.distiller.run_networks(each) for each in (batch, batch._replace(stored=None)))
    torch.testing.assert_close(read.hypotheses, heard.hypotheses, rtol=1e-4, atol=1e-4)
    assert read.hypotheses.lengths.max() > 0
    for term in live.distiller.terms.values():
        assert float(term(read).sum) == pytest.approx(float(term(heard).sum), rel=1e-5)


def test_its_frames_teach_a_student_that_takes_its_tokens(
    teacher: Path, config_of: Any, tmp_path: Path
) -> None:
    words = ("transfer=ctc_frames", f"teacher.run={teacher}")
    with pytest.raises(ValueError, match=r"compares .* it lacks none and has .*corpus\.spelling=teacher"):
        build_experiment(config_of("distill", *words), tmp_path / "others")
    built = build_experiment(config_of("distill", *words, "corpus.spelling=teacher"), tmp_path / "shared")
    assert built.datamodule.classes == json.loads((teacher / "config.json").read_text())["classes"]
    step, means = step_of(built)
    assert step.student.logits.shape[2] == step.teacher.logits.shape[2] == len(built.datamodule.classes)
    assert means["frames"] > 0


def test_every_stage_finds_the_same_tokens(teacher: Path, config_of: Any, tmp_path: Path) -> None:
    classes = json.loads((teacher / "config.json").read_text())["classes"]
    named = config_of("baseline", f"corpus.spelling={teacher}")
    assert build_experiment(named, tmp_path / "named").datamodule.classes == classes
    # Where the pipeline trained it, beside this stage; where the student has a start, that run's.
    (tmp_path / "quick").mkdir()
    (tmp_path / "quick" / "teacher").symlink_to(teacher)
    beside = config_of("baseline", "corpus.spelling=teacher")
    assert build_experiment(beside, tmp_path / "beside").datamodule.classes == classes


@pytest.mark.parametrize("stage", ["teacher", "baseline"])
def test_tokens_of_a_teacher_that_is_not_there_are_refused(
    stage: str, config_of: Any, tmp_path: Path
) -> None:
    words = ("corpus.spelling=teacher", *(("teacher=quartznet_teacher",) if stage == "teacher" else ()))
    with pytest.raises(ValueError, match=rf"stage={stage} finds no finished teacher.*corpus\.spelling=runs"):
        build_experiment(config_of(stage, *words), tmp_path / "built")
    with pytest.raises(
        ValueError, match=r"corpus\.spelling=letters: there are characters, unigram, bpe, teacher"
    ):
        build_experiment(config_of("baseline", "corpus.spelling=letters"), tmp_path / "built")


def test_pieces_of_words_spell_another_corpus(
    sentence_words: list[str], config_of: Any, libritts_root: Path, tmp_path: Path
) -> None:
    first = build_experiment(
        config_of("baseline", "corpus.spelling=bpe", "corpus.pieces=40"), run := tmp_path / "first"
    )
    (run / "config.json").write_text(
        json.dumps(config_of("baseline") | {"classes": first.datamodule.classes})
    )
    other = ("corpus=libritts", f"corpus.root={libritts_root}", f"corpus.spelling={run}")
    datamodule = build_experiment(config_of("baseline", *other), tmp_path / "second").datamodule
    assert datamodule.classes == first.datamodule.classes
    text = "the man said so"
    assert datamodule.spell(text) == first.datamodule.spell(text)
    # And on: the second run kept what the third needs.
    assert (tmp_path / "second" / "tokens.model").read_bytes() == (run / "tokens.model").read_bytes()
    (run / "tokens.model").unlink()
    with pytest.raises(ValueError, match=r"spells with pieces of words and has no tokens\.model"):
        build_experiment(config_of("baseline", *other), tmp_path / "third")


def test_a_file_of_torchaudios_is_a_teacher_too(
    sentence_words: list[str], config_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, path = wav2vec2_bundle(tmp_path / "bundle")
    monkeypatch.setattr(torchaudio.pipelines, "TINY", bundle, raising=False)
    words = ("teacher=wav2vec2_ctc", "teacher.network.bundle=TINY", f"teacher.network.weights={path}")
    config = config_of("teacher", *words)
    assert run_stage(config)["steps"] == 0
    path.unlink()  # the run has its weights
    taught = ("transfer=sequence_frames", f"teacher.run={config['folder']}", "corpus.spelling=teacher")
    _, means = step_of(build_experiment(config_of("distill", *taught), tmp_path / "distill"))
    assert means["frames"] > 0


def test_a_run_whose_folder_has_other_tokens_now_is_refused(
    sentence_words: list[str], config_of: Any, tmp_path: Path
) -> None:
    folder = wav2vec2_folder(tmp_path / "published")
    config = config_of("teacher", "teacher=hugging_face_ctc", f"teacher.network.folder={folder}")
    run_stage(config)
    names = json.loads((folder / "vocab.json").read_text())
    names["Ä"] = names.pop("A")
    (folder / "vocab.json").write_text(json.dumps(names))
    with pytest.raises(ValueError, match="was made with other tokens than the files of its network name now"):
        build_experiment(config_of("distill", f"teacher.run={config['folder']}"), tmp_path / "distill")


def test_several_recognisers_do_not_teach_at_once(teacher: Path, config_of: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="several teachers hear or say several things"):
        build_experiment(config_of("distill", f"teacher.run=[{teacher},{teacher}]"), tmp_path)


# Whisper


@pytest.mark.slow  # half a minute
def test_whisper_teaches_one_of_fewer_layers(
    whisper: Path, sentence_words: list[str], tmp_path: Path
) -> None:
    words = (
        "experiment=distil_whisper",
        *(f"{role}.network.folder={whisper}" for role in ("teacher", "student")),
    )

    def config(stage: str, *more: str) -> dict[str, Any]:
        return composed(sentence_words, stage, tmp_path, *words, *more)

    run_stage(config("teacher"))
    runs = tmp_path / "quick"
    baseline = run_stage(config("baseline"))
    distill = config("distill", f"teacher.run={runs / 'teacher'}")
    step, means = step_of(build_experiment(distill, tmp_path / "built"))
    assert set(means) == {"tokens", "hypotheses", "soft_tokens"}
    assert min(means.values()) > 0
    # Both continue the same prefix: the transcript, or what the teacher heard where that is hidden.
    assert step.student.token_logits.shape == step.teacher.token_logits.shape
    assert not step.targets.labelled.all()
    run_stage(distill)
    finetune = run_stage(config("finetune", f"student.run={runs / 'distill'}"))
    assert (
        baseline["params"]
        == finetune["params"]
        < json.loads((runs / "teacher" / "metrics.json").read_text())["params"]
    )
    assert (write_report(runs) / "index.html").is_file()
    evaluate({"run": str(runs / "finetune")})
    recording = next(iter(sorted(Path(distill["corpus"]["root"]).rglob("*.mp3"))))
    evaluate({"run": str(runs / "finetune"), "audio": str(recording), "chunk_seconds": 4})
    assert (
        json.loads((runs / "finetune" / "transcripts" / f"{recording.stem}.json").read_text())["words"]
        is None
    )


@pytest.mark.slow  # half a minute
def test_whisper_teaches_letters_through_text(
    whisper: Path, sentence_words: list[str], config_of: Any, tmp_path: Path
) -> None:
    config = composed(
        sentence_words,
        "teacher",
        tmp_path,
        "teacher=whisper",
        f"teacher.network.folder={whisper}",
    )
    run_stage(config)
    words = ("transfer=sequence", f"teacher.run={config['folder']}", "labels.views=2")
    stored = config_of("distill", *words, "teacher.stored=true")
    run_label(stored, Path(stored["folder"]).parent / "label")
    live = build_experiment(config_of("distill", *words, "corpus.views=2"), tmp_path / "live")
    live.datamodule.use_labels(open_stored(stored, live.datamodule))
    batch = next(iter(live.datamodule.train_dataloader()))
    with torch.no_grad():
        read, heard = (live.distiller.run_networks(each) for each in (batch, batch._replace(stored=None)))
    torch.testing.assert_close(read.hypotheses, heard.hypotheses, rtol=1e-4, atol=1e-4)
    assert read.hypotheses.lengths.max() > 3
    # And token by token, where the student takes its tokens.
    speller = ("student=las_small", "distiller=recognition_attention", "transfer=attention_tokens")
    taught = composed(
        sentence_words,
        "distill",
        tmp_path,
        *speller,
        f"teacher.run={config['folder']}",
        "corpus.spelling=teacher",
    )
    _, means = step_of(build_experiment(taught, tmp_path / "speller"))
    assert means["soft_tokens"] > 0
