"""ONNX models of one operator each, and of integers, as other makers write them."""

import contextlib
import io
import warnings
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from fuzz.onnx_models import ONNX_STEPS, SLIGHT


def build(folder: Path) -> None:
    """Put models of one operator and quantized ones below ``folder``, which holds the net of five layers."""
    _one_each(folder)
    _quantized(folder)


def _one_each(folder: Path) -> None:
    """Put the onnx package's models of one operator into operator_nets, each with the arrays that it takes."""
    from onnx import numpy_helper
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own generators overflow on purpose
        tests = load_model_tests(kind="node")
    for test in tests:
        if test.model is None or not test.data_sets:
            continue
        model, feeds = test.model, test.data_sets[0][0]
        given = dict(zip([v.name for v in model.graph.input], feeds, strict=False))
        first = next(iter(given.values()), None)
        if not (isinstance(first, np.ndarray) and first.dtype == np.float32 and first.ndim):
            continue
        for value in list(model.graph.input)[1:]:  # as nets have them: constants
            with contextlib.suppress(Exception):
                constant = numpy_helper.from_array(np.asarray(given[value.name]), value.name)
                model.graph.initializer.append(constant)
                model.graph.input.remove(value)
        data = model.SerializeToString()
        if len(data) < 1 << 16:
            (folder / "operator_nets" / f"{test.name}.onnx").write_bytes(data)
            np.save(folder / "operator_nets" / f"{test.name}.npy", first)
    some = min((folder / "operator_nets").glob("*.onnx"))
    (folder / "operators/net.onnx").write_bytes(some.read_bytes())


def operator_of(rng: Random, source: Path, target: Path) -> None:
    """Take one of the models of one operator, changed or, at times, as it is; its samples lie beside it."""
    import onnx

    healthy = rng.choice(sorted((source.parent.parent / "operator_nets").glob("*.onnx")))
    model = onnx.load_model(healthy)
    steps = rng.choice((ONNX_STEPS, SLIGHT, SLIGHT))
    for _ in range(rng.choice((0, 1, 1, 2))):
        rng.choice(steps)(rng, model)
    target.write_bytes(model.SerializeToString())
    value = np.load(healthy.with_suffix(".npy"))
    noise = np.random.default_rng(rng.randrange(1 << 30)).standard_normal((8, *value.shape[1:]))
    np.savez(target.parent / "calib.npz", (value[:1] + noise).astype(np.float32))


def _quantized(folder: Path) -> None:
    """Quantize the net of five layers as onnxruntime does: operators of integers, and QDQ in unsigned ones."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            samples = np.load(folder / "calib.npy")
            self.feeds = iter([{"input": sample[None]} for sample in samples])

        def get_next(self) -> Any:
            return next(self.feeds, None)

    for name, form in (("qoperator", QuantFormat.QOperator), ("qdq", QuantFormat.QDQ)):
        with contextlib.redirect_stdout(io.StringIO()):
            quantize_static(folder / "tiny.onnx", folder / f"others/{name}.onnx", Reader(), quant_format=form,
                            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)  # fmt: skip
