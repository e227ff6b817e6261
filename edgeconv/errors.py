"""The errors a user can cause. They print as one sentence; anything else is a bug and keeps its traceback."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager

NEAREST = 3
"""Names that a sentence offers: a net has hundreds."""


class EdgeconvError(Exception):
    """Something the user can fix: the text names the file, tensor or option and what to do.

    Exit code 1.
    """

    exit_code = 1


class UsageError(EdgeconvError):
    """An argument that cannot be right whatever the files hold. Exit code 2."""

    exit_code = 2


class UnsupportedOpError(EdgeconvError):
    """A target cannot express an operator: names op, node and the nearest supported form."""


class BudgetMissedError(EdgeconvError):
    """The work was done and the result is outside the budget the user named. Exit code 3."""

    exit_code = 3


BRIEF = 200


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turn whatever a reader of foreign data stumbles over into an EdgeconvError that starts with ``what``.

    Readers of others (protobuf, runtimes, numpy) raise whatever they like on a file that
    contradicts itself. Memory that does not suffice is left to the caller.
    """
    try:
        yield
    except (EdgeconvError, MemoryError):
        raise
    except RecursionError as error:
        raise EdgeconvError(f"{what}: it is nested too deeply") from error
    except OSError as error:
        of = "" if error.filename is None else f" ({error.filename})"
        raise EdgeconvError(f"{what}: {error.strerror or error}{of}") from error
    except Exception as error:
        if isinstance(error.__cause__, KeyboardInterrupt):  # Ctrl-C while an extension was loaded
            raise error.__cause__ from None
        said = brief(error)
        reason = f"{type(error).__name__}: {said}" if said else type(error).__name__
        raise EdgeconvError(f"{what}, it holds what cannot be ({reason})") from error


def brief(error: BaseException) -> str:
    """Return the first line of what another library says, cut where it repeats the whole file."""
    line = (str(error).strip().splitlines() or [""])[0]
    return line if len(line) <= BRIEF else f"{line[:BRIEF]}..."


def an(kind: str) -> str:
    """Return the name of a type with its article.

    >>> an("int"), an("list")
    ('an int', 'a list')
    """
    return f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def check_names(call: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise UsageError for an option that ``call`` does not have, with the nearest that it has."""
    names = list(known)
    for name in given:
        if name not in names:
            hint = nearest(name, names, f"it takes {', '.join(sorted(names))}")
            raise UsageError(f"{call} has no option {name}: {hint}")


def nearest(name: str, known: Iterable[str], otherwise: str) -> str:
    """Return the question after the one of ``known`` that ``name`` may stand for, or ``otherwise``.

    >>> nearest("exprot", ["export", "run"], "look at --help")
    'did you mean export?'
    """
    from difflib import get_close_matches

    near = get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]}?" if near else otherwise


def refuse_unknown(kind: str, names: Iterable[str], known: Collection[str], where: str) -> None:
    """Raise UsageError for the first of ``names`` that is none of ``known``: the nearest, or some, and how many.

    >>> refuse_unknown("node", ["Conv_22"], [f"Conv_{i}" for i in range(14)], "the net")
    Traceback (most recent call last):
    edgeconv.errors.UsageError: no node is called Conv_22: the net has 14, did you mean Conv_2 or Conv_12 or Conv_9?
    """
    from difflib import get_close_matches

    for name in names:
        if name in known:
            continue
        there = sorted(known)
        near = get_close_matches(name, there, NEAREST) or [
            n for n in there if name.lower() in n.lower()
        ]
        if len(there) <= NEAREST:
            said = f"{where} has {', '.join(there)}"
        elif near:
            said = f"{where} has {len(there)}, did you mean {' or '.join(near[:NEAREST])}?"
        else:
            said = f"{where} has {len(there)}, such as {', '.join(there[:NEAREST])}"
        raise UsageError(f"no {kind} is called {name}: {said}")
