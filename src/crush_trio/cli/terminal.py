"""Questions to somebody at a terminal."""

from __future__ import annotations

import os
import termios

import trio

from crush_trio.cli.following import call_line
from crush_trio.cli.output import Output
from crush_trio.wire.permissions import GrantAction, PermissionRequest

ANSWERS: dict[str, GrantAction] = {
    "y": "allow",
    "yes": "allow",
    "a": "allow_session",
    "always": "allow_session",
    "n": "deny",
    "no": "deny",
}
"""What can be typed."""


class Terminal:
    """Somebody who can be asked: a terminal on stdin."""

    def __init__(self, output: Output, stdin: int = 0) -> None:
        self._output = output
        self._stdin = stdin
        self._turn = trio.StrictFIFOLock()  # one question at a time; a withdrawn one may linger

    async def ask(self, request: PermissionRequest) -> GrantAction:
        """Ask until there is an answer that makes sense. The end of the input denies.

        A cancel leaves the question unanswered on the screen.
        """
        async with self._turn:
            # What was typed before the question was seen is no answer to it.
            termios.tcflush(self._stdin, termios.TCIFLUSH)
            self._output.note(f"\n{describe(request)}")
            while True:
                self._output.note("Allow it? [y]es, [n]o, [a]lways in this session")
                await trio.lowlevel.wait_readable(self._stdin)
                line = os.read(self._stdin, 1024)
                answer = ANSWERS.get(line.decode("utf-8", "replace").strip().lower())
                if not line or answer is not None:
                    return answer or "deny"


def describe(request: PermissionRequest) -> str:
    """Return what a request asks for, in a line or two."""
    what = request.description or call_line(request.tool_name, "")
    return f"{request.tool_name} asks for permission: {what} (in {request.path})"
