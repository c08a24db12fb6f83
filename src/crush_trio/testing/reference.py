"""A small model of the whole program: which outcomes each prompt of a story may have. Plain data.

It knows no time and no steps. What it knows of a prompt is whether it has surely settled, may have
settled, or cannot have; from that and the rules of the promises it says which outcomes are allowed.
One allowed outcome is a prediction; two are a race that either side may win.

Outcomes are those of the wire, and ``lost`` where the connection ended. A client that is not there
does nothing; a prompt that was never posted is not posted again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from crush_trio.testing.vocabulary import (
    BLOCKING,
    Cancels,
    Clears,
    Dies,
    Grants,
    Joins,
    Leaves,
    Prompts,
    PromptsAgain,
    Restarts,
    Step,
    Waits,
)


@attrs.define(eq=False)
class Expected:
    """One accepted prompt.

    Attributes:
        allowed: The outcomes that it may have.
        must_block: It does not settle by itself.
        may_block: It may be such a one that nothing has ended yet.
        open: It may not have settled.
    """

    prompt: Prompts
    allowed: set[str]
    must_block: bool
    may_block: bool
    open: bool = True

    def end(self, outcome: str, *, surely: bool) -> None:
        """Let it end so; if not surely, it may have come to another end before, or come to one."""
        if surely:
            self.allowed.clear()
            self.open = False
        self.allowed.add(outcome)
        self.must_block = False


@attrs.define(eq=False)
class Reference:
    """The program, as far as outcomes go. Feed it the steps of a story, in order.

    Attributes:
        clients: Who is there.
        gone: Who has said goodbye for ever, which this life of the server remembers.
        posted: Every prompt by its number.
        calls: What each post belongs to, in order.
    """

    clients: set[str] = attrs.field(factory=set[str])
    gone: set[str] = attrs.field(factory=set[str])
    posted: dict[int, Prompts] = attrs.field(factory=dict[int, Prompts])
    calls: list[Expected] = attrs.field(factory=list[Expected])
    _lanes: dict[str, list[Expected]] = attrs.field(factory=dict[str, list[Expected]])
    _known: dict[int, Expected] = attrs.field(factory=dict[int, Expected])
    _ended: list[Expected] = attrs.field(factory=list[Expected])
    """What something has ended whose answer may still be on its way."""

    def take(self, steps: Iterable[Step]) -> None:
        """Let all of this happen."""
        for step in steps:
            self._forget_settled()
            if getattr(step, "client", "") in self.clients or not hasattr(step, "client"):
                self._take(step)
            elif isinstance(step, Joins) and step.client not in self.gone:
                self.clients.add(step.client)

    def _take(self, step: Step) -> None:
        match step:
            case Prompts():
                self._prompt(step)
            case PromptsAgain(_, number) if number in self.posted:
                self._prompt(self.posted[number])
            case Cancels(_, session):
                self._end(self._lane(session), "cancelled")
            case Clears(_, session):
                self._clear(self._lane(session))
            case Grants():
                self._grant(self._lane("main"))
            case Waits():
                for lane in self._lanes.values():
                    self._let_settle(lane)
                self._answer_ended(lost=False)
            case _:
                self._end_of_server(step)

    def _end_of_server(self, step: Step) -> None:
        """Let a workspace end, and with it what is known of its runs (R3, R16)."""
        match step:
            case Leaves(client):
                self.clients.discard(client)
                self.gone.add(client)
                outcome = "" if self.clients else "cancelled"
            case Restarts():
                outcome = "cancelled"
                self.gone.clear()
            case Dies():
                outcome = "lost"
                self.gone.clear()
            case _:
                outcome = ""
        if outcome:
            for lane in self._lanes.values():
                self._end(lane, outcome)
            self._known.clear()
        if isinstance(step, Restarts | Dies):
            self._answer_ended(lost=isinstance(step, Dies))

    def finish(self) -> None:
        """Let everything settle that can, and cancel what is left."""
        self.take([Waits()])
        self._forget_settled()
        for lane in self._lanes.values():
            self._end(lane, "cancelled")

    def _forget_settled(self) -> None:
        for session, lane in self._lanes.items():
            self._lanes[session] = [each for each in lane if each.open]

    def _lane(self, session: str) -> list[Expected]:
        return self._lanes.setdefault(session, [])

    def _prompt(self, step: Prompts) -> None:
        known = None if step.steers else self._known.get(step.number)
        blocks = step.kind in BLOCKING
        found = known or Expected(step, set() if blocks else {"completed"}, blocks, blocks)
        self.calls.append(found)
        if known is None:
            lane = self._lane(step.session)
            if step.steers:
                self._steer(lane)
            lane.append(found)
            self.posted[step.number] = step
            if not step.steers:
                self._known[step.number] = found

    @staticmethod
    def _steer(lane: Sequence[Expected]) -> None:
        """Let a prompt join what runs: before its first request the model hears the newcomer (R12)."""
        for each in lane:
            if each.must_block:
                each.must_block = False
                each.allowed.add("completed")

    @staticmethod
    def _may_have_settled(lane: Sequence[Expected], at: int) -> bool:
        """Whether nothing surely keeps a prompt open; one that steers may settle with the first."""
        before = lane[:1] if lane[at].prompt.steers else lane[: at + 1]
        return not any(each.must_block for each in before)

    def _end(self, lane: Sequence[Expected], outcome: str) -> None:
        """Let everything in a lane end that has not: a cancel, or the end of its server (R5)."""
        surely = [not self._may_have_settled(lane, at) for at in range(len(lane))]
        for each, sure in zip(lane, surely, strict=True):
            each.end(outcome, surely=sure)
            each.open = False
        self._ended += lane

    def _answer_ended(self, *, lost: bool) -> None:
        """Let the answers on their way arrive, or each of them be lost that was not quick enough."""
        for each in self._ended if lost else ():
            each.allowed.add("lost")
        self._ended.clear()

    def _clear(self, lane: Sequence[Expected]) -> None:
        """Drop what waits: surely, if what was before it cannot have settled."""
        surely = [
            any(before.must_block for before in lane[:at]) and not each.prompt.steers
            for at, each in enumerate(lane)
        ]
        for each, sure in list(zip(lane, surely, strict=True))[1:]:
            each.end("cancelled", surely=sure)
        self._ended += lane[1:]

    @staticmethod
    def _grant(lane: Sequence[Expected]) -> None:
        """Allow what the first blocked prompt asks, if it is one that asks."""
        sure = True
        for each in lane:
            if each.may_block and each.prompt.kind == "ask":
                each.allowed.add("completed")
                if sure and each.must_block:
                    each.must_block = each.may_block = False
                    return
                each.must_block = sure = False
            elif each.must_block:
                return
            elif each.may_block:
                sure = False

    @staticmethod
    def _let_settle(lane: Sequence[Expected]) -> None:
        for each in lane:
            if each.may_block:
                return
            each.open = False
