"""What a stream with ids is told first: how things stand, so that it need not ask (S5, D2).

Built in the same step as the stream's cursor: what it does not say yet is an event behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from crush_trio.runs import Lane
from crush_trio.wire.events import Event, PermissionNotification
from crush_trio.wire.permissions import PermissionRequest
from crush_trio.wire.questions import QuestionRequest
from crush_trio.wire.streams import Hello, OpenRun


def hello_event(
    last_id: int,
    lanes: Iterable[Lane],
    requests: Iterable[PermissionRequest],
    questions: Iterable[QuestionRequest] = (),
) -> Event:
    """Return the first event of a stream whose newest event is ``last_id``.

    A prompt that has folded into another's turn is not named, and a summary neither: no
    ``run_complete`` of its own comes.
    """
    runs = tuple(run for lane in lanes for run in _open_runs(lane))
    return Event("hello", "created", Hello(last_id, runs, tuple(requests), tuple(questions)))


def _open_runs(lane: Lane) -> Iterable[OpenRun]:
    if lane.active is not None and not lane.active.quiet:
        yield OpenRun(lane.active.id, lane.active.session_id, "active")
    for run in lane.waiting:
        yield OpenRun(run.id, run.session_id, "queued")


def replay_rule(requests: Iterable[PermissionRequest]) -> Callable[[Event], bool]:
    """Return which events of before a stream is told again that knows the open ``requests``.

    Requests are in the hello alone: one in the log may have been answered. How an earlier request
    ended is told, unless its tool call asks again: it would close the dialog that is open now. The
    end of a batch of questions names the batch, so it closes no other one.
    """
    open_calls = frozenset(request.tool_call_id for request in requests)

    def replays(event: Event) -> bool:
        match event.payload:
            case PermissionRequest() | QuestionRequest():
                return False
            case PermissionNotification(call, granted, denied):
                return (granted or denied) and call not in open_calls
            case _:
                return True

    return replays
