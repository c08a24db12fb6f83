"""Reading an event stream, sans I/O: bytes in, the JSON of each ``data:`` line out.

Crush's own rules (wire contract 5.2): one event is one ``data:`` line, empty lines are nothing,
every other line is ignored. Writing needs no code: :attr:`wire.events.Event.frame` is the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator


class SSEReader:
    """Cut a stream of bytes, however it was split on its way, into ``data:`` lines."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the content of each ``data:`` line that ``data`` completes."""
        *complete, rest = data.split(b"\n")
        if complete:
            complete[0] = b"".join([*self._rest, complete[0]])
            self._rest.clear()
        if rest:
            self._rest.append(rest)
        for line in complete:
            if line.startswith(b"data:"):
                yield line[5:].strip()
