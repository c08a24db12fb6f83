"""What a run prints: the answer on stdout, everything else on stderr.

Text arrives as snapshots that grow. Showing one is sync and only fills a buffer; :meth:`flush`
writes it, so that a stdout that nobody reads holds up nothing but this one await.
"""

from __future__ import annotations

import contextlib
import os
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

    def show(self, message_id: str, text: str) -> None:
        """Print what is new in a message. Text that has changed instead is printed again."""
        text = text.lstrip()
        shown = self._shown.get(message_id, "")
        if not text.startswith(shown):
            self.note("the answer was withdrawn and starts over")
            shown = ""
        if not shown and text:
            self.end_line()
        self._shown[message_id] = text
        self._print(text[len(shown) :])

    def end_line(self) -> None:
        """End the line on stdout, if one is open."""
        if self._line_open:
            self._print("\n")

    def _print(self, text: str) -> None:
        if text and not self._silent:
            self._pending += text.encode("utf-8", "replace")
            self._line_open = not text.endswith("\n")

    def note(self, text: str) -> None:
        """Tell the user something on stderr, on a line of its own."""
        self.end_line()
        click.echo(text, file=self._err)

    def progress(self, text: str) -> None:
        """Tell somebody at a terminal what is going on; else nothing."""
        if self._shows_progress:
            self.note(click.style(text, dim=True))

    async def flush(self) -> None:
        """Write what has been shown, at the pace of whoever reads it.

        Raises:
            BrokenPipeError: nobody reads it any more.
        """
        await trio.lowlevel.checkpoint()
        while self._pending:
            with contextlib.suppress(OSError):  # a regular file cannot be waited for, and never blocks
                await trio.lowlevel.wait_writable(self._out)
            written = os.write(self._out, self._pending[:ROOM])
            del self._pending[:written]
