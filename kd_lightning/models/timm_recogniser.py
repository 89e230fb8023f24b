"""MobileNets and EfficientNets of timm as CTC recognisers: the features are an image of one channel.

Wightman, "PyTorch Image Models", 2019. Made for photographs, they halve both sides five times; here time is halved
twice only, and later strides act on frequency alone, so that CTC has a frame every 40 ms.
"""

from torch import Tensor, nn

from kd_lightning.models.padding import without_padding
from kd_lightning.models.recognition_output import RecognitionOutput
from kd_lightning.models.timm_network import TimmNetwork

# Classes of timm and torch that mix frames in plain convolutions and in squeeze-and-excitation only.
KNOWN = {
    "Sequential", "ConvBnAct", "ConvNormAct", "DepthwiseSeparableConv", "EdgeResidual", "InvertedResidual",
    "UniversalInvertedResidual", "Conv2d", "SqueezeExcite", "BatchNorm2d", "BatchNormAct2d", "LayerScale2d",
    "Identity", "Dropout", "DropPath", "ReLU", "ReLU6", "SiLU", "GELU", "Hardswish", "Hardsigmoid", "Sigmoid",
}  # fmt: skip


class TimmRecogniser(nn.Module):
    """The stem and blocks of a network of timm over an image of bins by frames, from random weights, and a CTC layer.

    Of MobileNetV1 to V4, EfficientNet, MnasNet, LCNet, TinyNet and others that are built alike, in timm's names:
    ``mobilenetv3_small_050``, ``efficientnet_b0``. What follows the blocks, made for a thousand classes, is left out.
    The last block's activations are averaged over frequency. The parts are tapped below ``network``:
    ``network.blocks.2`` is (B, channels, bands, frames).

    timm's layers know no lengths, so the ends of the utterances at hand are laid beside them: each convolution hides
    what lies beyond, and squeeze-and-excitation averages what does not. One batch at a time runs through a network.

    Args:
        bins: number of feature bins, the height of the image.
        classes: number of tokens V, the blank included.
        name: timm's name of the architecture.
        dropout: probability that a channel is dropped before the CTC layer.
        drop_path: probability that the last residual block is skipped in training, falling to 0 at the first
            (stochastic depth).

    Raises:
        ValueError: if timm is not installed or does not know the name, or the network is of another kind or would hear
            the padding.
    """

    subsampling = 4

    def __init__(
        self, bins: int, classes: int, name: str, dropout: float = 0.0, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        whole = TimmNetwork(bins, 0, name, drop_path=drop_path).network
        parts = {part: getattr(whole, part, None) for part in ("conv_stem", "bn1", "blocks")}
        if None in parts.values():
            raise ValueError(f"{name} is neither a MobileNet nor an EfficientNet of timm: choose one of them")
        self.network = nn.Sequential()
        for part, module in parts.items():
            self.network.add_module(part, module)
        if strange := {type(module).__name__ for module in self.network.modules()} - KNOWN:
            raise ValueError(
                f"{name} would hear the padding of a batch in its {', '.join(sorted(strange))}: "
                "choose another network, such as mobilenetv3_small_100 or efficientnet_b0"
            )
        self.ends = Ends()
        self._heed_the_ends()
        *_, last = (module for module in self.network.modules() if isinstance(module, nn.Conv2d))
        self.dropout = nn.Dropout(dropout)
        self.width = last.out_channels
        self.ctc = nn.Linear(self.width, classes)

    def _heed_the_ends(self) -> None:
        """Hold the stride over time at 4, and make every layer that mixes frames heed the ends."""
        stride = 1  # over time, so far: modules come in the order in which they run
        for path, module in list(self.network.named_modules()):
            if isinstance(module, nn.Conv2d):
                if module.kernel_size[1] > 1:
                    module.register_forward_pre_hook(HidePadding(self.ends, stride))
                if stride == self.subsampling:
                    module.stride = (module.stride[0], 1)
                stride *= module.stride[1]
            elif type(module).__name__ == "SqueezeExcite":
                self.network.set_submodule(path, ValidSqueezeExcite(module, self.ends, stride))

    def forward(self, features: Tensor, lengths: Tensor) -> RecognitionOutput:
        """Score the tokens of each frame; the arguments are those of :meth:`encode`."""
        memory, lengths = self.encode(features, lengths)
        return RecognitionOutput(self.ctc(memory), lengths)

    def encode(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """What the CTC layer, or an attention decoder, looks at.

        Args:
            features: (B, bins, frames) float32.
            lengths: (B,) int64, valid frames.

        Returns:
            (B, ceil(frames / 4), width) and their valid frames (B,).
        """
        self.ends.lengths = lengths
        image = self.network(features.unsqueeze(1))
        return self.dropout(image.mean(dim=2)).transpose(1, 2), self.ends.after(self.subsampling)


class Ends:
    """Where the utterances of the batch at hand end.

    Attributes:
        lengths: (B,) int64, valid frames of the features.
    """

    lengths: Tensor

    def after(self, stride: int) -> Tensor:
        """The valid frames (B,) after strides over time that multiply to ``stride``."""
        return (self.lengths + stride - 1) // stride


class HidePadding:
    """Before a convolution runs, zero what lies beyond the ends.

    Args:
        ends: of the batch at hand.
        stride: over time of all layers before this one.
    """

    def __init__(self, ends: Ends, stride: int) -> None:
        self.ends = ends
        self.stride = stride

    def __call__(self, _: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (without_padding(inputs[0], self.ends.after(self.stride)),)


class ValidSqueezeExcite(nn.Module):
    """timm's squeeze-and-excitation with the mean over an utterance's own frames.

    Args:
        theirs: whose layers it takes: reduce, activate, expand, gate.
        ends: of the batch at hand.
        stride: over time of all layers before this one.
    """

    def __init__(self, theirs: nn.Module, ends: Ends, stride: int) -> None:
        super().__init__()
        self.scores = nn.Sequential(*theirs.children())
        self.ends = ends
        self.stride = stride

    def forward(self, image: Tensor) -> Tensor:
        """Scale the channels of (B, channels, bands, frames)."""
        lengths = self.ends.after(self.stride)
        sums = without_padding(image, lengths).mean(dim=2, keepdim=True).sum(dim=3, keepdim=True)
        means = sums / lengths.view(-1, 1, 1, 1)
        return image * self.scores(means)
