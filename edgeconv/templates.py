"""Templates to text: pages escape what they show, programs write it as literals of their language."""

import functools
import json
import re
from collections.abc import Callable
from typing import Any

from edgeconv.deps import require
from edgeconv.reports.svg import look


def c_string(text: str) -> str:
    r"""Return a C literal of the UTF-8 bytes.

    >>> print(c_string('a "b" \n é?'))
    "a \"b\" \012 \303\251\077"
    """
    safe = {*map(ord, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ")}
    safe |= {*map(ord, "!#$%&'()*+,-./:;<=>@[]^_`{|}~")}
    made = (chr(b) if b in safe else f"\\{b:03o}" for b in text.encode("utf-8", "replace"))
    return '"' + "".join('\\"' if part == "\\042" else part for part in made) + '"'


def comment(text: str) -> str:
    r"""Return the text in quotes, as any comment of C, C++ may hold it: on one line, neither begun nor ended by it.

    >>> print(comment('a */ "é" \n'))
    "a *\/ \"é\" \n"
    """
    told = json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False)
    return told.replace("/*", "\\/*").replace("*/", "*\\/")


def kotlin_string(text: str) -> str:
    r"""Return a Kotlin literal: JSON's, with the dollar of a template escaped.

    >>> print(kotlin_string('cost $5'))
    "cost \$5"
    """
    return json.dumps(text).replace("$", "\\$").replace("\\f", "\\u000c")


def swift_string(text: str) -> str:
    r"""Return a Swift literal.

    >>> print(swift_string('é "x" \n'))
    "\u{e9} \"x\" \u{a}"
    """
    made = (c if " " <= c <= "~" and c not in '"\\' else f"\\u{{{ord(c):x}}}" for c in text)
    return '"' + "".join(made).replace("\\u{22}", '\\"') + '"'


LITERALS: dict[str, Callable[[Any], str]] = {
    "python": repr,
    "c": c_string,
    "kotlin": kotlin_string,
    "swift": swift_string,
}


def apart(text: str) -> list[str]:
    """Return ``text`` in parts, every second of which is an option: a page breaks no line inside one.

    >>> apart("take --keep-float worst:3")
    ['take ', '--keep-float', ' worst:3']
    """
    return re.split(r"(?<!\S)(--[a-z][a-z0-9-]*)", text)


def f32(value: float) -> str:
    """Return the shortest decimal that is this float32, with a point in it.

    >>> f32(0.1), f32(127.5), f32(1e-7)
    ('0.1', '127.5', '1e-07')
    """
    import numpy as np

    return str(np.float32(value).item() if float(value).is_integer() else np.float32(value))


@functools.cache
def _environment(package: str) -> Any:
    jinja2 = require("jinja2", "pages")
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("edgeconv", package),
        autoescape=lambda name: bool(name) and ".html" in name,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters.update({**LITERALS, "apart": apart, "comment": comment, "f32": f32, "look": look})
    return made


def render(package: str, template: str, **context: Any) -> str:
    """Return ``template`` of ``edgeconv/<package>/`` filled with ``context``.

    Raises MissingDependencyError without jinja2.
    """
    return str(_environment(package).get_template(template).render(**context))
