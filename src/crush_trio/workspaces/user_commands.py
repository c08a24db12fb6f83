"""A command that a user runs beside the agent, as terminal clients do with ``!`` (R-45).

Above it is the workspace, whose nursery owns the process; below it the shell. Its request may end it
by going away, and the workspace by closing; no cancel of a run touches it, and nobody is asked.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import attrs
import trio

from crush_trio.errors import (
    BadRequestError,
    CrushTrioError,
    UnknownSessionError,
    WorkspaceClosingError,
    error_text,
)
from crush_trio.ids import MessageID, SessionID, new_id
from crush_trio.messages import STOP, Message, ShellCommand, ShellCommandPart, encodable
from crush_trio.tools.base import Surroundings
from crush_trio.tools.capture import Capture, Captured
from crush_trio.tools.processes import Shell, quiet_environment
from crush_trio.workspaces.claims import Claims
from crush_trio.workspaces.datadir import DataDirectory

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


class UserCommands:
    """Runs the users' commands of a workspace and notes them in its sessions.

    Args:
        nursery: Owns the processes; the workspace's.
        claims: Who keeps the workspace open: a command does while it runs.
        data: Where sessions are.
        surroundings: What tools get now, and so do commands; sync.
        shell: Runs them.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        claims: Claims,
        data: DataDirectory,
        surroundings: Callable[[], Surroundings],
        shell: Shell,
    ) -> None:
        self._nursery = nursery
        self._claims = claims
        self._data = data
        self._surroundings = surroundings
        self._shell = shell

    async def run(self, session_id: SessionID, command: str) -> ShellCommand:
        """Run a command and note it in a session, if there is such a session.

        If this call is cancelled, the command is ended and nothing is noted.

        Raises:
            BadRequestError: the command cannot be run.
            WorkspaceClosingError: it was ended, because the workspace closes.
        """
        around = self._surroundings()
        grace = around.settings.kill_grace
        running = UserCommand(command, around.working_dir, around.env, self._shell, grace)
        self._nursery.start_soon(running.run, name="user's command")
        self._claims.begin(running)
        try:
            await running.finished.wait()
        finally:
            running.scope.cancel("its caller has gone")
            self._claims.end(running)
        done = running.result()
        now = int(around.now())
        parts = (ShellCommandPart(done), STOP)
        message = Message(MessageID(new_id()), session_id, "user", parts, "", "", now, now)
        try:
            await self._data.store.create_message(message).wait()
        except UnknownSessionError:
            logger.info("a command of session %s, which does not exist, is not noted", session_id)
        self._data.histories.drop(session_id)  # the next prompt tells the model of it
        return done


def _text(captured: Captured) -> str:
    if captured.lost_lines is None:
        return captured.head
    return f"{captured.head}\n... [{captured.lost_lines} lines left out] ...\n{captured.tail}"
