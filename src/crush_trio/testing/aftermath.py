"""What must hold when a story is over, whatever has struck it: the promises, as end-state checks.

The world is brought to rest first: disks write again, gates open, a dead server is started again.
Then it is looked at, used once more, and closed.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs
import trio

from crush_trio.errors import SessionNotFoundError
from crush_trio.messages import Message
from crush_trio.runs import Ending, Run
from crush_trio.testing.clients import Call, Stream
from crush_trio.testing.core import Core
from crush_trio.testing.history import history_complaints
from crush_trio.testing.life import Life
from crush_trio.testing.model import plain_answer
from crush_trio.testing.program import is_program
from crush_trio.testing.stream_checks import check_streams
from crush_trio.wire.messages import WireMessage

AGAIN = "Is everything all right?"
"""The prompt that every session must answer afterwards."""

JOURNAL_PAUSE = 0.05
"""Virtual seconds of text that a crash may cost (C1)."""


@attrs.frozen
class Allowed:
    """What a story and what struck it make possible.

    Attributes:
        failures: Runs of any prompt may have failed: a disk has.
        failing_prompts: Runs of these prompts may fail anyway.
    """

    failures: bool = False
    failing_prompts: frozenset[str] = frozenset()


async def come_to_rest(core: Core) -> None:
    """Mend everything, start a server if there is none, and let every run settle."""
    for disk in core.disks.all():
        disk.failing = 0
        disk.let_go()
    for stream in core.streams:
        stream.resume()
    life = core.lives[-1]
    if life.dead or life.stopping.is_set() or life.ended.is_set():
        await core.restart()
    if not await core.quiet(200):
        _cancel_what_waits(core)  # for an answer or a gate that never came
        if not await core.quiet(200):
            core.complain(f"never settles: {core.lives[-1].unsettled()} (R1)")
    if not await core.until(lambda: core.model.open_streams == 0):
        core.complain(f"{core.model.open_streams} answers are still being read (R11)")


def _cancel_what_waits(core: Core) -> None:
    life = core.lives[-1]
    for workspace in life.host.workspaces:
        for lane in workspace.data.busy_lanes():
            life.cancel(workspace, lane.session_id)


async def look(core: Core, allowed: Allowed) -> None:
    """Check what is said of every run, call and stream, and every stored conversation."""
    for life in core.lives:
        _check_runs(core, life, allowed)
    for call in core.calls:
        _check_call(core, call)
    _check_rest(core)
    after = core.client("afterwards")
    joined = await core.done(after.join())
    if joined.status != 200:
        core.complain(f"nobody can join: {joined} (W3)")
        return
    for session in _sessions(core):
        reply = await core.done(after.messages(session))
        _check_history(core, session, reply.body or ())
        again = await core.done(after.prompt(AGAIN, f"again {session}", session))
        text = again.body.text if isinstance(again.body, Ending) else ""
        if again.status != 200 or text != plain_answer(AGAIN):
            core.complain(f"the next prompt in {session} gets {again.status} {again.error} (R13)")


def _sessions(core: Core) -> list[str]:
    found = {row[0] for disk in core.disks.all() for row in disk.read("SELECT id FROM sessions")}
    return sorted(found)


def _check_runs(core: Core, life: Life, allowed: Allowed) -> None:
    for run in life.runs:
        if life.dead and not run.settled:
            continue
        if not run.settled:
            core.complain(f"{run.id} never settled (R1)")
        elif run in life.must_be_cancelled and run.outcome != "cancelled":
            core.complain(f"{run.id} was covered by a cancel and is {run.outcome} (R5)")
        elif run.outcome == "cancelled" and not _may_be_cancelled(life, run):
            core.complain(f"{run.id} is cancelled and nobody ended it (R3, R6)")
        elif run.outcome == "failed" and not _may_fail(core, run, allowed):
            core.complain(f"{run.id} failed: {run.error!r} (R7)")


def _may_be_cancelled(life: Life, run: Run) -> bool:
    ended = life.must_be_cancelled | life.may_be_cancelled
    return run in ended or life.dead or (run.folded_into is not None and run.folded_into in ended)


def _may_fail(core: Core, run: Run, allowed: Allowed) -> bool:
    if isinstance(run.error, SessionNotFoundError):
        return run.session_id not in core.created - core.deleted
    prompts = {run.prompt.text, run.folded_into.prompt.text if run.folded_into else ""}
    return allowed.failures or bool(prompts & allowed.failing_prompts)


def _check_call(core: Core, call: Call) -> None:
    life, reply = call.life, call.reply
    if life is None or life.dead or call.dropped:
        return
    if reply is None or reply.lost:
        if not call.what.endswith("listens"):
            core.complain(f"{call.what} was never answered (R4)")
        return
    if isinstance(call.run, Run):
        _check_answer(core, call, call.run)
    elif reply.status == 500 and not core.disk_has_failed:
        core.complain(f"{call.what} was answered 500 {reply.error}")


def _check_answer(core: Core, call: Call, run: Run) -> None:
    """Check that a caller got the outcome and the text of its own prompt (R4, R7, R14)."""
    reply, turn = call.reply, run.folded_into or run
    assert reply is not None
    body = reply.body
    if not isinstance(body, Ending):
        core.complain(f"{call.what} was answered {reply}")
        return
    if (reply.status == 200) != (run.outcome != "failed"):
        core.complain(f"{call.what} was answered {reply.status} and is {run.outcome} (R4, R7)")
    said = (body.run_id, body.outcome, body.message_id, body.text)
    if said != (run.id, run.outcome, turn.message_id, turn.text):
        core.complain(f"{call.what} was answered {said}, which is not its own (R14)")


def _check_rest(core: Core) -> None:
    """Check that nothing of a run is left where all have settled (R11, D3)."""
    for workspace in core.lives[-1].host.workspaces:
        if workspace.busy:
            core.complain(f"{workspace!r} is busy with {workspace.data.busy_lanes()} (R8)")
        if workspace.permissions.open_requests():
            core.complain("a permission is open that nobody waits for (D3)")
    running = [name for name in core.shell.running if name not in core.background]
    if running:
        core.complain(f"processes are left: {running} (R11)")


def _check_history(core: Core, session: str, messages: Iterable[Message]) -> None:
    stored = list(messages)
    core.complaints += [f"history of {session}: {each} (R9)" for each in history_complaints(stored)]
    by_id = {str(message.id): message for message in stored}
    for stream in core.streams:
        if stream.call.dropped:
            continue  # it may have missed what a retry has taken back
        for seen in _last_seen(stream, session).values():
            message = by_id.get(seen.id)
            if message is None:
                if session not in core.deleted:
                    core.complain(f"message {seen.id} was shown and is not stored (R10)")
            elif not (message.text.startswith(seen.text) or _is_withdrawn(core, seen.text)):
                core.complain(f"{seen.text!r} was shown, {message.text!r} is stored (R10)")
            elif seen.finished and seen.text != message.text:
                core.complain(f"{seen.text!r} was shown as all of {message.text!r} (S1)")


def _is_withdrawn(core: Core, text: str) -> bool:
    return any(failed.startswith(text) for failed in core.model.withdrawn)


def _last_seen(stream: Stream, session: str) -> dict[str, WireMessage]:
    """Return the newest snapshot of every message that a stream has told of."""
    return {
        event.payload.id: event.payload
        for event in stream.events
        if isinstance(event.payload, WireMessage)
        and event.payload.session_id == session
        and event.change != "deleted"
    }


def kill_expectations(core: Core) -> list[tuple[str, str]]:
    """Return, at the moment of a kill, which text must be found in each session afterwards (C1)."""
    long_ago = trio.current_time() - JOURNAL_PAUSE
    found: list[tuple[str, str]] = []
    for run in core.lives[-1].runs if core.lives else ():
        if core.active(run.session_id) is run and core.model.standing(run) == "streaming":
            spoken = core.model.spoken.get(run.session_id, [])
            text = "".join(text for time, text in spoken if time < long_ago)
            found.append((run.session_id, text))
    return found


async def check_kept(core: Core, expected: Iterable[tuple[str, str]]) -> None:
    """Check that a killed server has lost no text but the last moment's (C1)."""
    after = core.client("afterwards")
    await core.done(after.join())
    for session, text in expected:
        stored = (await core.done(after.messages(session))).body or ()
        if text and not any(text.lstrip("\n") in message.text for message in stored):
            core.complain(f"{text!r} was said in {session} long before the kill, and is lost (C1)")


def check_closed(core: Core) -> None:
    """Check that nothing is left of a world that has closed (W5). Not a checkpoint."""
    check_streams(core)
    for disk in core.disks.all():
        if disk.open:
            core.complain("a store is still open (W4)")
        if left := disk.read("SELECT message_id FROM crush_trio_journal"):
            core.complain(f"the journal still names {left} (C1)")
    if core.model.open_streams:
        core.complain("a provider's stream is still open (W5)")
    if core.shell.running:
        core.complain(f"processes are left: {core.shell.running} (W5)")
    if tasks := _program_tasks():
        core.complain(f"tasks are left: {tasks} (W5)")


def _program_tasks() -> list[str]:
    root = trio.lowlevel.current_root_task()
    found: list[str] = []
    waiting = [] if root is None else [root]
    while waiting:
        task = waiting.pop()
        if is_program(task):
            found.append(task.name)
        for nursery in task.child_nurseries:
            waiting.extend(nursery.child_tasks)
    return found
