"""What the event streams of a story must have told, when everything has closed: R8, R12 and S5."""

from __future__ import annotations

from collections import Counter

from crush_trio.runs import Run
from crush_trio.testing.clients import Stream
from crush_trio.testing.core import Core
from crush_trio.testing.life import Life
from crush_trio.wire.events import RunComplete
from crush_trio.wire.messages import WireMessage
from crush_trio.workspaces import Workspace


def check_streams(core: Core) -> None:
    """Check that each stream was told each run's end, once and last (R8); after everything closed."""
    for stream in core.streams:
        life = stream.call.life
        if life is not None and stream.attached and not life.dead:
            _check_stream(core, life, stream)
    _check_resumed(core)


def _check_resumed(core: Core) -> None:
    """Check that a client which went on where it was is told no end twice (S5)."""
    for client in core.clients.values():
        told = Counter(
            (id(stream.call.life), event.payload.run_id)
            for stream in client.streams
            if stream.last_id is not None
            for event in stream.events
            if isinstance(event.payload, RunComplete)
        )
        for (_, run_id), times in told.items():
            if times > 1:
                core.complain(f"{client.name} was told the end of {run_id} {times} times (S5)")


def _check_stream(core: Core, life: Life, stream: Stream) -> None:
    ends: dict[str, int] = {}
    last: dict[str, int] = {}
    for number, event in enumerate(stream.events):
        if isinstance(event.payload, RunComplete):
            if event.payload.run_id in ends:
                core.complain(f"two ends of {event.payload.run_id} on one stream (R8)")
            ends[event.payload.run_id] = number
        elif isinstance(event.payload, WireMessage):
            last[event.payload.id] = number
    for run in life.runs:
        end = ends.get(run.id)
        if end is None:
            if stream.ended and _is_owed(run, stream):
                core.complain(f"a stream was not told the end of {run.id} (R8)")
        elif run.folded_into is not None:
            core.complain(f"the folded {run.id} has an end of its own (R12)")
        elif last.get(run.message_id, -1) > end:
            core.complain(f"{run.id} spoke after its end (R8)")


def _is_owed(run: Run, stream: Stream) -> bool:
    """Whether a stream that has come to its proper end must have told of a run's end."""
    owner = run.owner
    assert isinstance(owner, Workspace)
    return (
        run.settled
        and run.folded_into is None
        and run.id not in stream.settled_before
        and owner.id == stream.workspace_id
    )
