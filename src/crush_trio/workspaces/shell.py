"""A command that a user runs beside the agent, as terminal clients do with ``!`` (R-45).

Above it is the workspace, whose nursery owns the process; below it the shell. Its request may end it
by going away, and the workspace by closing; no cancel of a run touches it, and nobody is asked.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import attrs
import trio

from crush_trio.errors import BadRequestError, CrushTrioError, WorkspaceClosingError, error_text
from crush_trio.messages import ShellCommand, encodable
from crush_trio.tools.capture import Capture, Captured
from crush_trio.tools.processes import Shell, quiet_environment

logger = logging.getLogger(__name__)

KEEP = 2 * 2**20
"""Bytes kept of either end of what a command writes; nobody reads more in a conversation."""

COLOURS = {"COLORTERM": "truecolor", "CLICOLOR_FORCE": "1", "FORCE_COLOR": "1"}
"""What lets programs write colours although no terminal is there (wire contract R-45)."""


@attrs.define(eq=False)
class UserCommand:
    """One command, from its start to its end.

    Attributes:
        scope: Ends the command with all of its processes.
        finished: Set when none of them is left.
    """

    command: str
    working_dir: str
    env: Mapping[str, str] = attrs.field(repr=False)
    shell: Shell = attrs.field(repr=False)
    grace: float = attrs.field(repr=False)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False, repr=False)
    finished: trio.Event = attrs.field(factory=trio.Event, init=False, repr=False)
    _stdout: Capture = attrs.field(factory=lambda: Capture(KEEP), init=False, repr=False)
    _stderr: Capture = attrs.field(factory=lambda: Capture(KEEP), init=False, repr=False)
    _status: int | None = attrs.field(default=None, init=False)
    _error: CrushTrioError | None = attrs.field(default=None, init=False)

    async def run(self) -> None:
        """Run it to its end. An error of it stays here (C3)."""
        try:
            with self.scope:
                self._status = await self.shell(
                    self.command,
                    working_dir=self.working_dir,
                    env=quiet_environment({**self.env, **COLOURS}),
                    stdout=self._stdout,
                    stderr=self._stderr,
                    grace=self.grace,
                )
        except (OSError, ValueError) as error:
            self._error = BadRequestError(f"command cannot be run: {error_text(error)}")
        except Exception as error:
            logger.exception("a user's command failed")
            self._error = CrushTrioError(f"command failed: {error_text(error)}")
        finally:
            self.finished.set()

    def result(self) -> ShellCommand:
        """Return what it wrote and how it ended. Not a checkpoint; only once it has finished.

        Raises:
            BadRequestError: it cannot be run.
            WorkspaceClosingError: it was ended, because the workspace closes.
        """
        if self._error is not None:
            raise self._error
        if self._status is None:
            raise WorkspaceClosingError
        stdout, stderr = _text(self._stdout.text()), _text(self._stderr.text())
        between = "\n" if stdout and stderr else ""
        return ShellCommand(self.command, encodable(stdout + between + stderr), self._status)


def _text(captured: Captured) -> str:
    if captured.lost_lines is None:
        return captured.head
    return f"{captured.head}\n... [{captured.lost_lines} lines left out] ...\n{captured.tail}"
