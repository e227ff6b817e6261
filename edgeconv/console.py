"""Rich's console for our tables; whatever a foreign name holds, it prints as plain text."""

from collections.abc import Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from edgeconv.terminal import one_line, plain


class PlainConsole(Console):
    """A console whose text holds no control characters; its own styles stay.

    Text that is printed by itself is one line: a name's line feed would begin a line of its own.
    """

    def print(self, *objects: Any, **options: Any) -> None:
        """Print ``objects`` as rich does."""
        super().print(*map(_one_line, objects), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Yield the segments of ``renderable``, each with its text made plain."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(plain(segment.text), segment.style)


def _one_line(printed: Any) -> Any:
    if isinstance(printed, Text) and "\n" in printed.plain:
        return Text(one_line(printed.plain), printed.style)
    return one_line(printed) if isinstance(printed, str) else printed
