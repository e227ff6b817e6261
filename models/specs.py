"""What is known about each net without building it: options, size, cost, accuracies. No torch here."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeconv.errors import UsageError

Value = float | int | str


@dataclass(frozen=True)
class Option:
    """One constructor argument.

    ``choices`` are all the allowed values, or, where ``minimum`` and ``maximum`` are set, the
    paper's own values inside that closed range.
    """

    name: str
    default: Value
    choices: tuple[Value, ...]
    help: str
    minimum: float | None = None
    maximum: float | None = None
    flag: bool = True

    def check(self, net: str, value: Value) -> Value:
        """Return ``value`` in this option's type. Raises UsageError saying what is allowed."""
        kind = type(self.default)
        if kind is float and isinstance(value, int):
            value = float(value)
        listed = ", ".join(str(choice) for choice in self.choices)
        if self.minimum is None or self.maximum is None:
            if value not in self.choices or type(value) is not kind:
                raise UsageError(f"{net} takes {self.name} {listed}, not {value}")
        elif not isinstance(value, float) or not self.minimum <= value <= self.maximum:
            raise UsageError(
                f"{net} takes {self.name} from {self.minimum} to {self.maximum} "
                f"(the paper's: {listed}), not {value}"
            )
        return value


@dataclass(frozen=True)
class Accuracy:
    """A top-1 figure in percent that somebody published, and where."""

    top1: float
    dataset: str
    source: str


@dataclass(frozen=True)
class NetSpec:
    """One net: ``parameters`` and ``multiply_adds`` hold at the defaults, 1000 classes, 224x224."""

    name: str
    title: str
    arxiv: str
    options: tuple[Option, ...]
    parameters: int
    multiply_adds: int
    accuracies: tuple[Accuracy, ...] = field(default=())
    resolution: int = 224

    def option(self, name: str) -> Option | None:
        """Return the option called ``name``, or None where the net has none."""
        return next((option for option in self.options if option.name == name), None)

    def defaults(self) -> dict[str, Value]:
        """Return each option's default by name."""
        return {option.name: option.default for option in self.options}


MODULE_SUFFIXES = (".pt2", ".pt", ".pth", ".ts")
"""Of a saved ExportedProgram, and of TorchScript."""

WEIGHTS_SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")
"""Of weights alone; the first two of TorchScript too."""


def is_own(name: str) -> bool:
    """Whether ``name`` is no net of ours but says where a module of the user's is.

    >>> is_own("net.py:make"), is_own("package.nets:make"), is_own("net.pt2"), is_own("ghostnet")
    (True, True, True, False)
    """
    return ":" in name or Path(name).suffix in MODULE_SUFFIXES


def stem_of(net: str) -> str:
    """Return how the files of an export begin: of a module of the user's, or of a file.

    >>> stem_of("nets/net.py:make"), stem_of("package.nets:make"), stem_of("a/model.onnx")
    ('net_make', 'nets_make', 'model')
    """
    before, _, function = net.rpartition(":")
    if not before:
        return Path(net).stem
    return (
        f"{Path(before).stem if before.endswith('.py') else before.rpartition('.')[2]}_{function}"
    )


SPECS: dict[str, NetSpec] = {}
"""Every net by name, in the order of the papers."""


def register(spec: NetSpec) -> None:
    """Add ``spec`` to SPECS. Raises ValueError where the name is taken."""
    if spec.name in SPECS:
        raise ValueError(f"a net called {spec.name} is already registered")
    SPECS[spec.name] = spec


def find_spec(name: str) -> NetSpec:
    """Return the spec of net ``name``. Raises UsageError with the nearest names and the whole list."""
    if name in SPECS:
        return SPECS[name]
    if Path(name).exists():
        raise UsageError(
            f"{name} is there but is no net that is read here: give a file.py:factory, an .onnx file "
            f"or one of {', '.join(SPECS)}"
        )
    if Path(name).suffix[1:].isalpha():
        raise UsageError(f"{name} does not exist")
    raise UsageError(
        f"unknown net {name!r}{_nearest(name)}: choose one of {', '.join(SPECS)}, "
        "or name a file.py:factory or an .onnx file"
    )


def find_own(name: str) -> NetSpec:
    """Return the spec of net ``name`` where files and modules will not do. Raises UsageError as ``find_spec``."""
    if name in SPECS:
        return SPECS[name]
    raise UsageError(f"{name!r} is none of the nets here{_nearest(name)}: {', '.join(SPECS)}")


def _nearest(name: str) -> str:
    simple = {key.replace("_", ""): key for key in SPECS}
    wanted = name.lower().replace("_", "").replace("-", "")
    near = [simple[match] for match in difflib.get_close_matches(wanted, simple, 2, 0.6)]
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def resolve_options(name: str, given: Mapping[str, Value | None]) -> dict[str, Value]:
    """Return all options of net ``name``: ``given`` where not None, else the default.

    Raises UsageError for an option the net does not have or a value it does not take.
    """
    spec = find_spec(name)
    resolved = spec.defaults()
    for key, value in given.items():
        if value is None:
            continue
        option = spec.option(key)
        if option is None:
            raise UsageError(f"{name} has no option {key}: it takes {', '.join(spec.defaults())}")
        resolved[key] = option.check(name, value)
    return resolved


def _width(*paper: float, minimum: float = 0.1, maximum: float = 4.0) -> Option:
    return Option("width", 1.0, paper, "channel multiplier", minimum, maximum)


_RELU6 = Option("activation", "relu6", ("relu6", "relu"), "after each convolution")

register(
    NetSpec(
        "mobilenet_v1",
        "MobileNetV1",
        "1704.04861",
        (_width(0.25, 0.5, 0.75, 1.0), _RELU6),
        4_231_976,
        568_740_352,
        (Accuracy(70.6, "ImageNet", "paper, table 4"),),
    )
)
register(
    NetSpec(
        "mobilenet_v2",
        "MobileNetV2",
        "1801.04381",
        (_width(0.35, 0.5, 0.75, 1.0, 1.4), _RELU6),
        3_504_872,
        300_774_272,
        (Accuracy(72.0, "ImageNet", "paper, table 4"),),
    )
)
register(
    NetSpec(
        "shufflenet_v1",
        "ShuffleNetV1",
        "1707.01083",
        (
            _width(0.25, 0.5, 1.0, 1.5, 2.0, minimum=0.25, maximum=2.0),
            Option("groups", 3, (1, 2, 3, 4, 8), "groups of the 1x1 convolutions"),
            Option(
                "shuffle",
                "paper",
                ("paper", "official"),
                "whose order of shuffled channels",
                flag=False,
            ),
        ),
        1_865_728,
        137_460_672,
        (Accuracy(67.4, "ImageNet", "paper, table 2"),),
    )
)
register(
    NetSpec(
        "ghostnet",
        "GhostNet",
        "1911.11907",
        (
            _width(0.5, 1.0, 1.3),
            Option("ratio", 2, (2, 3, 4, 5), "channels made for each one convolved, the paper's s"),
            Option(
                "kernel_size",
                1,
                (1, 3, 5, 7),
                "the primary convolution's, the paper's k",
                flag=False,
            ),
            Option(
                "dw_size", 3, (1, 3, 5, 7), "the cheap convolution's, the paper's d", flag=False
            ),
        ),
        5_182_508,
        141_150_512,
        (Accuracy(73.9, "ImageNet", "paper, table 7"),),
    )
)
