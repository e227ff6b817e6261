"""The weight file of a package (MIL blob storage, version 2).

64 bytes of header (count, version), then for each blob a 64-byte record (sentinel 0xDEADBEEF, type,
bytes, data offset, padding bits) that MIL points to, and its data, 64-byte aligned.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.formats.mil_types import TensorType
from edgeconv.formats.protobuf import CorruptFileError

SENTINEL, VERSION, RECORD = 0xDEADBEEF, 2, 64
TYPES = {
    1: np.float16,
    2: np.float32,
    3: np.uint8,
    4: np.int8,
    6: np.int16,
    7: np.uint16,
    14: np.int32,
    15: np.uint32,
}


class BlobFile:
    """A weight file, mapped; ``read`` gives checked views of its blobs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.size = path.stat().st_size
            mapped = np.memmap(path, np.uint8, "r") if self.size else np.zeros(0, np.uint8)
        except OSError as error:
            raise CorruptFileError(f"{path}: {error.strerror or error}") from error
        self.data: NDArray[np.uint8] = mapped
        if self.size < RECORD:
            raise CorruptFileError(f"{path} is cut off: {self.size} bytes are no weight file")
        _, version = struct.unpack("<II", self.data[:8].tobytes())
        if version != VERSION:
            raise CorruptFileError(f"{path} has blob storage version {version}, not {VERSION}")

    def read(self, offset: int, declared: TensorType, what: str) -> NDArray[Any]:
        """Return the array of the record at ``offset``, read-only.

        Raises CorruptFileError where the record or its data lie outside the file, or type or
        size are not the ones that ``what`` declares.
        """
        if offset < RECORD or offset % RECORD or offset > self.size - RECORD:
            raise CorruptFileError(
                f"{what} points to byte {offset} of {self.path.name}, which has {self.size}"
            )
        sentinel, code, size, start, _ = struct.unpack("<IIQQQ", self._record(offset))
        if sentinel != SENTINEL:
            raise CorruptFileError(f"{what} points to byte {offset}, where no blob begins")
        if code not in TYPES:
            raise CorruptFileError(f"{what} has blob type {code}, which the evaluator lacks")
        if np.dtype(TYPES[code]) != declared.dtype:
            raise CorruptFileError(
                f"{what} declares {declared}, its blob holds {np.dtype(TYPES[code]).name}"
            )
        wanted = int(np.prod(declared.shape, dtype=np.int64)) * declared.dtype.itemsize
        if size != wanted:
            raise CorruptFileError(
                f"{what} declares {declared}, {wanted} bytes; its blob has {size}"
            )
        if start < RECORD or start % RECORD or start > self.size - size:
            raise CorruptFileError(f"the blob of {what} reaches past the end of {self.path.name}")
        raw = np.asarray(self.data[start : start + size])
        return raw.view(declared.dtype).reshape(declared.shape)

    def _record(self, offset: int) -> bytes:
        return self.data[offset : offset + struct.calcsize("<IIQQQ")].tobytes()
