"""Taps: read intermediate activations of any network by module path."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence
from torch.utils.hooks import RemovableHandle


class Taps:
    """Collects the outputs of chosen modules while a ``with`` block runs their network.

    Enter the same taps once a step: nothing stays attached to the network outside the block, and the taps
    keep no activations.

    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
        >>> taps = Taps(network, ["0"])
        >>> with taps as hidden:
        ...     logits = network(torch.zeros(2, 3))
        >>> hidden["0"].shape
        torch.Size([2, 4])

    Args:
        network: any module.
        paths: of its submodules, as in ``named_modules()``: "blocks.2".

    Raises:
        ValueError: if a path does not exist, with the paths that look like it.
    """

    def __init__(self, network: nn.Module, paths: Iterable[str]) -> None:
        known = {path: module for path, module in network.named_modules() if path}
        self._modules: dict[str, nn.Module] = {}
        for path in paths:
            if path not in known:
                raise ValueError(_unknown_path(path, type(network).__name__, list(known)))
            self._modules[path] = known[path]
        self._handles: list[RemovableHandle] = []
        self._outputs: dict[str, Tensor] = {}

    def __enter__(self) -> Mapping[str, Tensor]:
        """Attach the hooks.

        Returns:
            path -> output, filled while the network runs: the output itself, or the first tensor of a tuple or of a
            mapping, however nested. Packed sequences are padded with zeros. Recurrent layers and their packed
            sequences come batch first, (B, frames, C), whatever the layer's ``batch_first``; all else is as the module
            left it. A module that runs twice leaves its last output.

        Raises:
            RuntimeError: if the taps are entered a second time before they are left.
        """
        if self._handles:
            raise RuntimeError("these taps are collecting already: leave their with block first")
        self._handles = [
            module.register_forward_hook(_keeper(self._outputs, path))
            for path, module in self._modules.items()
        ]
        return self._outputs

    def __exit__(self, raised: type[BaseException] | None, *_: object) -> None:
        """Remove the hooks.

        Raises:
            ValueError: if a tapped module did not run in a block that ended well.
        """
        for handle in self._handles:
            handle.remove()
        outputs, self._outputs, self._handles = self._outputs, {}, []
        silent = [path for path in self._modules if path not in outputs]
        if silent and raised is None:
            raise ValueError(
                f"tapped modules that the forward pass never ran: {', '.join(silent)}; tap others"
            )


def _keeper(outputs: dict[str, Tensor], path: str) -> Callable[[nn.Module, Any, Any], None]:
    def keep(module: nn.Module, inputs: Any, output: Any) -> None:
        tensor = _first_tensor(output)
        if tensor is None:
            raise TypeError(f"tapped module {path} ({type(module).__name__}) returned no tensor; tap another")
        if isinstance(module, nn.RNNBase) and not module.batch_first and isinstance(output[0], Tensor):
            tensor = tensor.transpose(0, 1)
        outputs[path] = tensor

    return keep


def _first_tensor(output: Any) -> Tensor | None:
    match output:
        case Tensor():
            return output
        case PackedSequence():  # a tuple of tensors too, so it goes first
            return pad_packed_sequence(output, batch_first=True)[0]
        case Mapping():
            parts = list(output.values())
        case tuple() | list():
            parts = list(output)
        case _:
            parts = []
    return next((found for part in parts if (found := _first_tensor(part)) is not None), None)


def _unknown_path(path: str, network: str, known: list[str]) -> str:
    close = difflib.get_close_matches(path, known, n=5, cutoff=0.5)
    # Nothing looks like it: show the top of the tree.
    offered = close or [name for name in known if "." not in name]
    return (
        f"{network} has no module {path!r} to tap; {'close matches' if close else 'its top modules'}: "
        f"{', '.join(offered) or 'none'}. Set the module paths of the hint term in the transfer config"
    )
