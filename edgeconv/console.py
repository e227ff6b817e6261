"""Rich's console for our tables; whatever a foreign name holds, it prints as plain text."""

from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from edgeconv.terminal import plain


class PlainConsole(Console):
    """A console whose text holds no control characters; its own styles stay."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Yield the segments of ``renderable``, each with its text made plain."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(plain(segment.text), segment.style)
