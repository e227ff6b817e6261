"""A device for the system's own adb: what adbd does of adb's protocol, on a port of this machine.

Messages are 24 bytes (command, two arguments, length, sum, the command's complement) and data; a shell's
stream holds packets of one byte, a length and data ("shell,v2"). See protocol.txt and shell_protocol.h of
Android's packages/modules/adb.
"""

import contextlib
import queue
import socket
import struct
import subprocess
import threading
from collections.abc import Iterator, Mapping
from typing import IO

VERSION, MOST = 0x01000001, 1 << 18
BANNER = b"device::ro.product.name=fake;ro.product.model=Fake;ro.product.device=fake;features=shell_v2,cmd"
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)


class Stream:
    """One command of a shell: what it prints goes out a packet at a time, each after the one before was taken."""

    def __init__(self, device: "Device", own: int, other: int, command: str) -> None:
        self.device, self.own, self.other = device, own, other
        self.taken = threading.Semaphore(1)
        self.held = b""
        self.given: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.child = subprocess.Popen(
            ["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, env=dict(device.environment),
        )  # fmt: skip
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        pumps = [
            threading.Thread(target=self._pump, args=(kind, pipe), daemon=True)
            for kind, pipe in ((STDOUT, self.child.stdout), (STDERR, self.child.stderr))
        ]
        threading.Thread(target=self._feed, daemon=True).start()
        for pump in pumps:
            pump.start()
        for pump in pumps:
            pump.join()
        self._packet(EXIT, bytes([self.child.wait() & 0xFF]))
        self.taken.acquire()
        self.device.send(b"CLSE", self.own, self.other)

    def _pump(self, kind: int, pipe: IO[bytes]) -> None:
        while data := pipe.read1(1 << 15):  # type: ignore[attr-defined] # a BufferedReader
            self._packet(kind, data)
        pipe.close()

    def _feed(self) -> None:
        """Hand standard input on: by a thread of its own, since the command may wait for its output to be taken."""
        assert self.child.stdin is not None
        with contextlib.suppress(OSError):  # the command has ended
            while (data := self.given.get()) is not None:
                self.child.stdin.write(data)
                self.child.stdin.flush()
        with contextlib.suppress(OSError):
            self.child.stdin.close()

    def _packet(self, kind: int, data: bytes) -> None:
        self.taken.acquire()
        self.device.send(b"WRTE", self.own, self.other, struct.pack("<BI", kind, len(data)) + data)

    def take(self, data: bytes) -> None:
        """Take a piece of the stream that the host sends: packets of standard input, and its end."""
        self.held += data
        while len(self.held) >= 5:
            kind, length = struct.unpack_from("<BI", self.held)
            if len(self.held) < 5 + length:
                return
            packet, self.held = self.held[5 : 5 + length], self.held[5 + length :]
            if kind == STDIN:
                self.given.put(packet)
            elif kind == CLOSE_STDIN:
                self.given.put(None)


class Device:
    """Listens on ``port`` of 127.0.0.1; commands run in this machine's sh with ``environment``."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self.opened: list[str] = []
        self._streams: dict[int, Stream] = {}
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def serial(self) -> str:
        """What adb calls it."""
        return f"127.0.0.1:{self.port}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                self._connection, _ = self._listening.accept()
                self._talk(self._connection)

    def _talk(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError), connection.makefile("rb") as incoming:
            while head := incoming.read(24):
                name, first, second, length, _, _ = struct.unpack("<4s5I", head)
                self._answer(name, first, second, incoming.read(length))

    def _answer(self, name: bytes, first: int, second: int, data: bytes) -> None:
        stream = self._streams.get(second)
        if name == b"CNXN":
            self.send(b"CNXN", VERSION, MOST, BANNER)
        elif name == b"OPEN":
            service, _, command = data.rstrip(b"\0").decode().partition(":")
            self.opened.append(service)
            own = len(self.opened)
            if not service.startswith("shell,v2"):
                self.send(b"CLSE", 0, first)
                return
            self.send(b"OKAY", own, first)
            self._streams[own] = Stream(self, own, first, command)
        elif name == b"OKAY" and stream is not None:
            stream.taken.release()
        elif name == b"WRTE" and stream is not None:
            stream.take(data)
            self.send(b"OKAY", second, first)

    def send(self, name: bytes, first: int, second: int, data: bytes = b"") -> None:
        """Send one message to the host."""
        code = int.from_bytes(name, "little")
        head = struct.pack(
            "<4s5I", name, first, second, len(data), sum(data) & 0xFFFFFFFF, code ^ 0xFFFFFFFF
        )
        with self._lock, contextlib.suppress(OSError):
            assert self._connection is not None
            self._connection.sendall(head + data)

    def close(self) -> None:
        """Be gone, as a phone whose cable is pulled."""
        self._listening.close()
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
            self._connection.close()


@contextlib.contextmanager
def device(environment: Mapping[str, str]) -> Iterator[Device]:
    """Yield a device that adb's own server, which the caller has named a port, is connected to."""
    found = Device(environment)
    try:
        said = subprocess.run(
            ["adb", "connect", found.serial], capture_output=True, text=True, timeout=60
        )
        assert f"connected to {found.serial}" in said.stdout, said.stdout + said.stderr
        yield found
    finally:
        found.close()
        subprocess.run(["adb", "kill-server"], capture_output=True, timeout=60)
