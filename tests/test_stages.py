"""One stage: the files that it leaves, and what it says of bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from kd_lightning import stages
from kd_lightning.callbacks import checkpoints
from kd_lightning.experiment.build import build_experiment, build_model, finished_config, finished_model
from kd_lightning.stages import run_stage

MODEL = "student.network.width=0.25"


def train(config_of, stage, *words):
    config = config_of(stage, *words)
    metrics = run_stage(config)
    return Path(config["folder"]), metrics


def test_a_stage_leaves_what_the_report_reads(config_of, teacher_run):
    folder, metrics = train(config_of, "distill", f"teacher.run={teacher_run}")
    assert metrics["stage"] == "distill"
    assert metrics["network"] == "TCResNet"
    assert metrics["steps"] == 12
    lines = [json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == 40
    assert set(lines[0]) == {"cut", "reference", "output", "score", "speaker", "snr"}
    assert {"python", "torch", "kd_lightning"} <= set(metrics["versions"])
    assert f"teacher.run={teacher_run}" in metrics["command"]
    right = np.mean([line["reference"] == line["output"] for line in lines])
    assert metrics["metrics"]["accuracy"] == pytest.approx(right)
    assert set(metrics["metrics"]) == {"accuracy", "precision", "recall", "f1", "ece"}
    assert 0 <= metrics["intervals"]["accuracy"][0] <= right <= metrics["intervals"]["accuracy"][1] <= 1
    keys = {line.split(",")[1] for line in (folder / "curves.csv").read_text().splitlines()[1:]}
    assert {"train/loss", "train/labels", "train/soft_targets", "optimizer/lr", "validation/accuracy"} <= keys
    assert finished_config(folder)["classes"] == ["no", "stop", "tree", "yes"]
    weights = sum(
        tensor.numel()
        for name, tensor in load_file(folder / "network.safetensors").items()
        if "num" not in name
    )
    assert weights >= metrics["params"]


def test_the_written_weights_give_the_written_predictions(config_of):
    folder, metrics = train(config_of, "baseline")
    model, _ = finished_model(folder)
    experiment = build_experiment(config_of("baseline"), folder)
    experiment.datamodule.setup("test")
    correct = 0
    for batch in experiment.datamodule.test_dataloader():
        with torch.no_grad():
            correct += int((model.eval()(batch.waveform).logits.argmax(1) == batch.labels).sum())
    assert correct / 40 == pytest.approx(metrics["metrics"]["accuracy"])


def test_baseline_and_distill_start_from_the_same_weights(config_of, teacher_run, tmp_path):
    baseline = build_experiment(config_of("baseline"), tmp_path / "a")
    distill = build_experiment(config_of("distill", f"teacher.run={teacher_run}"), tmp_path / "b")
    theirs = distill.distiller.student.state_dict()
    assert all(
        torch.equal(tensor, theirs[name]) for name, tensor in baseline.distiller.student.state_dict().items()
    )


def test_the_baseline_draws_labelled_cuts_and_distill_draws_all(config_of, teacher_run, tmp_path):
    def drawn(stage, *words):
        datamodule = build_experiment(config_of(stage, *words), tmp_path / stage).datamodule
        batches = list(datamodule.train_dataloader())
        return len(batches), {label for batch in batches for label in batch.labels.tolist()}

    baseline, distill = drawn("baseline"), drawn("distill", f"teacher.run={teacher_run}")
    assert baseline[0] == distill[0] == 6
    assert -100 not in baseline[1]
    assert -100 in distill[1]


def test_without_transfer_terms_distill_is_the_baseline(config_of):
    _, plain = train(config_of, "distill", "transfer=none", "name=plain")
    _, baseline = train(config_of, "baseline", "stages.baseline.trainer.max_epochs=2", "name=other")
    assert plain["metrics"] == baseline["metrics"]


def test_finetune_cannot_end_below_its_start_on_validation(config_of, teacher_run):
    distill, before = train(config_of, "distill", f"teacher.run={teacher_run}")
    _, after = train(config_of, "finetune", f"student.run={distill}", "optimizer.lr=1.0")
    assert after["validation"]["accuracy"] >= before["validation"]["accuracy"]


def test_weights_copied_from_the_teacher_are_reported(config_of, teacher_run):
    _, metrics = train(config_of, "distill", f"teacher.run={teacher_run}", "copy=channel_slices")
    assert "100%" in metrics["notes"][0]


def test_a_stage_stops_at_a_preset_quality_and_stays_stopped(config_of, monkeypatch):
    config = config_of("baseline", "++stages.baseline.stop_at={metric: validation/accuracy, value: 0.0}")
    with monkeypatch.context() as patch:
        patch.setattr(stages, "write_results", lambda *_: pytest.fail("cut before the results were written"))
        with pytest.raises(pytest.fail.Exception):
            run_stage(config)
    assert run_stage(config)["steps"] == 6


def test_a_hint_trains_a_projector_that_is_not_exported(config_of, teacher_run):
    folder, _ = train(
        config_of,
        "distill",
        f"teacher.run={teacher_run}",
        "transfer=hints",
        "transfer.terms.hint.teacher=blocks.1",
    )
    assert not [name for name in load_file(folder / "network.safetensors") if "projector" in name]
    state = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert [name for name in state if "projector" in name]


def test_a_student_hears_the_rounding_of_its_int8_export_and_its_teacher_does_not(
    config_of, teacher_run, tmp_path
):
    words = ("quantisation=int8", f"teacher.run={teacher_run}")
    distiller = build_experiment(config_of("distill", *words), tmp_path).distiller.eval()
    batch = next(iter(build_experiment(config_of("distill", *words), tmp_path).datamodule.val_dataloader()))
    assert not torch.equal(
        distiller.run_networks(batch).student.logits, distiller.student(batch.waveform).logits
    )
    assert build_experiment(config_of("teacher", *words), tmp_path / "t").distiller.quantisation is None
    folder, metrics = train(config_of, "distill", *words)
    assert metrics["notes"] == ["trained and validated with the rounding of its int8 export"]
    assert not [name for name in load_file(folder / "network.safetensors") if "quantisation" in name]
    assert finished_model(folder)


def test_bf16_gives_finite_losses(config_of, teacher_run):
    folder, _ = train(config_of, "distill", f"teacher.run={teacher_run}", "trainer.precision=bf16-mixed")
    losses = [
        float(line.split(",")[2])
        for line in (folder / "curves.csv").read_text().splitlines()
        if "train/loss" in line
    ]
    assert len(losses) == 6
    assert np.isfinite(losses).all()


# Bad input


def test_another_config_under_the_same_name_is_shown(config_of):
    train(config_of, "baseline")
    with pytest.raises(FileExistsError, match=r"optimizer\.lr: 0\.016 -> 0\.1"):
        run_stage(config_of("baseline", "optimizer.lr=0.1"))


def test_a_stage_that_needs_a_teacher_says_so(config_of):
    with pytest.raises(ValueError, match=r"teacher\.run"):
        run_stage(config_of("distill"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["seed=a"], "seed=a is not a whole number of at least 0"),
        (["save_every_steps=0"], "save_every_steps=0 is not a whole number of at least 1"),
        (["stages.baseline.trainer.max_epochs=ten"], r"trainer: max_epochs=ten is not Optional\[int\]"),
        (["distiller.weights.labels=a"], r"weights\.labels=a is no number"),
        (["corpus.limit=-3"], r"corpus\.limit=-3: at least 1"),
        (["corpus.workers=-1"], r"corpus\.workers=-1: at least 0"),
        (["corpus.augment.snr=[0,5,9]"], r"augment\.snr=\[0, 5, 9\]: give its two ends"),
        (["frontend=mel_22k"], "the student hears 22050 Hz and the corpus has 16000 Hz"),
        (["student=feed_forward_small"], "FeedForwardAcoustic turns no clip into the scores of words"),
    ],
)
def test_a_setting_that_cannot_be_is_named_before_training(words, said, config_of):
    with pytest.raises(ValueError, match=said):
        train(config_of, "baseline", *words)


def test_a_network_of_another_task_is_refused(config_of):
    with pytest.raises(
        ValueError, match="TCResNet turns no utterance into text: choose student=quartznet_small"
    ):
        build_model(config_of("baseline")["student"], 3, "recognition")


@pytest.mark.parametrize(("transfer", "term"), [("ctc_frames", "frames"), ("taught_mels", "taught_mel")])
def test_a_recipe_of_another_task_is_refused(transfer, term, config_of, teacher_run):
    with pytest.raises(ValueError, match=rf"\['{term}'\] are of another task than KeywordDistiller"):
        train(config_of, "distill", f"transfer={transfer}", f"teacher.run={teacher_run}")


def test_labels_that_are_all_hidden_by_mixtures_are_refused_without_a_teacher(config_of):
    with pytest.raises(ValueError, match=r"corpus\.augment\.mixup=1 hides every label, and stage=baseline"):
        run_stage(config_of("baseline", "corpus.augment.mixup=1"))


def test_a_teacher_folder_that_is_no_run(config_of, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is not a run: it has no config\.json"):
        run_stage(config_of("distill", f"teacher.run={tmp_path}"))


def foreign(teacher_run, tmp_path, **changes):
    """A copy of the teacher's run with another config or other weights."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    config = json.loads((teacher_run / "config.json").read_text())
    for key, value in changes.items():
        node = config
        *parents, last = key.split("__")
        for parent in parents:
            node = node[parent]
        node[last] = value
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "network.safetensors").write_bytes((teacher_run / "network.safetensors").read_bytes())
    return folder


