"""Weights of a file are loaded whole, or refused with what is wrong."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from kd_lightning.teachers.checkpoint import load_checkpoint


def equal(one, other):
    theirs = other.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


@pytest.mark.parametrize("form", ["state dict", "checkpoint", "checkpoint of ours", "safetensors"])
def test_every_form_gives_the_same_network(form, make_model, tmp_path):
    taught, model = make_model(1), make_model(2)
    state = taught.state_dict()
    path = tmp_path / "weights.pt"
    if form == "state dict":
        torch.save(state, path)
    elif form == "checkpoint":
        torch.save({"state_dict": state, "epoch": 3}, path)
    elif form == "checkpoint of ours":
        ours = {f"student.{name}": tensor for name, tensor in state.items()}
        other = {f"teacher.{name}": tensor for name, tensor in model.state_dict().items()}
        torch.save({"state_dict": ours | other | {"terms.hint.projector.weight": torch.ones(2)}}, path)
    else:
        path = tmp_path / "weights.safetensors"
        save_file(state, path)
    assert not equal(taught, model)
    load_checkpoint(model, path)
    assert equal(taught, model)


class Payload:
    """A pickle that would touch a file when it is loaded."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return (Path.touch, (self.marker,))


def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(make_model, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": make_model(0).state_dict(), "payload": Payload(tmp_path / "hacked")}, path)
    with pytest.raises(ValueError, match=r"weights\.pt is damaged, or a pickle that would run code"):
        load_checkpoint(make_model(0), path)
    assert not (tmp_path / "hacked").exists()


def test_a_pickled_module_is_refused(make_model, tmp_path):
    torch.save(make_model(0), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="give a state dict"):
        load_checkpoint(make_model(0), tmp_path / "weights.pt")


@pytest.mark.parametrize("name", ["a.ckpt", "a.pt", "a.safetensors"])
@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 half an archive", b"\x10" + bytes(7) + b"no header......."]
)
def test_a_damaged_file_is_named(name, content, make_model, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} is damaged"):
        load_checkpoint(make_model(0), tmp_path / name)


@pytest.mark.parametrize("content", [{}, [torch.zeros(2)], {"state_dict": {"weight": 1.0}}, {"epoch": 3}])
def test_a_file_of_something_else_is_named(content, make_model, tmp_path):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"a\.pt holds no state dict"):
        load_checkpoint(make_model(0), tmp_path / "a.pt")


@pytest.mark.parametrize("student", [True, False])
def test_another_architecture_changes_nothing_and_names_the_first_tensor(student, make_model, tmp_path):
    state = make_model(0, width=0.5).state_dict()
    torch.save(
        {f"student.{name}" if student else name: tensor for name, tensor in state.items()}, tmp_path / "a.pt"
    )
    model, same = make_model(1), make_model(1)
    with pytest.raises(
        ValueError, match=r"another network than teacher\.network .*: network\.\S+ is \(.*and \d+ more"
    ):
        load_checkpoint(model, tmp_path / "a.pt")
    assert equal(model, same)


def test_a_missing_tensor_is_named(make_model, tmp_path):
    state = dict(make_model(0).state_dict())
    name = next(name for name in state if name.endswith("running_mean"))
    del state[name]
    torch.save(state, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=f"{name} is missing in the file"):
        load_checkpoint(make_model(0), tmp_path / "a.pt")


def test_a_file_that_is_not_there(make_model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"teacher\.checkpoint=.*no\.ckpt is not a file"):
        load_checkpoint(make_model(0), tmp_path / "no.ckpt")
