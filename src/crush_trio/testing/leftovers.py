"""What a call leaves to the process that made it: children and open files."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import attrs


def children() -> dict[int, str]:
    """Return the live child processes of this process, by pid, with what they run."""
    if sys.platform != "linux":
        return _children_by_ps()
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(FileNotFoundError, ProcessLookupError):
                stat = (entry / "stat").read_text("utf-8", "replace")
                state, parent = stat.rpartition(")")[2].split()[:2]
                if int(parent) == os.getpid() and state not in "ZX":
                    found[int(entry.name)] = _command(entry)
    return found


def _command(entry: Path) -> str:
    return (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()


def _children_by_ps() -> dict[int, str]:
    done = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid=,stat=,args="],  # noqa: S607 -- wherever the system has it
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[int, str] = {}
    for line in done.stdout.splitlines():
        pid, parent, state, command = line.split(None, 3)
        if int(parent) == os.getpid() and not state.startswith("Z") and "ps -A" not in command:
            found[int(pid)] = command
    return found


def descriptors() -> dict[str, str]:
    """Return the open file descriptors with what they are; nothing where the system cannot tell."""
    found: dict[str, str] = {}
    with suppress(FileNotFoundError):
        for entry in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                found[entry.name] = str(entry.readlink())
    return found


@attrs.define
class Leftovers:
    """What was there before a call, to be compared with what is there after it."""

    _children: dict[int, str] = attrs.field(factory=children, init=False)
    _descriptors: dict[str, str] = attrs.field(factory=descriptors, init=False)

    def found(self) -> list[str]:
        """Return what is there that was not; a child is killed, so that it is not found again."""
        wrong: list[str] = []
        for pid, command in children().items():
            if pid not in self._children:
                wrong.append(f"the process {pid} ({command}) is left")
                with suppress(ProcessLookupError):
                    os.kill(pid, 9)
        if self._opened():
            gc.collect()  # what only waits for Python's collector is not left
        wrong += [
            f"the file descriptor {number} ({what}) is left" for number, what in self._opened()
        ]
        return wrong

    def _opened(self) -> list[tuple[str, str]]:
        now = descriptors()
        return [pair for pair in now.items() if pair[0] not in self._descriptors]
