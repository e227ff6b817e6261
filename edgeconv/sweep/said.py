"""Where the fields of a job were said, for the errors that name them: in a job file, or on the command line."""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeconv.errors import EdgeconvError

OPTION = re.compile(r"(?<![\w-])--(no-)?([a-z][a-z0-9]*(?:-[a-z0-9]+)*)")


@contextmanager
def naming(file: Path | None, keys: Collection[str], options: Collection[str]) -> Iterator[None]:
    """Let an error name the ``keys`` that stand in ``file`` as they stand there; both hold fields of Job."""
    try:
        yield
    except EdgeconvError as error:
        if file is not None:
            error.args = (in_words(str(error), file, keys, options),)
        raise


def in_words(text: str, file: Path, keys: Collection[str], options: Collection[str]) -> str:
    """Return ``text`` with a key of ``file`` for the option of its name, and what was said beside it as such.

    >>> said = "--seconds is about timing files, and --no-bench times none: leave one out"
    >>> in_words(said, Path("job.toml"), {"seconds"}, {"bench"})
    "job.toml's seconds is about timing files, and --no-bench (command line) times none: leave one out"
    """

    def field(found: re.Match[str]) -> str:
        return found[2].replace("-", "_")

    def name(found: re.Match[str]) -> str:
        if field(found) in keys:
            return f"{file.name}'s {found[2]}{' = false' if found[1] else ''}"
        return f"{found[0]} (command line)" if field(found) in options else found[0]

    stands_there = any(field(found) in keys for found in OPTION.finditer(text))
    return OPTION.sub(name, text) if stands_there else text
