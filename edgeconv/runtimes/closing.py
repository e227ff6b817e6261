"""What every runner does at the end of its block."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Closing(ABC):
    """A context manager that is itself what it gives, and is closed at the end."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the model; runtimes free it with its last reference."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
