"""JSON data and what can be wrong with it."""

import copy
from collections.abc import Iterator
from typing import Any

Place = tuple[Any, ...]
"""The keys that lead to a value inside JSON data."""

WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    1 << 70,
    0.5,
    float("nan"),
    "text",
    [],
    [[]],
    {},
    {"a": 1},
)
"""Values of every kind, each wrong almost everywhere."""


def places(data: Any, here: Place = ()) -> Iterator[Place]:
    """Yield the place of every value inside ``data``."""
    pairs = (
        data.items()
        if isinstance(data, dict)
        else enumerate(data)
        if isinstance(data, list)
        else ()
    )
    for key, value in pairs:
        yield (*here, key)
        yield from places(value, (*here, key))


def at(data: Any, place: Place) -> Any:
    """Return the value that lies there."""
    for key in place:
        data = data[key]
    return data


def put(data: Any, place: Place, value: Any) -> Any:
    """Return a copy of ``data`` with ``value`` there; ``...`` takes out what is there."""
    made = copy.deepcopy(data)
    holder = at(made, place[:-1])
    if value is ...:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    return made


def wrongs(data: Any) -> list[tuple[Place, Any]]:
    """Return (place, wrong value) for every place of ``data``; ``...`` means taken out."""
    return [(place, value) for place in places(data) for value in (*WRONG, ...)]