def test_a_teacher_with_other_classes_is_refused_by_name(config_of, teacher_run, tmp_path):
    folder = foreign(teacher_run, tmp_path, classes=["no", "stop", "tree", "bed"])
    with pytest.raises(ValueError, match=r"lacks \['yes'\] and has \['bed'\]"):
        run_stage(config_of("distill", f"teacher.run={folder}"))


def test_a_teacher_with_the_classes_in_another_order_is_refused(config_of, teacher_run, tmp_path):
    folder = foreign(teacher_run, tmp_path, classes=["yes", "no", "stop", "tree"])
    with pytest.raises(ValueError, match="another order"):
        run_stage(config_of("distill", f"teacher.run={folder}"))


def test_a_teacher_with_another_architecture_than_its_config(config_of, teacher_run, tmp_path):
    folder = foreign(teacher_run, tmp_path, student__network__width=1.0)
    with pytest.raises(
        ValueError, match=r"network\.safetensors holds another network than .*config\.json describes"
    ):
        run_stage(config_of("distill", f"teacher.run={folder}"))


def test_a_teacher_with_other_features_than_its_config(config_of, teacher_run, tmp_path):
    folder = foreign(teacher_run, tmp_path, student__frontend__coefficients=20)
    with pytest.raises(ValueError, match="holds another network"):
        run_stage(config_of("distill", f"teacher.run={folder}"))


