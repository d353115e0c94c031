"""The client side of i-PI's socket protocol, which ASE's ``SocketIOCalculator`` serves too.

The package ``ipi`` is not needed. A message is a text of 12 bytes, followed by its data in the
byte order of the machine. The server asks for the status, sends positions and fetches forces.
The client ends when the server says so or is gone.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muse_lr.errors import InputError
from muse_lr.interfaces.ipi_driver import BeadResult, IPIDriver

#: Length of the text of a message.
HEADER = 12
#: What i-PI and ASE prepend to the name of a Unix socket.
PREFIX = "/tmp/ipi_"
#: s between two attempts to connect.
PAUSE = 0.1


class ConnectionLost(Exception):  # noqa: N818
    """The server closed the connection without a word."""


@dataclass(frozen=True)
class Address:
    """Where the server listens.

    Attributes
    ----------
    unix : str or None
        Name of a Unix socket on this machine, as in i-PI's ``<address>``.
    host : str
        Name of the machine of a TCP socket; used if ``unix`` is None.
    port : int
        Port of the TCP socket.
    prefix : str
        Text before ``unix`` in the path of the socket file.
    """

    unix: str | None = None
    host: str = "localhost"
    port: int = 31415
    prefix: str = PREFIX

    @property
    def path(self) -> Path | None:
        """The file of a Unix socket."""
        return None if self.unix is None else Path(self.prefix + self.unix)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.path is None else str(self.path)

    def open(self) -> socket.socket:
        """Connect once; raise OSError if nobody listens."""
        if self.path is None:
            found = socket.create_connection((self.host, self.port))
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return found
        found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            found.connect(str(self.path))
        except OSError:
            found.close()
            raise
        return found

    def remove_if_dead(self) -> None:
        """Delete the file of a Unix socket on which nobody listens any more."""
        if self.path is None:
            return
        time.sleep(2 * PAUSE)  # a killed server closes its sockets one after the other
        try:
            self.open().close()
        except ConnectionRefusedError:
            self.path.unlink(missing_ok=True)
        except OSError:
            pass


def serve(driver: IPIDriver, address: Address, wait: float = 60.0) -> bool:
    """Connect to a server and compute what it asks for until it ends.

    Parameters
    ----------
    driver : IPIDriver
        The model.
    address : Address
        Where the server listens.
    wait : float
        How long to wait for the server at the start, s.

    Returns
    -------
    bool
        Whether the server ended the run. False if it was gone without a word, for example because
        it was killed. The file of its Unix socket is then deleted.

    Raises
    ------
    InputError
        If no server listens, or if the model refuses a structure.
    """
    with _connect(address, wait) as connection:
        try:
            _Session(connection, driver).run()
        except (ConnectionLost, ConnectionError):
            lost = True
        else:
            lost = False
    if lost:
        address.remove_if_dead()
    return not lost


def _connect(address: Address, wait: float) -> socket.socket:
    end = time.monotonic() + wait
    while True:
        try:
            return address.open()
        except OSError as error:
            if time.monotonic() > end:
                raise InputError(
                    f"no server listens at {address} ({error.strerror or error}): start it first, "
                    "with the same address"
                ) from error
        time.sleep(PAUSE)


class _Session:
    """The exchange of messages with one server."""

    def __init__(self, connection: socket.socket, driver: IPIDriver) -> None:
        self.connection, self.driver = connection, driver
        self.ready, self.beads = False, 1
        self.results: list[BeadResult] = []

    def run(self) -> None:
        """Answer messages until EXIT."""
        answers: dict[str, Callable[[], None]] = {
            "STATUS": self._status,
            "INIT": self._init,
            "POSDATA": self._compute,
            "GETFORCE": self._send_forces,
        }
        while (message := self._receive(HEADER).decode("ascii", "replace").strip()) != "EXIT":
            if message not in answers:
                raise InputError(
                    f"the server sent {message!r}, which is none of {', '.join(answers)}, EXIT: "
                    "it does not speak the protocol of i-PI"
                )
            answers[message]()

    def _status(self) -> None:
        self._say("HAVEDATA" if self.results else "READY" if self.ready else "NEEDINIT")

    def _init(self) -> None:
        """Read the number of beads in a batch, which i-PI writes into its text of parameters."""
        _, length = self._numbers(2, np.int32)
        for entry in self._receive(int(length)).decode("utf-8", "replace").split(","):
            key, _, value = entry.partition(":")
            if key.strip() == "batch_size":
                self.beads = int(value)
        self.ready = True

    def _compute(self) -> None:
        if self.beads == 1:
            cells = self._numbers(18, np.float64)[None]
            atoms = int(self._numbers(1, np.int32)[0])
        else:
            atoms = int(self._numbers(1, np.int32)[0])
            cells = self._numbers(18 * self.beads, np.float64).reshape(self.beads, 18)
        positions = self._numbers(3 * atoms * self.beads, np.float64)
        # The other nine numbers of a cell are its inverse.
        self.results = self.driver.evaluate(
            list(cells[:, :9].reshape(-1, 3, 3)), list(positions.reshape(self.beads, atoms, 3))
        )

    def _send_forces(self) -> None:
        """Energies, number of atoms, forces, virials and extras, each for all beads."""
        found, self.results = self.results, []
        if not found:
            raise InputError("the server asks for forces before it has sent positions")
        self._say(
            "FORCEREADY",
            np.array([each.energy for each in found]).tobytes(),
            np.int32(len(found[0].forces)).tobytes(),
            np.array([each.forces for each in found]).tobytes(),
            np.array([each.virial for each in found]).tobytes(),
            *(part for each in found for part in _text(each.extras)),
        )

    def _say(self, message: str, *data: bytes) -> None:
        self.connection.sendall(b"".join((message.ljust(HEADER).encode(), *data)))

    def _numbers(self, count: int, dtype: Any) -> NDArray[Any]:
        return np.frombuffer(self._receive(count * np.dtype(dtype).itemsize), dtype)

    def _receive(self, length: int) -> bytes:
        parts = bytearray()
        while len(parts) < length:
            part = self.connection.recv(length - len(parts))
            if not part:
                raise ConnectionLost
            parts += part
        return bytes(parts)


def _text(text: str) -> tuple[bytes, bytes]:
    encoded = text.encode()
    return np.int32(len(encoded)).tobytes(), encoded
