"""The C++ that a TensorFlow Lite Micro program needs to run a file: the operators, and no other."""

from edgeconv.errors import EdgeconvError
from edgeconv.export.tflite.device_rules import MICRO
from edgeconv.export.tflite.inspect import TfliteSummary

SPELT = {
    "BATCH_MATMUL": "BatchMatMul",
    "CUMSUM": "CumSum",
    "PADV2": "PadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM",
}
"""Names whose words the underscores do not part."""


def method(operator: str) -> str:
    """Return MicroMutableOpResolver's method for an operator of the schema.

    >>> [method(op) for op in ("CONV_2D", "SPACE_TO_BATCH_ND", "CUMSUM", "L2_POOL_2D")]
    ['AddConv2D', 'AddSpaceToBatchNd', 'AddCumSum', 'AddL2Pool2D']
    """
    words = SPELT.get(operator) or "".join(
        word if word[0].isdigit() else word.capitalize() for word in operator.split("_")
    )
    return f"Add{words}"


def resolver(summary: TfliteSummary) -> str:
    """Return the resolver as C++ to paste. Raises EdgeconvError for operators that TFLM has not."""
    operators = sorted(summary.histogram)
    outside = [op for op in operators if op not in MICRO]
    if outside:
        raise EdgeconvError(
            f"TensorFlow Lite Micro has no {', '.join(outside)}: the file does not run there"
        )
    lines = [f"tflite::MicroMutableOpResolver<{len(operators)}> resolver;"]
    lines += [f"resolver.{method(op)}();" for op in operators]
    return "\n".join(lines)
