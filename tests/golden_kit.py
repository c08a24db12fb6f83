"""Recorded traffic of Crush's own client: the lines, the model that spoke in them, and comparing.

Ids are learnt where they first occur, and must then stay the same. What is not compared is in the
tables below; nothing else is left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import attrs
import trio

from crush_trio.providers.base import Delta, ModelRequest, Usage
from crush_trio.providers.failures import status_error
from crush_trio.providers.scripted import (
    Answer,
    Call,
    Fail,
    Hang,
    Op,
    Report,
    Say,
    ScriptedModel,
    Think,
)
from crush_trio.wire.sse import SSEReader
from strict_kit import event_problems

FOLDER = Path(__file__).parent / "behaviour" / "golden"
DAY = (
    "run-new",
    "run-continue",
    "run-error",
    "run-cancelled-by-other",
    "tui-start",
    "tui-prompt",
    "tui-permission",
    "tui-cancel",
    "tui-session-switch",
    "tui-reconnect",
    "tui-reconnect-clean",
)
"""The recordings in the order in which they were made, in one project: each finds in the lists
what those before it left."""

TIMES = {"created_at", "updated_at", "time", "started_at", "finished_at"}
"""Seconds: whole numbers, whenever that was."""

OWN = {"env", "skills", "version"}
"""The client's environment, the built-in skills and the server's name are nobody else's."""

OPTIONAL = {"run_complete.run_id"}
"""Every run has an id, where Crush's has one only if the caller gave it (wire contract 0, 8.6)."""

GO_NAMES = {
    "ID": "id",
    "SessionID": "session_id",
    "Path": "path",
    "Content": "content",
    "Version": "version",
    "CreatedAt": "created_at",
    "UpdatedAt": "updated_at",
}
"""Crush prints the names of a Go structure in the history by mistake (R-19)."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

Line = dict[str, Any]


def recording(name: str) -> list[Line]:
    """Return the lines of a recording."""
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]


def document(base_url: str) -> dict[str, Any]:
    """Return the ``crush.json`` that the recordings were made with."""

    def model(name: str, window: int, limit: int, **more: Any) -> dict[str, Any]:
        title = f"Probe {name.capitalize()}"
        limits = {"context_window": window, "default_max_tokens": limit}
        return {"id": f"probe-{name}", "name": title, **limits, **more}

    return {
        "options": {
            "disable_default_providers": True,
            "disable_provider_auto_update": True,
            "disable_metrics": True,
            "auto_lsp": False,
        },
        "models": {
            "large": {"provider": "probe", "model": "probe-large"},
            "small": {"provider": "probe", "model": "probe-small"},
        },
        "providers": {
            "probe": {
                "name": "Probe",
                "type": "openai-compat",
                "base_url": base_url,
                "api_key": "probe-key",
                "models": [
                    model("large", 100_000, 4096, cost_per_1m_in=2, cost_per_1m_out=8),
                    model("small", 50_000, 1024),
                    model("other", 60_000, 2048),
                ],
            }
        },
    }


# --- the model ---------------------------------------------------------------------------------


class RecordedModel(ScriptedModel):
    """Says what the recorded model said: its script stands in the prompts.

    Attributes:
        title_first: Whether the title came before the turn's first counters. They overwrite each
            other, so the order shows.
        titled: Set when the title has come.
        told: Set when the turn has ended.
    """

    def __init__(self) -> None:
        title = [Say("Scripted title"), Report(Usage(input=20, output=2))]
        super().__init__(respond=_answer, title=title)
        self.begin(title_first=True)

    def begin(self, *, title_first: bool) -> None:
        """Get ready for another recording."""
        self.title_first = title_first
        self.titled, self.told = trio.Event(), trio.Event()

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[Delta]]:
        is_title = request.model == "probe-small"
        is_first = sum(message.role == "user" for message in request.messages) == 1
        if is_title and not self.title_first:
            await self.told.wait()
        elif not is_title and is_first and self.title_first and not _fails(request):
            await self.titled.wait()
        async with super().stream(request) as deltas:
            yield deltas


def _fails(request: ModelRequest) -> bool:
    answer = _answer(request)
    return isinstance(answer, list) and isinstance(answer[0], Fail)


def _answer(request: ModelRequest) -> Answer | None:
    """Return the step that the last script in the conversation has for this request."""
    messages = list(request.messages)
    for index in range(len(messages) - 1, -1, -1):
        found = re.search(r"\[\[(\{.*\})\]\]", messages[index].text)
        if found and messages[index].role == "user":
            steps = json.loads(found[1])["steps"]
            step: Any = steps[sum(each.role == "assistant" for each in messages[index + 1 :])]
            ops = cast("list[Line]", step if isinstance(step, list) else [step])
            return [_op(each) for each in ops]
    return None


def _op(op: Line) -> Op:
    match op:
        case {"text": str(text)}:
            return Say(text)
        case {"reasoning": str(text)}:
            return Think(text)
        case {"tool": str(name), "args": arguments, "id": str(call)}:
            return Call(name, arguments, id=call)
        case {"hang": True}:
            return Hang()
        case {"status": int(status), "message": str(message)}:
            return Fail(status_error(status, message))
        case _:
            raise AssertionError(f"no recorded model does {op}")


# --- comparing ---------------------------------------------------------------------------------


@attrs.define(eq=False)
class Names:
    """What the recording's ids and paths are called here, and what was found to differ."""

    known: dict[str, str]
    problems: list[str] = attrs.field(factory=list[str])

    def ours(self, text: str) -> str:
        """Return a recorded text with our names in it."""
        for theirs, own in self.known.items():
            text = text.replace(theirs, own)
        return text

    def translate(self, value: Any) -> Any:
        """Return a recorded value with our names in it."""
        match value:
            case str():
                return self.ours(value)
            case dict():
                return {key: self.translate(each) for key, each in cast("Line", value).items()}
            case list():
                return [self.translate(each) for each in cast("list[Any]", value)]
            case _:
                return value

    def compare(
        self, recorded: Any, own: Any, place: str, *, skip: frozenset[str] = frozenset()
    ) -> None:
        """Note where two values differ; ids that are new get their name."""
        key = place.rpartition(".")[2]
        match recorded, own:
            case _ if key in OWN or key in skip or (key in TIMES and type(own) is int):
                self._check(type(recorded) is type(own), recorded, own, place)
            case dict(), dict():
                self._compare_keys(cast("Line", recorded), cast("Line", own), place, skip)
            case list(), list():
                self._compare_lists(
                    cast("list[Any]", recorded), cast("list[Any]", own), place, skip
                )
            case str(), str() if _UUID.fullmatch(recorded) and recorded not in self.known:
                is_new = _UUID.fullmatch(own) is not None and own not in self.known.values()
                self._check(is_new, "a new id", own, place)
                self.known[recorded] = own
            case str(), str():
                self._check(self.ours(recorded) == own, self.ours(recorded), own, place)
            case _:
                # Go prints 0 for a number that is 0.0 here; its client reads both (wire contract 13).
                same = recorded == own and (key == "cost" or type(recorded) is type(own))
                self._check(same, recorded, own, place)

    def _check(self, same: bool, recorded: object, own: object, place: str) -> None:
        if not same:
            self.problems.append(f"{place}: {recorded!r}, but here {own!r}")

    def _compare_lists(
        self, recorded: list[Any], own: list[Any], place: str, skip: frozenset[str]
    ) -> None:
        if _is_summary(recorded):
            return
        self._check(len(recorded) == len(own), recorded, own, place)
        for number, (one, two) in enumerate(zip(recorded, own, strict=False)):
            self.compare(one, two, f"{place}[{number}]", skip=skip)

    def _compare_keys(self, recorded: Line, own: Line, place: str, skip: frozenset[str]) -> None:
        recorded = {GO_NAMES.get(key, key): value for key, value in recorded.items()}
        for key in recorded.keys() - own.keys():
            self.problems.append(f"{place}: {key!r} is missing, {recorded[key]!r}")
        for key in own.keys() - recorded.keys():
            if f"{place}.{key}" not in OPTIONAL:
                self.problems.append(f"{place}: {key!r} is not in the recording, {own[key]!r}")
        for key in recorded.keys() & own.keys():
            self.compare(recorded[key], own[key], f"{place}.{key}", skip=skip)


