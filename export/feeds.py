"""Feeds kept out of memory, so that ten times the pictures take no more of it, and views of some."""

import tempfile
import weakref
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError
from edgeconv.samples import Feed

AnyFeed = TypeVar("AnyFeed", bound=Mapping[str, NDArray[np.float32]])

IN_MEMORY = 96 << 20
"""Bytes held before a file is used: 128 pictures of 3x224x224 take 77 MB."""

_Place = tuple[int, tuple[int, ...], np.dtype[np.float32]]


class Spool(Sequence[Feed]):
    """Feeds in the order they were appended; each is read anew when it is asked for.

    Beyond IN_MEMORY bytes they lie in a nameless temporary file, which ends with the object. May be
    read from several threads.
    """

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115
        # it is read for as long as anyone holds the feeds
        weakref.finalize(self, self._file.close)
        self._places: list[dict[str, _Place]] = []
        self._lock = Lock()
        self._size = 0

    def append(self, feed: Feed) -> None:
        """Add a feed; raises EdgeconvError where the temporary folder has no room for it."""
        places = {}
        try:
            for name, value in feed.items():
                whole = np.asarray(value, order="C")  # ascontiguousarray makes a scalar a vector
                self._file.seek(self._size)
                self._file.write(whole.tobytes())
                places[name] = self._size, whole.shape, whole.dtype
                self._size += whole.nbytes
        except OSError as error:
            raise EdgeconvError(
                f"{tempfile.gettempdir()} has no room for the calibration pictures"
                f" ({error.strerror or error}): free some, or set TMPDIR"
            ) from error
        self._places.append(places)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Feed: ...
    @overload
    def __getitem__(self, index: slice) -> "Chosen[Feed]": ...
    def __getitem__(self, index: int | slice) -> "Feed | Chosen[Feed]":
        if isinstance(index, slice):
            return Chosen(self, range(*index.indices(len(self))))
        return {name: self._read(*place) for name, place in self._places[index].items()}

    def _read(
        self, start: int, shape: tuple[int, ...], dtype: np.dtype[np.float32]
    ) -> NDArray[np.float32]:
        with self._lock:
            self._file.seek(start)
            data = self._file.read(int(np.prod(shape)) * dtype.itemsize)
        return np.frombuffer(data, dtype).reshape(shape)


class Chosen(Sequence[AnyFeed]):
    """The feeds at ``places``, in that order, each read only when asked for; so are its slices."""

    def __init__(self, feeds: Sequence[AnyFeed], places: Sequence[int]) -> None:
        self._feeds, self._places = feeds, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> AnyFeed: ...
    @overload
    def __getitem__(self, index: slice) -> "Chosen[AnyFeed]": ...
    def __getitem__(self, index: int | slice) -> "AnyFeed | Chosen[AnyFeed]":
        if isinstance(index, slice):
            return Chosen(self._feeds, self._places[index])
        return self._feeds[self._places[index]]


class Mixed(Sequence[Feed]):
    """Feeds of one sample each, repeated over the batch, as feeds of ``size`` samples, each in one of them.

    A file that mixes up its batch, or computes one of it for all, gives the same for repeated samples. Intervals
    count rows, so no sample is twice among them; those that fill no feed are left out, and begin again only
    where there is no whole feed of them.
    """

    def __init__(self, feeds: Sequence[Feed], size: int) -> None:
        self._feeds, self._size = feeds, size

    def __len__(self) -> int:
        return max(1, len(self._feeds) // self._size)

    def samples(self, index: int) -> list[int]:
        """Return which samples the rows of a feed are of."""
        return [(index * self._size + row) % len(self._feeds) for row in range(self._size)]

    @overload
    def __getitem__(self, index: int) -> Feed: ...
    @overload
    def __getitem__(self, index: slice) -> Chosen[Feed]: ...
    def __getitem__(self, index: int | slice) -> Feed | Chosen[Feed]:
        if isinstance(index, slice):
            return Chosen(self, range(*index.indices(len(self))))
        if not 0 <= index < len(self):
            raise IndexError(index)
        found = [self._feeds[sample] for sample in self.samples(index)]
        return {
            name: np.concatenate([feed[name][row : row + 1] for row, feed in enumerate(found)])
            if len(np.atleast_1d(value)) == self._size
            else value
            for name, value in found[0].items()
        }


def mixed(feeds: Sequence[Feed]) -> Sequence[Feed]:
    """Return ``feeds`` with different samples in each batch, where one sample fills it."""
    first = feeds[0] if len(feeds) else {}
    size = next((len(value) for value in first.values() if value.ndim), 1)
    batches = [value for value in first.values() if value.ndim and len(value) == size]
    repeated = all(np.array_equal(value, np.repeat(value[:1], size, axis=0)) for value in batches)
    return Mixed(feeds, size) if size > 1 and repeated else feeds
