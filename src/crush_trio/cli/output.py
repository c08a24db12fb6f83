"""What a run prints: the answer on stdout, everything else on stderr.

Text arrives as snapshots that grow. Showing one is sync and only fills a buffer; :meth:`flush`
writes it, so that a stdout that nobody reads holds up nothing but this one await.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from typing import TextIO

import click
import trio

ROOM = 4096
"""Bytes that a pipe which is writable takes without blocking (PIPE_BUF on Linux; POSIX: 512)."""


class Output:
    """Where one run prints.

    Args:
        silent: Keep the answer off stdout, as for ``--json``.
        out: File descriptor of stdout.
        err: Where notes go.
        progress: Whether to show what the agent does; by default if ``err`` is a terminal.
    """

    def __init__(
        self,
        *,
        silent: bool = False,
        out: int = 1,
        err: TextIO | None = None,
        progress: bool | None = None,
    ) -> None:
        self._silent = silent
        self._out = out
        self._is_terminal = os.isatty(out)
        self._err = err or sys.stderr
        self._shows_progress = self._err.isatty() if progress is None else progress
        self._shown: dict[str, str] = {}
        self._pending = bytearray()
        self._line_open = False

    def __repr__(self) -> str:
        return f"<Output {len(self._shown)} messages, {len(self._pending)} bytes unwritten>"

    @property
    def has_text(self) -> bool:
        """Whether any of the answer has been shown."""
        return any(self._shown.values())

    def show(self, message_id: str, text: str, *, final: bool = False) -> None:
        """Print what is new in a message.

        A snapshot that is shorter than what was shown may only be late, so nothing happens until a
        later one contradicts what was shown, or is the ``final`` one: then it is printed anew.
        """
        text = text.lstrip()
        shown = self._shown.get(message_id, "")
        if shown.startswith(text) and not (final and shown != text):
            return
        if not text.startswith(shown):
            self.note("the answer was withdrawn and starts over")
            shown = ""
        if not shown:
            self.end_line()
        self._shown[message_id] = text
        if not self._silent:
            self._print(text[len(shown) :])

    def end_line(self) -> None:
        """End the line on stdout, if one is open."""
        if self._line_open:
            self._print("\n")

    def print_line(self, text: str) -> None:
        """Print a line of its own on stdout, silent or not."""
        self.end_line()
        self._print(f"{text}\n")

    def _print(self, text: str) -> None:
        if text:
            shown = printable(text) if self._is_terminal else text
            self._pending += shown.encode("utf-8", "replace")
            self._line_open = not text.endswith("\n")

    def note(self, text: str) -> None:
        """Tell the user something on stderr, on a line of its own."""
        self._tell(printable(text))

    def progress(self, text: str) -> None:
        """Tell somebody at a terminal what is going on; else nothing."""
        if self._shows_progress:
            self._tell(click.style(printable(text), dim=True))

    def _tell(self, line: str) -> None:
        if self._is_terminal:  # else the answer goes elsewhere, and stays as it is
            self.end_line()
            self.write_now()
        click.echo(line, file=self._err)

    async def flush(self) -> None:
        """Write what has been shown, at the pace of whoever reads it.

        Raises:
            BrokenPipeError: nobody reads it any more.
        """
        await trio.lowlevel.checkpoint()
        while self._pending:
            with contextlib.suppress(OSError):  # a regular file cannot be waited for: never blocks
                await trio.lowlevel.wait_writable(self._out)
            self._write_some()

    def write_now(self) -> None:
        """Write what stdout takes at once, and wait for nobody. Not a checkpoint."""
        while self._pending and select.select([], [self._out], [], 0)[1]:
            self._write_some()

    def _write_some(self) -> None:
        del self._pending[: os.write(self._out, self._pending[:ROOM])]


def printable(text: str) -> str:
    """Return ``text`` with what would steer a terminal spelled out: a model may have written it."""
    return "".join(
        char if char.isprintable() or char in "\n\t" else repr(char)[1:-1] for char in text
    )
