"""Which Core ML options go together: light, so that a command refuses before any work."""

from typing import Literal

from edgeconv.errors import UsageError

Precision = Literal["fp32", "fp16", "int8"]
Compute = Literal["fp32", "fp16"]
OLDEST_IOS = (15, 16, 17, 18)


def settle(
    precision: Precision, compute: Compute | None, min_ios: int | None, weights_only: bool
) -> tuple[Compute, int]:
    """Return the arithmetic and the oldest iOS: fp16 unless precision is fp32; 17 for INT8 activations.

    Everything else runs from iOS 15 (INT8 weights from 16), and 16 is the default. Raises UsageError
    for options that contradict.
    """
    integer_activations = precision == "int8" and not weights_only
    if min_ios is None:
        min_ios = 17 if integer_activations else 16
    if min_ios not in OLDEST_IOS:
        raise UsageError(f"--min-ios {min_ios} is not one of 15, 16, 17, 18")
    if precision in ("fp32", "fp16") and compute not in (None, precision):
        raise UsageError(f"--coreml-compute {compute} contradicts --{precision}: drop one of them")
    if precision == "int8" and weights_only and min_ios < 16:
        raise UsageError("INT8 weights need --min-ios 16 or later")
    if integer_activations and min_ios < 17:
        raise UsageError(
            f"INT8 activations need --min-ios 17 or later, not {min_ios}; "
            "INT8 weights alone (--int8-weights) run from iOS 16"
        )
    return compute or ("fp32" if precision == "fp32" else "fp16"), min_ios
