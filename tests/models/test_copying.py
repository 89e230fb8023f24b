"""Students that start from their teachers: what is equal afterwards, and what is refused."""

import pytest
import torch
from torch import Tensor, nn

from kd_lightning.frontend.features import LogMel
from kd_lightning.models.bc_resnet import BCResNet
from kd_lightning.models.copying import channel_slices, same_names, spaced_layers
from kd_lightning.models.tc_resnet import TCResNet
from kd_lightning.models.waveform_model import WaveformModel


class Stack(nn.Module):
    """A network of equal layers."""

    def __init__(self, depth: int, size: int = 6) -> None:
        super().__init__()
        self.stem = nn.Linear(3, size)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(size, size), nn.BatchNorm1d(size)) for _ in range(depth)
        )
        self.head = nn.Linear(size, 4)


def marked(depth: int) -> Stack:
    """A teacher whose layer i is filled with i + 1, statistics included."""
    teacher = Stack(depth)
    for index, layer in enumerate(teacher.layers):
        for tensor in layer.state_dict().values():
            tensor.fill_(index + 1)
    return teacher


def state(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def assert_untouched(network: nn.Module, before: dict[str, Tensor]) -> None:
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def trained(network: nn.Module) -> nn.Module:
    for _ in range(3):
        network(torch.randn(4, 40, 101))
    return network


def test_same_names_copies_equal_shapes_with_their_statistics_and_leaves_the_rest() -> None:
    teacher, student = trained(TCResNet(40, 12, depth=14)), TCResNet(40, 12, depth=8)
    before, theirs = state(student), teacher.state_dict()
    copied = same_names(student, teacher)
    agreeing = {
        name for name, tensor in before.items() if name in theirs and theirs[name].shape == tensor.shape
    }
    assert {"stem.0.weight", "stem.1.running_mean", "head.weight", "blocks.0.layers.0.weight"} <= agreeing
    for name, tensor in student.state_dict().items():
        assert torch.equal(tensor, theirs[name] if name in agreeing else before[name])
    weights = dict(student.named_parameters())
    assert copied.parameters == sum(weights[name].numel() for name in agreeing & weights.keys())
    assert copied.total == sum(weight.numel() for weight in weights.values())


def test_a_student_of_the_teachers_size_becomes_the_teacher() -> None:
    teacher, student = trained(BCResNet(40, 12)).eval(), BCResNet(40, 12).eval()
    copied = same_names(student, teacher)
    features = torch.randn(2, 40, 101)
    assert torch.equal(student(features).logits, teacher(features).logits)
    assert copied.parameters == copied.total
    assert copied.summary.endswith("9,232 of 9,232 parameters (100%)")


def test_the_frontend_is_not_counted_as_copied() -> None:
    student, teacher = (WaveformModel(LogMel(), TCResNet(40, 12)) for _ in range(2))
    assert same_names(student, teacher).parameters == 65_260


@pytest.mark.parametrize(
    ("depth", "of", "chosen"),
    [(1, 5, [0]), (2, 6, [0, 5]), (3, 7, [0, 3, 6]), (4, 12, [0, 4, 7, 11]), (3, 3, [0, 1, 2])],
)
def test_spaced_layers_keep_the_first_and_the_last(depth: int, of: int, chosen: list[int]) -> None:
    teacher, student = marked(of), Stack(depth)
    copied = spaced_layers(student, teacher, "layers")
    for layer, source in zip(student.layers, chosen, strict=True):
        assert all(tensor.eq(source + 1).all() for tensor in layer.state_dict().values())
    assert torch.equal(student.stem.weight, teacher.stem.weight)
    assert torch.equal(student.head.bias, teacher.head.bias)
    assert copied.parameters == copied.total


def test_spaced_layers_refuse_layers_of_other_sizes_and_change_nothing() -> None:
    teacher, student = TCResNet(40, 12, depth=14), TCResNet(40, 12, depth=8)
    before = state(student)
    with pytest.raises(ValueError, match=r"student layer blocks\.2 and teacher layer blocks\.5 do not match"):
        spaced_layers(student, teacher, "blocks")
    assert_untouched(student, before)


def test_spaced_layers_need_lists_and_no_deeper_student() -> None:
    with pytest.raises(ValueError, match="the student has 4 'layers' and the teacher only 3"):
        spaced_layers(Stack(4), Stack(3), "layers")
    with pytest.raises(ValueError, match="'stem' is no list of layers of the student; it has layers"):
        spaced_layers(Stack(2), Stack(3), "stem")


def test_channel_slices_are_the_leading_channels_of_every_dimension() -> None:
    teacher, student = trained(TCResNet(40, 12, width=1.5)), TCResNet(40, 12, width=0.35)
    copied = channel_slices(student, teacher)
    theirs = teacher.state_dict()
    weight = student.get_parameter("blocks.0.layers.0.weight")
    assert weight.shape == (8, 6, 9)
    assert torch.equal(weight, theirs["blocks.0.layers.0.weight"][:8, :6])
    assert torch.equal(student.get_buffer("stem.1.running_var"), theirs["stem.1.running_var"][:6])
    assert torch.equal(student.head.weight, theirs["head.weight"][:, :17])
    assert copied.parameters == copied.total


def test_channel_slices_keep_the_sub_bands_of_a_channel_together() -> None:
    teacher, student = BCResNet(40, 12, tau=2), BCResNet(40, 12, tau=1)
    path = "blocks.0.frequency.1.norm.weight"
    weight = nn.init.uniform_(teacher.get_parameter(path))
    channel_slices(student, teacher)
    assert torch.equal(student.get_parameter(path).view(8, 5), weight.view(16, 5)[:8])


@pytest.mark.parametrize(
    "teacher", [TCResNet(40, 12, width=0.35), TCResNet(40, 12, depth=14), BCResNet(40, 12)], ids=type
)
def test_channel_slices_refuse_narrower_and_other_architectures(teacher: nn.Module) -> None:
    student = TCResNet(40, 12)
    before = state(student)
    with pytest.raises(ValueError, match="need a wider teacher of the same architecture"):
        channel_slices(student, teacher)
    assert_untouched(student, before)


def test_copying_no_weights_at_all_is_an_error_and_changes_nothing() -> None:
    # Every BatchNorm's step counter agrees in name and shape; that alone is no start.
    student, teacher = TCResNet(40, 12, width=0.5), TCResNet(80, 35, width=1.5)
    teacher.norm.num_batches_tracked.fill_(7)
    before = state(student)
    with pytest.raises(
        ValueError, match="nothing to copy: TCResNet shares no weights of the same name and shape"
    ):
        same_names(student, teacher)
    assert_untouched(student, before)