def test_a_teacher_of_another_sample_rate(config_of, teacher_run, tmp_path):
    folder = foreign(teacher_run, tmp_path, student__frontend__sample_rate=22050)
    with pytest.raises(ValueError, match="22050 Hz"):
        run_stage(config_of("distill", f"teacher.run={folder}"))


def test_damaged_weights_name_the_file(config_of, teacher_run, tmp_path):
    folder = foreign(teacher_run, tmp_path)
    (folder / "network.safetensors").write_bytes(b"\x10" + bytes(7) + b"not a header....")
    with pytest.raises(ValueError, match=r"network\.safetensors is damaged"):
        run_stage(config_of("distill", f"teacher.run={folder}"))


def test_a_hostile_run_config_runs_nothing(config_of, teacher_run, tmp_path):
    marker = tmp_path / "hacked"
    folder = foreign(
        teacher_run, tmp_path, student__network={"_target_": "os.system", "command": f"touch {marker}"}
    )
    with pytest.raises(ValueError, match=r"os\.system is not allowed"):
        run_stage(config_of("distill", f"teacher.run={folder}"))
    assert not marker.exists()


class Payload:
    """A pickle that would touch a file when it is loaded."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def test_a_hostile_checkpoint_runs_nothing(config_of, tmp_path):
    config = config_of("baseline")
    last = Path(config["folder"]) / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    torch.save({"state_dict": {}, "payload": Payload(tmp_path / "hacked")}, last)
    with pytest.raises(ValueError, match=r"last\.ckpt is damaged or not ours: remove it"):
        run_stage(config)
    assert not (tmp_path / "hacked").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half an archive"])
def test_a_corrupt_checkpoint_names_the_file(config_of, content):
    config = config_of("baseline")
    last = Path(config["folder"]) / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    last.write_bytes(content)
    with pytest.raises(ValueError, match=r"last\.ckpt is damaged or not ours: remove it"):
        run_stage(config)


def test_a_checkpoint_of_another_network_names_the_file(config_of):
    wide = config_of("baseline", "student.network.width=0.5", "name=wide")
    run_stage(wide)
    config = config_of("baseline")
    last = Path(config["folder"]) / "checkpoints" / "last.ckpt"
    last.parent.mkdir(parents=True)
    last.write_bytes((Path(wide["folder"]) / "checkpoints" / "last.ckpt").read_bytes())
    with pytest.raises(ValueError, match=r"last\.ckpt is of another network: remove it"):
        run_stage(config)


def test_a_non_finite_loss_stops_with_the_cut_ids(config_of):
    config = config_of("baseline", "optimizer.lr=1e30")
    with pytest.raises(FloatingPointError, match=r"non_finite_rank0\.json"):
        run_stage(config)
    folder = Path(config["folder"])
    saved = json.loads((folder / "non_finite_rank0.json").read_text())
    assert len(saved["cuts"]) == 16
    assert all("_nohash_" in cut for cut in saved["cuts"])
    state = torch.load(folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert all(torch.isfinite(tensor).all() for tensor in state.values())


def test_a_hint_path_that_does_not_exist_offers_others(config_of, teacher_run):
    words = (f"teacher.run={teacher_run}", "transfer=hints", "transfer.terms.hint.student=blocks.7")
    with pytest.raises(ValueError, match=r"blocks\.7.*blocks\.\d"):
        run_stage(config_of("distill", *words))


def test_a_full_disk_leaves_the_old_checkpoint(config_of, monkeypatch):
    config = config_of("baseline")
    last = Path(config["folder"]) / "checkpoints" / "last.ckpt"
    save = checkpoints.pl.Trainer.save_checkpoint
    calls = []

    def full(self, path, *arguments, **settings):
        calls.append(1)
        if len(calls) == 4:
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device")
        save(self, path, *arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.pl.Trainer, "save_checkpoint", full)
        with pytest.raises(OSError, match=r"\.ckpt could not be written .*No space left"):
            run_stage(config)
    assert "state_dict" in torch.load(last, weights_only=True)
    assert not list(last.parent.glob(".*"))
    run_stage(config)


def test_one_folder_is_trained_by_one_process(config_of, tmp_path):
    from filelock import FileLock

    config = config_of("baseline")
    folder = Path(config["folder"])
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"), pytest.raises(OSError, match="another process is training"):
        run_stage(config)


def test_a_stage_built_on_other_weights_is_not_finished(config_of, teacher_run, tmp_path):
    teacher = foreign(teacher_run, tmp_path)
    config = config_of("distill", f"teacher.run={teacher}")
    run_stage(config)
    moved = tmp_path / "moved"
    teacher.rename(moved)
    run_stage(config_of("distill", f"teacher.run={moved}"))  # the same weights elsewhere: skipped
    state = load_file(moved / "network.safetensors")
    save_file({name: tensor + 1 for name, tensor in state.items()}, moved / "network.safetensors")
    with pytest.raises(FileExistsError, match=r"sources\.teacher"):
        run_stage(config_of("distill", f"teacher.run={moved}"))


def test_a_start_from_other_features_is_refused(config_of, teacher_run):
    distill, _ = train(config_of, "distill", f"teacher.run={teacher_run}")
    with pytest.raises(ValueError, match=r"other features than student\.frontend: bins: 40 -> 32"):
        run_stage(
            config_of("finetune", f"student.run={distill}", "frontend.bins=32", "frontend.coefficients=32")
        )


def test_weights_of_another_student_are_refused(config_of, teacher_run):
    with pytest.raises(ValueError, match="holds another network"):
        run_stage(config_of("finetune", f"student.run={teacher_run}"))


def test_a_run_without_weights_has_not_finished(config_of, teacher_run, tmp_path):
    folder = foreign(teacher_run, tmp_path)
    save_file({}, folder / "network.safetensors")
    with pytest.raises(ValueError, match="missing in the file"):
        run_stage(config_of("distill", f"teacher.run={folder}"))
    (folder / "network.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="finish that stage first"):
        run_stage(config_of("distill", f"teacher.run={folder}"))
