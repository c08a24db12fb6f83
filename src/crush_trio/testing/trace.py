"""What a simulated network carried, byte for byte, with the virtual times."""

from __future__ import annotations

import hashlib

import attrs


@attrs.frozen
class Passed:
    """One thing that happened on a connection.

    Attributes:
        time: Virtual seconds.
        connection: Its number, counted from 1 in the order in which they were opened.
        what: ``>`` for bytes of a request, ``<`` for bytes of an answer, else ``!``.
        data: The bytes, or what happened.
    """

    time: float
    connection: int
    what: str
    data: bytes

    def __str__(self) -> str:
        return f"{self.time!r} {self.connection} {self.what} {self.data!r}"


@attrs.define(eq=False)
class Trace:
    """Everything that has passed so far, in order."""

    passed: list[Passed] = attrs.field(factory=list[Passed])

    def __str__(self) -> str:
        """Return it as text: one line for each thing."""
        return "".join(f"{each}\n" for each in self.passed)

    def answers(self, connection: int) -> bytes:
        """Return all that the server has sent on a connection."""
        return self._joined(connection, "<")

    def requests(self, connection: int) -> bytes:
        """Return all that the client has sent on a connection."""
        return self._joined(connection, ">")

    def digest(self) -> str:
        """Return a short text that differs if anything differs."""
        return hashlib.sha256(str(self).encode()).hexdigest()[:16]

    def _joined(self, connection: int, what: str) -> bytes:
        return b"".join(
            each.data for each in self.passed if each.connection == connection and each.what == what
        )
