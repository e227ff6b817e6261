"""Hold numpy's own linear algebra to one thread: small matrices on more threads mostly wait.

It also makes a recipe independent of how many threads were asked for.
"""

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

PREFIXES = (("scipy_openblas_", "64_"), ("openblas_", "64_"), ("openblas_", ""))


@functools.cache
def _functions() -> tuple[Any, Any] | None:
    """Return (set, get) of the OpenBLAS that numpy's wheel carries; None for another build."""
    root = Path(np.__file__).parent
    for folder in (root.parent / "numpy.libs", root / ".dylibs"):
        for path in sorted(folder.glob("*openblas*")):
            try:
                library = ctypes.CDLL(str(path))
            except OSError:
                continue
            for head, tail in PREFIXES:
                setter = getattr(library, f"{head}set_num_threads{tail}", None)
                getter = getattr(library, f"{head}get_num_threads{tail}", None)
                if setter is not None and getter is not None:
                    return setter, getter
    return None


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run the body with single-threaded BLAS where numpy brings OpenBLAS; else change nothing."""
    found = _functions()
    if found is None:
        yield
        return
    setter, getter = found
    before = getter()
    setter(1)
    try:
        yield
    finally:
        setter(before)
