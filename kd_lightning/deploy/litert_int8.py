"""Static int8 of a LiteRT file, which rounds what :mod:`kd_lightning.deploy.int8` rounds; activations are signed.

LiteRT's products write int8. The last one, which gives the logits, stays in float therefore, its weights too: they are
few, and 256 steps of logits would cost as much as all other rounding.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator, Sequence

from ai_edge_litert.schema_py_generated import BuiltinOperator, Model, ModelT, OperatorT
from ai_edge_quantizer.calibrator import Calibrator
from ai_edge_quantizer.qtyping import TFLOperationName
from ai_edge_quantizer.quantizer import Quantizer
from ai_edge_quantizer.recipe_manager import RecipeManager
from ai_edge_quantizer.utils.qsv_utils import min_max_update

from kd_lightning.deploy.int8 import Inputs
from kd_lightning.deploy.onnx_file import INPUT

PRODUCTS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
HANDED_ON = ("RELU", "MAX_POOL_2D", "PAD", "PADV2", "RESHAPE", "TRANSPOSE", "CONCATENATION")
# In the names of tensors that the network writes: "…WaveformModel_model/….TCResNet_network/…", ";…" where they end.
_NETWORK = re.compile(r"_network[/;]")
_SIGNATURE = "serving_default"
_KINDS = {number: kind for kind, number in vars(BuiltinOperator).items() if isinstance(number, int)}


def to_int8(content: bytes, examples: Sequence[Inputs]) -> bytes:
    """Round a file to int8.

    The range of an activation is from its least to its greatest value in all clips. (A moving average of each clip's
    range, the library's default, cost a TC-ResNet-8 two points of accuracy where this costs 0.3.)

    Args:
        content: from :func:`~kd_lightning.deploy.litert_file.to_litert`.
        examples: waveforms (B, T) of the training split.

    Raises:
        ValueError: there are no clips.
    """
    clips = [{INPUT: clip[None].numpy()} for each in examples for clip in each[INPUT]]
    if not clips:
        raise ValueError(
            "int8 is calibrated on training clips, and there are none: set calibration_clips=512"
        )
    rounded = RecipeManager()
    for kind, name in rounded_operators(content):
        rounded.add_static_config(f"^{re.escape(name)};?$", TFLOperationName(kind), 8, 8)
    # It draws progress bars and prints a report.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        calibrator = Calibrator(content, num_threads=1, qsv_update_func=min_max_update)
        calibrator.calibrate({_SIGNATURE: clips}, rounded)
        quantizer = Quantizer(content, rounded.get_quantization_recipe())
        return bytes(quantizer.quantize(calibrator.get_model_qsvs()).quantized_model)


def rounded_operators(content: bytes) -> list[tuple[str, str]]:
    """Kind and name of the network's operators to round: those that lead to a product with weights, and what they read.

    Products of two activations (attention) and sums with a constant (a bias, positions) stay in float.
    """
    return list(_rounded(ModelT.InitFromObj(Model.GetRootAs(content))))


def _rounded(model: ModelT) -> Iterator[tuple[str, str]]:
    (graph,) = model.subgraphs
    to_products: set[int] = set()  # tensors on the way to a product with weights

    def is_constant(tensor: int) -> bool:
        return tensor >= 0 and model.buffers[graph.tensors[tensor].buffer].data is not None

    def kind_of(operator: OperatorT) -> str:
        code = model.operatorCodes[operator.opcodeIndex]
        return _KINDS[max(code.builtinCode, code.deprecatedBuiltinCode)]

    for operator in reversed(graph.operators):
        kind, name = kind_of(operator), graph.tensors[operator.outputs[0]].name.decode()
        is_product = kind in PRODUCTS and is_constant(operator.inputs[1])
        leads_on = not to_products.isdisjoint(operator.outputs)
        if not (_NETWORK.search(name) and (is_product or leads_on)):
            continue
        to_products.update(operator.inputs)
        is_sum = kind == "ADD" and not any(map(is_constant, operator.inputs))
        if leads_on and (is_product or is_sum or kind in HANDED_ON):
            yield kind, name
