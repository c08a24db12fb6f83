"""Questions to somebody at a terminal."""

from __future__ import annotations

import os
import termios

import trio

from crush_trio.cli.following import call_line
from crush_trio.cli.output import Output
from crush_trio.cli.questions import lines_of, response_to
from crush_trio.wire.permissions import GrantAction, PermissionRequest
from crush_trio.wire.questions import QuestionRequest, QuestionResponse

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
                line = await self._read_line()
                answer = ANSWERS.get((line or "").strip().lower())
                if line is None or answer is not None:
                    return answer or "deny"

    async def answer(self, batch: QuestionRequest) -> list[QuestionResponse] | None:
        """Ask the questions one after the other; the end of the input refuses them all.

        A cancel leaves them unanswered on the screen.
        """
        async with self._turn:
            termios.tcflush(self._stdin, termios.TCIFLUSH)
            responses: list[QuestionResponse] = []
            for item in batch.questions:
                response: QuestionResponse | None = None
                while response is None:
                    self._output.note("\n".join(lines_of(item)))
                    line = await self._read_line()
                    if line is None:
                        return None
                    response = response_to(item, line)
                responses.append(response)
            return responses

    async def _read_line(self) -> str | None:
        """Wait for a line that somebody types; None at the end of the input."""
        await trio.lowlevel.wait_readable(self._stdin)
        line = os.read(self._stdin, 1024)
        return line.decode("utf-8", "replace") if line else None


def describe(request: PermissionRequest) -> str:
    """Return what a request asks for, in a line or two."""
    what = request.description or call_line(request.tool_name, "")
    return f"{request.tool_name} asks for permission: {what} (in {request.path})"
