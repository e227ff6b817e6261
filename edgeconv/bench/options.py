"""What bench_models takes by name, and the request that it makes of it."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

from edgeconv.bench.plan import Plan, mlperf
from edgeconv.bench.run import Request
from edgeconv.bench.subjects import Choice
from edgeconv.errors import check_names

NET = ("width", "groups", "ratio", "resolution")


class BenchOptions(TypedDict, total=False):
    """The options of ``edgeconv bench`` as arguments; its help says what each does.

    ``input_shape`` is that of the only input; ``shapes`` maps an input's name ("" where there is one only) to its shape, ``affinity`` are
    numbers of processors, ``sustained_s`` the length of the retention curve in seconds.
    """

    against: str | None
    threads: int | Sequence[int]
    runs: int | None
    seconds: float | None
    warmup: int | None
    input_shape: Sequence[int]
    shapes: Mapping[str, tuple[int, ...]]
    runtime: str | None
    xnnpack: bool
    width: float | None
    groups: int | None
    ratio: int | None
    resolution: int | None
    reference: bool
    affinity: Sequence[int]
    profile: bool
    sustained_s: float | None
    mlperf: bool


def settle(models: Sequence[str], options: BenchOptions) -> Request:
    """Return the request. Raises UsageError for a name that is none, and for what cannot be."""
    check_names("bench_models", options, BenchOptions.__annotations__)
    plan = Plan(options.get("runs"), options.get("seconds"), options.get("warmup"))
    plan.check()
    threads = options.get("threads", 1)
    only = {"": tuple(options["input_shape"])} if "input_shape" in options else {}
    choice = Choice(
        threads=(threads,) if isinstance(threads, int) else tuple(threads),
        runtime=options.get("runtime"),
        xnnpack=options.get("xnnpack", True),
        shapes={**options.get("shapes", {}), **only},
        affinity=tuple(options.get("affinity", ())),
        net={key: value for key, value in options.items() if key in NET},
        reference=options.get("reference", True),
    )
    return Request(
        models=tuple(models),
        against=options.get("against"),
        choice=choice,
        plan=mlperf(plan) if options.get("mlperf") else plan,
        profile=options.get("profile", False),
        sustained_s=options.get("sustained_s"),
        mlperf=options.get("mlperf", False),
    )
