"""The questions of a workspace: a tool asks, people answer or refuse, the first answer wins.

Above it are the tool that asks and the routes that answer; below it only the hub. One batch is
open at a time, because a terminal client shows one form at a time (wire contract 9.4). A batch
whose run is cancelled is withdrawn on every client (D3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import trio

from crush_trio.ids import new_id
from crush_trio.wire.events import Event, QuestionNotification
from crush_trio.wire.questions import QuestionItem, QuestionRequest, QuestionResponse

Responses = tuple[QuestionResponse, ...]


@attrs.define(eq=False)
class _Ask:
    """A batch that waits for its answer; ``responses`` stays None if it was refused."""

    request: QuestionRequest
    decided: trio.Event = attrs.field(factory=trio.Event)
    responses: Responses | None = None


class Questions:
    """Who is asked what in one workspace.

    Args:
        publish: Sync; given each event in order.
    """

    def __init__(self, publish: Callable[[Event], None]) -> None:
        self._publish = publish
        self._turnstile = trio.StrictFIFOLock()
        self._open: _Ask | None = None

    def __repr__(self) -> str:
        return f"<Questions {self._open.request.id if self._open else 'none'} open>"

    async def ask(
        self,
        *,
        session_id: str,
        tool_call_id: str,
        questions: Sequence[QuestionItem],
        confirm_title: str = "",
        confirm_description: str = "",
    ) -> Responses | None:
        """Wait until somebody answers; return the answers, or None if somebody refused to.

        A cancel withdraws the batch and says so to every client (D3). A batch that is asked while
        another one is open waits for its turn.
        """
        async with self._turnstile:
            await trio.lowlevel.checkpoint_if_cancelled()  # nothing is asked from here on (D3)
            request = QuestionRequest(
                id=new_id(),
                session_id=session_id,
                tool_call_id=tool_call_id,
                questions=tuple(questions),
                confirm_title=confirm_title,
                confirm_description=confirm_description,
            )
            ask = self._open = _Ask(request)
            try:
                self._publish(_asked(request))
                await ask.decided.wait()
            finally:
                if self._open is ask:  # withdrawn
                    self._decide(ask, None)
            return ask.responses

    def answer(self, responses: Responses, batch_id: str = "") -> bool:
        """Answer the open batch; return whether this call decided it (D1). Not a checkpoint.

        Crush's client names no batch. An answer to questions of which the open batch has none is
        a late one to an earlier batch, and decides nothing.
        """
        ask = self._open
        if ask is None or batch_id not in {"", ask.request.id}:
            return False
        asked = {question.id for question in ask.request.questions}
        if responses and asked.isdisjoint(response.request_id for response in responses):
            return False
        self._decide(ask, responses)
        return True

    def refuse(self) -> bool:
        """Refuse to answer the open batch; return whether this call decided it. Not a checkpoint."""
        ask = self._open
        if ask is None:
            return False
        self._decide(ask, None)
        return True

    def open_requests(self) -> tuple[QuestionRequest, ...]:
        """Return the open batch, if there is one. Not a checkpoint."""
        return () if self._open is None else (self._open.request,)

    def open_events(self) -> list[Event]:
        """Return what a new stream must be told of the open batch (D2). Not a checkpoint."""
        return [_asked(request) for request in self.open_requests()]

    def _decide(self, ask: _Ask, responses: Responses | None) -> None:
        self._open = None
        ask.responses = responses
        notification = QuestionNotification(ask.request.id)
        self._publish(Event("question_batch_notification", "created", notification))
        ask.decided.set()


def _asked(request: QuestionRequest) -> Event:
    return Event("question_batch_request", "created", request)