def _is_summary(value: list[Any]) -> bool:
    """Whether the recording says only how many there were."""
    return len(value) == 1 and isinstance(value[0], str) and value[0].startswith("<")


# --- a stream of ours --------------------------------------------------------------------------


@attrs.define(eq=False)
class Ear:
    """Reads one event stream as raw as it comes, and strictly.

    Attributes:
        events: The envelopes in order.
        ended: Set at its end.
        unclean: What was wrong with its end; empty for a clean one.
    """

    events: list[Line] = attrs.field(factory=list[Line])
    ended: trio.Event = attrs.field(factory=trio.Event)
    unclean: str = ""
    problems: list[str] = attrs.field(factory=list[str])
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _changed: trio.Event = attrs.field(factory=trio.Event)

    async def read(self, stream: trio.abc.ReceiveStream, first: bytes) -> None:
        """Read the body of a reply to its end."""
        reader, data, whole = SSEReader(), first, b""
        with self.scope:
            try:
                while True:
                    whole = (whole + data)[-2:]
                    for line in reader.feed(data):
                        self.problems += event_problems(line)
                        self.events.append(json.loads(line))
                    self._changed.set()
                    self._changed = trio.Event()
                    data = bytes(await stream.receive_some())
                    if not data:
                        break
            except trio.BrokenResourceError as error:
                self.unclean = f"the connection broke: {error!r}"
            if whole.strip():
                self.unclean = f"it ended within an event: {whole!r}"
            self.ended.set()

    async def wait(self, matches: Callable[[Line], bool], number: int = 1) -> Line:
        """Wait for the event with this number among those that match."""
        while True:
            found = [event for event in self.events if matches(event)]
            if len(found) >= number:
                return found[number - 1]
            await self._changed.wait()

    def of(self, type_: str, change: str = "") -> list[Line]:
        """Return the payloads of one type, and of one change if it is given."""
        return [
            event["payload"]["payload"]
            for event in self.events
            if event["type"] == type_ and change in {"", event["payload"]["type"]}
        ]
