"""Reading an event stream, sans I/O: bytes in, the JSON of each ``data:`` line out.

Crush's own rules (wire contract 5.2): one event is one ``data:`` line, empty lines are nothing,
every other line is ignored. Ids are ours: an ``id:`` line stands before the ``data:`` line that it
numbers, or alone. Writing needs no code: :attr:`wire.events.Event.frame` is the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator


class SSEReader:
    """Cut a stream of bytes, however it was split on its way, into ``data:`` lines."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._id: int | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the content of each ``data:`` line that ``data`` completes."""
        for line in self._complete(data):
            if line.startswith(b"data:"):
                yield line[5:].strip()

    def feed_numbered(self, data: bytes) -> Iterator[tuple[int | None, bytes]]:
        """Yield the same with the id of each, if it has one.

        An id that stands alone comes with no content: the reader has passed it.
        """
        for line in self._complete(data):
            if line.startswith(b"data:"):
                yield self._take_id(), line[5:].strip()
            elif line.startswith(b"id:"):
                number = line[3:].strip()
                self._id = int(number) if number.isdigit() and len(number) < 20 else None
            elif self._id is not None and not line.strip():
                yield self._take_id(), b""

    def _take_id(self) -> int | None:
        number, self._id = self._id, None
        return number

    def _complete(self, data: bytes) -> list[bytes]:
        """Return the lines that ``data`` completes."""
        *complete, rest = data.split(b"\n")
        if complete:
            complete[0] = b"".join([*self._rest, complete[0]])
            self._rest.clear()
        if rest:
            self._rest.append(rest)
        return complete
