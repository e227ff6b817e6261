"""What a class that is a context of its own does at the end of its block."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Closing(ABC):
    """A context manager that is itself what it gives, and is closed at the end."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what is held: a model, which runtimes free with its last reference, a child, a thread."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
