"""Image networks of timm as keyword spotters: the features are an image of one channel.

Wightman, "PyTorch Image Models", 2019: MobileNetV2, V3 and V4, EfficientNet, LCNet, TinyNet, ResNet, many others.
"""

import difflib
from typing import Any

from torch import Tensor, nn

from kd_lightning.models.waveform_model import KeywordOutput


class TimmNetwork(nn.Module):
    """A convolutional network of timm over an image of bins by frames, from random weights.

    The features are normalised by a BatchNorm first (two parameters a bin): the first cepstral coefficient is ten times
    the others. Widths are in timm's names: ``mobilenetv2_035``, ``mobilenetv3_small_050``, ``lcnet_050``,
    ``tinynet_e``. The parts are tapped below ``network``: ``network.blocks.2``.

    Made for photographs, these networks halve the image five times, which leaves 2 by 4 of 40 by 101;
    ``stem_stride: 1`` leaves 3 by 7 for about three times the multiply-accumulates.

    Args:
        bins: number of feature bins, the height of the image.
        classes: number of classes C.
        name: timm's name of the architecture.
        stem_stride: of the first convolution, 2 as published or 1.
        dropout: probability that a pooled channel is dropped before the classifier.
        drop_path: probability that the last residual block is skipped in training, falling to 0 at the first
            (stochastic depth).

    Raises:
        ValueError: if timm is not installed or does not know the name, the network takes photographs of one size only,
            or the stem cannot have this stride.
    """

    def __init__(
        self,
        bins: int,
        classes: int,
        name: str,
        stem_stride: int = 2,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if stem_stride not in (1, 2):
            raise ValueError(f"stem_stride={stem_stride}: set it to 1 or 2")
        try:
            import timm
        except ImportError as error:
            raise ValueError(f"{error.name} is missing: pip install 'kd_lightning[networks]'") from error
        # Asked first, because create_model would take "hf-hub:…" for a place to download code and weights from.
        if not timm.is_model(name):
            close = difflib.get_close_matches(name, timm.list_models(), n=5, cutoff=0.5)
            raise ValueError(
                f"timm has no network {name!r}; close matches: {', '.join(close) or 'none'}; "
                "timm.list_models() names all"
            )
        network: Any = timm.create_model(
            name,
            pretrained=False,
            in_chans=1,
            num_classes=classes,
            drop_rate=dropout,
            drop_path_rate=drop_path or None,  # not every network takes it
        )
        if network.pretrained_cfg.get("fixed_input_size"):
            raise ValueError(f"{name} takes images of one size only: choose a convolutional network of timm")
        if stem_stride == 1:
            path = network.pretrained_cfg["first_conv"]
            stem = network.get_submodule(path) if isinstance(path, str) else None
            if not isinstance(stem, nn.Conv2d) or stem.stride != (2, 2):
                raise ValueError(
                    f"{name} does not begin with a convolution of stride 2: leave stem_stride at 2"
                )
            stem.stride = (1, 1)
        self.norm = nn.BatchNorm1d(bins)
        self.network = network

    def forward(self, features: Tensor) -> KeywordOutput:
        """Classify features (B, bins, frames) as logits (B, C)."""
        return KeywordOutput(self.network(self.norm(features).unsqueeze(1)))
