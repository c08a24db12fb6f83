"""What may happen at any moment: one sync call each, made between two steps of the scheduler.

A disturbance that *applies* changes something. One that does not, at some step, would leave the run
as it is: the sweep counts that step without running it again.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import trio

from crush_trio.ids import SessionID
from crush_trio.testing.core import Core
from crush_trio.testing.life import Life
from crush_trio.testing.program import as_program
from crush_trio.workspaces import Workspace

SLOW = 1.0
"""Virtual seconds that a slow write takes: less than a run's end may wait for it."""


@attrs.frozen
class Disturbance:
    """Something that happens to a running world.

    Attributes:
        applies: Whether it would change anything now.
        strike: Does it; no checkpoint.
    """

    name: str
    applies: Callable[[Core], object]
    strike: Callable[[Core], None]


def _workspaces(core: Core) -> list[Workspace]:
    life = core.life
    return [] if life is None else life.host.workspaces


def _life(core: Core) -> Life:
    assert core.life is not None
    return core.life


def _busy(core: Core) -> list[tuple[Workspace, str]]:
    return [
        (workspace, lane.session_id)
        for workspace in _workspaces(core)
        for lane in workspace.data.busy_lanes()
    ]


def _cancel(core: Core) -> None:
    for workspace, session in _busy(core):
        _life(core).cancel(workspace, session)


def _queued(core: Core) -> list[tuple[Workspace, str]]:
    return [
        (workspace, session)
        for workspace, session in _busy(core)
        if workspace.sessions.waiting_prompts(SessionID(session))
    ]


def _clear(core: Core) -> None:
    for workspace, session in _queued(core):
        _life(core).clear(workspace, session)


def _prompting(core: Core) -> bool:
    return core.life is not None and any(
        not call.done.is_set() for client in core.clients.values() for call in client.prompts
    )


def _drop_prompters(core: Core) -> None:
    for client in core.clients.values():
        client.drop()


def _drop_subscriber(core: Core) -> None:
    for stream in core.streams:
        if not stream.call.done.is_set():
            stream.drop()
            return


def _subscribed(core: Core) -> bool:
    return core.life is not None and any(not s.call.done.is_set() for s in core.streams)


def _goodbye(core: Core) -> None:
    for client in list(core.clients.values()):
        _life(core).retire(client)


def _alive(core: Core) -> bool:
    return core.life is not None and not core.life.stopping.is_set()


def _stop(core: Core) -> None:
    _life(core).stop()


def _kill(core: Core) -> None:
    _life(core).kill()


def _writing(core: Core) -> bool:
    return any(disk.open for disk in core.disks.all())


def _fail_write(core: Core) -> None:
    for disk in core.disks.all():
        disk.failing = 1


def _slow_write(core: Core) -> None:
    async def let_go() -> None:
        await trio.sleep(SLOW)
        for disk in core.disks.all():
            disk.let_go()

    for disk in core.disks.all():
        disk.stuck = True
    core.beside(let_go)


def _asked(core: Core) -> list[Workspace]:
    return [each for each in _workspaces(core) if each.permissions.open_requests()]


def _answer_twice(core: Core) -> None:
    for workspace in _asked(core):
        (request,) = workspace.permissions.open_requests()
        first = _life(core).answer(workspace, "deny", request.id)
        second = _life(core).answer(workspace, "allow_session", request.id)
        if (first, second) != (True, False):
            core.complain(f"two answers to {request.id} counted as {first} and {second} (D1)")


DISTURBANCES = {
    each.name: each
    for each in (
        Disturbance("cancel", _busy, _cancel),
        Disturbance("clear", _queued, _clear),
        Disturbance("drop the prompters", _prompting, _drop_prompters),
        Disturbance("drop a subscriber", _subscribed, _drop_subscriber),
        Disturbance("last goodbye", _workspaces, _goodbye),
        Disturbance("stop", _alive, _stop),
        Disturbance("kill", lambda core: core.life is not None, _kill),
        Disturbance("a write fails", _writing, _fail_write),
        Disturbance("a write is slow", _writing, _slow_write),
        Disturbance("two answers", _asked, _answer_twice),
    )
}
"""Every disturbance by its name."""


def strike(core: Core, disturbance: Disturbance) -> None:
    """Let it happen now, as the program would, if it applies; what it raises is a complaint."""
    if not disturbance.applies(core):
        return
    try:
        as_program(disturbance.strike, core)
    except Exception as error:  # noqa: BLE001 -- Trio would only log it and go on without us
        core.complain(f"{disturbance.name} raised {error!r}")
    core.pulse()
