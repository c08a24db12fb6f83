r"""A shell that reads like a script: the twin of real processes for virtual time.

It stands where :func:`crush_trio.tools.processes.run_shell` stands; nothing is executed. A
contract test holds it to what the real one does.

Synopsis::

    shell = ScriptedShell({"make": Script(stdout="ok\n", seconds=90)})
    async with open_jobs(settings, shell=shell) as jobs:
        ...
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs
import trio

from crush_trio.tools.capture import Capture


@attrs.frozen
class Script:
    """What one command does: say something, take its time, exit.

    Attributes:
        seconds: How long it runs after it has spoken; infinite for one that must be ended.
        stubborn: Whether it ignores being asked to end, so that the grace passes.
    """

    stdout: str = ""
    stderr: str = ""
    status: int = 0
    seconds: float = 0.0
    stubborn: bool = False


SLEEP_FOREVER = Script(seconds=math.inf)
"""A command that runs until it is ended."""


@attrs.define(eq=False)
class ScriptedShell:
    """Runs commands from a table; what is not in it is not found, as in any shell.

    Attributes:
        running: The commands that run now.
    """

    scripts: Mapping[str, Script]
    running: list[str] = attrs.field(factory=list[str], init=False)

    async def __call__(
        self,
        command: str,
        *,
        working_dir: str,  # noqa: ARG002 - a script is the same everywhere
        env: Mapping[str, str],  # noqa: ARG002
        stdout: Capture,
        stderr: Capture,
        grace: float,
    ) -> int:
        """Play the script of ``command``; see :class:`~crush_trio.tools.processes.Shell`."""
        missing = Script(stderr=f"{command}: command not found\n", status=127)
        script = self.scripts.get(command, missing)
        self.running.append(command)
        try:
            stdout.add(script.stdout.encode())
            stderr.add(script.stderr.encode())
            await trio.sleep(script.seconds)
        except trio.Cancelled:
            if script.stubborn:
                with trio.CancelScope(deadline=trio.current_time() + grace, shield=True):
                    await trio.sleep_forever()
            raise
        finally:
            self.running.remove(command)
        return script.status
