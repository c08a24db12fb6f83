"""The permission gate of a workspace: a tool asks, people answer, the first answer wins.

Above it are the tools that ask and the routes that answer; below it only the hub. One request is
open at a time, because a terminal client shows one dialog at a time (wire contract 9.1). An ask
that is cancelled is withdrawn on every client (D3). While a session's run has nobody to ask, a rule
of the configuration answers, at once and also while somebody else's dialog is open.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from crush_trio.errors import UnattendedError
from crush_trio.ids import new_id
from crush_trio.observer import SILENT, Observer
from crush_trio.wire.config import Unattended
from crush_trio.wire.events import Event, PermissionNotification
from crush_trio.wire.permissions import GrantAction, PermissionRequest


@attrs.define(eq=False)
class _Ask:
    """A request that waits for its answer."""

    request: PermissionRequest
    answered: trio.Event = attrs.field(factory=trio.Event)
    granted: bool = False


class Permissions:
    """Who may do what in one workspace.

    Args:
        publish: Sync; given each event in order.
        allowed_tools: Names (``tool`` or ``tool:action``) that need no prompt.
        skip: Grant everything unasked.
        working_dir: What a request's ``.`` means.
        observer: Hears of requests and their answers.
    """

    def __init__(
        self,
        publish: Callable[[Event], None],
        *,
        allowed_tools: Collection[str] = (),
        skip: bool = False,
        working_dir: str = "",
        observer: Observer = SILENT,
    ) -> None:
        self.skip = skip
        self._observer = observer
        self._publish = publish
        self._allowed = frozenset(allowed_tools)
        self._working_dir = working_dir
        self._turnstile = trio.StrictFIFOLock()
        self._open: dict[str, _Ask] = {}
        self._granted: set[tuple[str, str, str, str]] = set()
        self._unattended: dict[str, Unattended] = {}

    def allow_unasked(self, tools: Collection[str]) -> None:
        """Let these names (``tool`` or ``tool:action``) need no prompt, and no others. Not a checkpoint.

        What is being asked just now still waits for its answer.
        """
        self._allowed = frozenset(tools)

    @contextmanager
    def unattended(self, session_id: str, rule: Unattended) -> Generator[None]:
        """Let a rule answer what a session asks for, until the block ends or :meth:`attend`.

        For a run of which nobody can be asked (wire contract 0, R-37). Sync on both ends.
        """
        self._unattended[session_id] = rule
        try:
            yield
        finally:
            self._unattended.pop(session_id, None)

    def attend(self, session_id: str) -> None:
        """Ask people again for a session: somebody is there now. Not a checkpoint."""
        self._unattended.pop(session_id, None)

    async def ask(
        self,
        *,
        session_id: str,
        tool_call_id: str,
        tool_name: str,
        action: str,
        description: str,
        params: Any,
        path: str,
    ) -> bool:
        """Wait until somebody grants or denies; return whether it was granted.

        Returns at once, with a checkpoint and without an event, for what is allowed unasked. A
        cancel withdraws the request and publishes a denied notification (D3).

        Raises:
            UnattendedError: nobody can be asked, and the configuration denies it.
        """
        if self.skip or not self._allowed.isdisjoint({tool_name, f"{tool_name}:{action}"}):
            await trio.lowlevel.checkpoint()
            return True
        if (rule := self._unattended.get(session_id)) is not None:
            await trio.lowlevel.checkpoint()
            return self._answer_unattended(rule, tool_call_id, tool_name)
        async with self._turnstile:
            await trio.lowlevel.checkpoint_if_cancelled()  # nothing is asked from here on (D3)
            place = self._normalise(path)
            key = (session_id, tool_name, action, place)
            self._notify(tool_call_id, granted=False, denied=False)
            if key in self._granted:
                self._notify(tool_call_id, granted=True, denied=False)
                self._observer.recalled(self, key)
                return True
            request = PermissionRequest(
                new_id(), session_id, tool_call_id, tool_name, description, action, params, place
            )
            return await self._wait_answer(_Ask(request))

    def _answer_unattended(self, rule: Unattended, tool_call_id: str, tool_name: str) -> bool:
        granted = rule == "allow"
        self._notify(tool_call_id, granted=False, denied=False)
        self._notify(tool_call_id, granted=granted, denied=not granted)
        if not granted:
            raise UnattendedError(tool_name)
        return True

    async def _wait_answer(self, ask: _Ask) -> bool:
        self._open[ask.request.id] = ask
        try:
            self._observer.asked(self, ask.request)
            self._publish(Event("permission_request", "created", ask.request))
            await ask.answered.wait()
        finally:
            if self._open.pop(ask.request.id, None) is not None:  # nobody answered: withdrawn
                self._notify(ask.request.tool_call_id, granted=False, denied=True)
                self._observer.resolved(self, ask.request, granted=None)
        self._observer.resolved(self, ask.request, granted=ask.granted)
        return ask.granted

    def answer(self, request_id: str, action: GrantAction) -> bool:
        """Decide an open request; return whether this call decided it (D1). Not a checkpoint."""
        ask = self._open.pop(request_id, None)
        if ask is None:
            self._observer.answered(self, request_id, action, won=False)
            return False
        request = ask.request
        ask.granted = action != "deny"
        if action == "allow_session":
            self._granted.add((request.session_id, request.tool_name, request.action, request.path))
        self._notify(request.tool_call_id, granted=ask.granted, denied=not ask.granted)
        self._observer.answered(self, request_id, action, won=True)
        ask.answered.set()
        return True

    def open_requests(self) -> tuple[PermissionRequest, ...]:
        """Return the open request, if there is one. Not a checkpoint."""
        return tuple(ask.request for ask in self._open.values())

    def open_events(self) -> list[Event]:
        """Return what a new stream must be told of the open request (D2). Not a checkpoint."""
        found: list[Event] = []
        for ask in self._open.values():
            asked = PermissionNotification(ask.request.tool_call_id, granted=False, denied=False)
            found.append(Event("permission_notification", "created", asked))
            found.append(Event("permission_request", "created", ask.request))
        return found

    def _notify(self, tool_call_id: str, *, granted: bool, denied: bool) -> None:
        notification = PermissionNotification(tool_call_id, granted, denied)
        self._publish(Event("permission_notification", "created", notification))

    def _normalise(self, path: str) -> str:
        """Return the directory that a grant is remembered for (wire contract 9.1, step 7)."""
        if path == ".":
            return self._working_dir
        return str(Path(path).parent) if Path(path).is_file() else path
