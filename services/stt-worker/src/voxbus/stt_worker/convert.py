"""Moonshine's published weights to three int8 ONNX files that decode more than ten times as fast.

The published `.ort` files hold int8 weights which the graph turns back into floats (Cast, Mul, Add) on every run: once per
token. Folding those once, splitting the decoder's `If` (with and without a key-value cache) into two models and
quantising the matrix products dynamically gives the same words for a fraction of the work. The embedding (`Gather`) stays
float: quantised, it would be converted back as a whole at each token.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from voxbus.stt_worker.models import DECODER_FIRST, DECODER_PAST, ENCODER, ModelError

Progress = Callable[[int, int, str], None]
"""Called with the step that begins now (from 1), how many there are, and what it does."""

STEPS: Final = (
    "read the encoder",
    "convert the encoder",
    "read the decoder",
    "convert its first step",
    "convert the rest",
)

Constants = dict[str, Any]
"""Name to onnx.TensorProto."""

_DEQUANTISE: Final[dict[str, Callable[..., NDArray[np.float32]]]] = {
    "Cast": lambda value: value.astype(np.float32),
    "Mul": lambda left, right: (left * right).astype(np.float32),
    "Add": lambda left, right: (left + right).astype(np.float32),
}


def convert(source: Path, target: Path, progress: Progress) -> None:
    """Write the three int8 models made of the `.ort` files in `source` to the existing directory `target`.

    Takes about 20 s of one core and 1 GB of memory. Raises ModelError when the graphs are not the ones this was written for.
    """
    with tempfile.TemporaryDirectory(dir=target, prefix="work-") as name, _quiet_quantiser():
        work = Path(name)
        progress(1, len(STEPS), STEPS[0])
        encoder = _read(source / "encoder_model.ort", work)
        progress(2, len(STEPS), STEPS[1])
        nodes, constants = _fold_weights(encoder.graph)
        _save(encoder, nodes, constants, list(encoder.graph.input), target / ENCODER, work)
        progress(3, len(STEPS), STEPS[2])
        decoder = _read(source / "decoder_model_merged.ort", work)
        nodes, constants = _fold_weights(decoder.graph)
        branches = _branches(nodes)
        progress(4, len(STEPS), STEPS[3])
        _save_branch(decoder, branches["else_branch"], constants, target / DECODER_FIRST, work)
        progress(5, len(STEPS), STEPS[4])
        _save_branch(decoder, branches["then_branch"], constants, target / DECODER_PAST, work)


def _read(path: Path, work: Path) -> Any:
    """The `.ort` file as an onnx.ModelProto: onnxruntime can load the format and save it as ONNX."""
    exported = work / f"{path.stem}.onnx"
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.optimized_model_filepath = str(exported)
    options.add_session_config_entry("session.save_model_format", "ONNX")
    ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    model = onnx.load(str(exported))
    # onnxruntime declares every domain it knows; the checker of the quantiser refuses those it does not.
    known = [opset for opset in model.opset_import if opset.domain in ("", "com.microsoft")]
    del model.opset_import[:]
    model.opset_import.extend(known)
    return model


def _fold_weights(graph: Any) -> tuple[list[Any], Constants]:
    """The graph's nodes without those that only dequantise weights, and its constants with the weights as floats."""
    constants: Constants = {tensor.name: tensor for tensor in graph.initializer}
    folded: dict[str, NDArray[np.float32]] = {}
    kept = []
    for node in graph.node:
        compute = _DEQUANTISE.get(node.op_type)
        if compute is None or not all(name in constants or name in folded for name in node.input):
            kept.append(node)
            continue
        values = [folded[name] if name in folded else numpy_helper.to_array(constants[name]) for name in node.input]
        folded[node.output[0]] = compute(*values)
    for name, value in folded.items():
        constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
    return kept, constants


def _branches(nodes: Sequence[Any]) -> dict[str, Any]:
    """The two graphs of the decoder's only remaining node, an `If` on whether there is a cache."""
    if [node.op_type for node in nodes] != ["If"]:
        raise ModelError(
            "the decoder's graph is not a single If over its cache; is this another version of the weights?"
        )
    return {attribute.name: attribute.g for attribute in nodes[0].attribute}


def _save_branch(model: Any, branch: Any, constants: Constants, target: Path, work: Path) -> None:
    """Save one branch of the decoder as a model of its own, with only those of the model's inputs that it reads."""
    pairs = zip(branch.output, model.graph.output, strict=True)
    renames = [
        helper.make_node("Identity", [inner.name], [outer.name]) for inner, outer in pairs if inner.name != outer.name
    ]
    nodes = [*branch.node, *renames]
    read = {name for node in nodes for name in node.input}
    inputs = [value for value in model.graph.input if value.name in read]
    own = {tensor.name: tensor for tensor in branch.initializer}
    _save(model, nodes, {**constants, **own}, inputs, target, work)


def _save(model: Any, nodes: list[Any], constants: Constants, inputs: list[Any], target: Path, work: Path) -> None:
    nodes, constants = _fold_transposes(nodes, constants)
    outputs = list(model.graph.output)
    read = {name for node in nodes for name in node.input} | {value.name for value in outputs}
    tensors = [tensor for name, tensor in constants.items() if name in read]
    graph = helper.make_graph(nodes, target.stem, inputs, outputs, tensors)
    floats = work / f"{target.stem}.float.onnx"
    onnx.save(helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version), str(floats))
    quantize_dynamic(
        str(floats),
        str(target),
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        extra_options={"MatMulConstBOnly": True},
    )
    floats.unlink()


def _fold_transposes(nodes: Sequence[Any], constants: Constants) -> tuple[list[Any], Constants]:
    """Do transposes of constants now: the output projection is the transposed embedding, 13.6 million floats a token."""
    kept, known = [], dict(constants)
    for node in nodes:
        if node.op_type != "Transpose" or node.input[0] not in known:
            kept.append(node)
            continue
        order = next((list(attribute.ints) for attribute in node.attribute if attribute.name == "perm"), None)
        value = np.transpose(numpy_helper.to_array(known[node.input[0]]), order)
        known[node.output[0]] = numpy_helper.from_array(np.ascontiguousarray(value), node.output[0])
    return kept, known


@contextmanager
def _quiet_quantiser() -> Iterator[None]:
    """The quantiser advises on the root logger to pre-process the model first, which has been done here by hand."""

    def is_other(record: logging.LogRecord) -> bool:
        return "pre-processing" not in record.getMessage()

    root = logging.getLogger()
    root.addFilter(is_other)
    try:
        yield
    finally:
        root.removeFilter(is_other)
