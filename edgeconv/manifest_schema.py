"""What a manifest, and the description inside an exported file, must hold to be read."""

from pathlib import PurePath
from typing import Any, Literal, get_args

from edgeconv.schema import (
    Misfit,
    anything,
    either,
    flag,
    items,
    mapping,
    maybe,
    number,
    one_of,
    table,
    text,
    whole,
)

DTYPES = ("float32", "float16", "float64", "int8", "uint8", "int16", "int32", "int64", "bool")

PREPROCESSING = table(
    {
        "mean": items(number(low=-1e3, high=1e3), 1),
        "std": items(number(low=1e-6, high=1e3), 1),
        "crop": either(one_of("letterbox"), number(low=0.01, high=100)),
        "size": items(whole(1, 1 << 16), 2, 2),
        "embedded": flag,
    },
    {"colour": one_of("RGB", "BGR")},
)

TENSOR = table(
    {
        "name": text,
        "shape": items(whole(-1, 1 << 31)),
        "dtype": one_of(*DTYPES),
        "layout": one_of("nchw", "nhwc", "other"),
        "quantization": maybe(
            table(
                {"scale": number(above=0.0), "zero_point": whole(-(1 << 31), 1 << 31)},
                {"offset": number()},
            )
        ),
    }
)

SHARE = number(low=0.0, high=1.0)
FIGURES = table({}, {name: number() for name in ("agreement_top1", "top1", "reference_top1")})


def _inner_name(value: Any, field: str) -> str:
    """Take a name of something in the same folder: no path leads out of it."""
    name = text(value, field)
    if name in ("", ".", "..") or PurePath(name).name != name or "\0" in name:
        raise Misfit(f"{field} is {name[:40]!r}, not the name of a folder beside the file")
    return name


DESCRIPTION = table(
    {},
    {
        "net": maybe(table({}, {"source": text})),
        "precision": text,
        "softmax": flag,
        "probabilities": flag,
        "preprocessing": maybe(PREPROCESSING),
        "warnings": items(text),
        "labels": maybe(items(text)),
        "frozen_inputs": mapping(anything),
    },
)

TRAINED = table(
    {
        "net": table({"source": text}, {"width": number(), "groups": whole(1), "ratio": whole(1)}),
        "preprocessing": PREPROCESSING,
        "labels": items(text, 2),
        "accuracy": table({"top1": number(low=0, high=100), "dataset": text, "source": text}),
    }
)
"""What ``edgeconv train`` writes into its checkpoints."""

NMS = table(
    {
        "head": one_of("yolov8", "yolov5", "ssd"),
        "final": one_of("ssd-nms", "coreml-nms"),
        "verified": _inner_name,
        "iou": number(above=0.0),
        "score": number(above=0.0),
        "most": whole(1),
    }
)
"""Of a file with NMS inside: how its net's outputs and its own hold boxes, and the file without it."""

Precision = Literal["fp32", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
"""What a file computes in; parity calls the hop of a file so too."""

MANIFEST = table(
    {
        "sha256": text,
        "target": text,
        "precision": one_of(*PRECISIONS),
        "inputs": items(TENSOR, 1),
        "outputs": items(TENSOR, 1),
        "preprocessing": maybe(PREPROCESSING),
        "labels": maybe(items(text)),
        "evidence": table({"folder": _inner_name, "files": mapping(text)}),
    },
    {
        "frozen_inputs": mapping(anything),
        "softmax": flag,
        "probabilities": flag,
        "net": maybe(table({}, {"source": text})),
        "versions": maybe(mapping(maybe(text))),
        "graph": maybe(
            table(
                {},
                {
                    "compute": maybe(whole(0)),
                    "int8_compute": maybe(whole(0)),
                    "transposes": maybe(whole(0)),
                    "rewrites": anything,
                    "float_operators": mapping(mapping(whole(0))),
                },
            )
        ),
        "verification": maybe(
            table(
                {},
                {
                    "figures": maybe(mapping(FIGURES)),
                    "pictures": maybe(whole(0)),
                    "explained": maybe(mapping(number(low=0.0))),
                    "halves": maybe(mapping(mapping(number()))),
                    "steps": maybe(mapping(number(above=0.0))),
                    "boxes": maybe(
                        table(
                            {"matched": table({"share": SHARE}, {"interval": items(SHARE, 2, 2)})}
                        )
                    ),
                },
            )
        ),
        "cuts": maybe(mapping(items(whole(0), 2))),
        "whole": maybe(mapping(one_of("labels", "amounts", "kept", "signal"))),
        "warnings": items(text),
        "weights": maybe(table({}, {"source": maybe(text)})),
        "calibration": maybe(
            table({}, {"origin": maybe(text), "beyond": table({"tensor": text, "share": SHARE})})
        ),
        "recipe": maybe(table({}, {"name": maybe(text)})),
        "nms": maybe(NMS),
        "files": mapping(text),
    },
)
