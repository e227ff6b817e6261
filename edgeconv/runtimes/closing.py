"""What every runner does at the end of its block."""

from types import TracebackType
from typing import Self


class Closing:
    """A context manager that is itself what it gives, and is closed at the end."""

    def close(self) -> None:
        """Let go of the model; runtimes free it with its last reference."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
