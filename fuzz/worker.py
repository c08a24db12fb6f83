"""One of those who throw inputs at the server."""

from __future__ import annotations

import random
import re
import uuid
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import msgspec
import trio

import documents
import http1
import http2
from exchange import Reply, ask, throw

RECYCLED = 400
"""Documents after which a worker leaves its workspace for a new one, so that none grows large."""

RUN_PATIENCE = 0.1
"""Seconds that a prompt may stay open before its session is cancelled: some models hang."""

ANSWER_PATIENCE = 30.0
"""Seconds after which a request that was not answered is a finding."""

SCRIPTED_FAILURE = "scripted failure"
"""What a run fails with because the model does."""

DOCUMENTED = {("http1", 501)}
"""Answers above 499 that are right: 501 to a transfer coding that nobody knows (RFC 9112, 6.1)."""

KINDS = ("http1", "http2", "documents")


class FindingError(Exception):
    """The server did what it must not."""


@attrs.define
class Tally:
    """What was thrown, and what came back."""

    inputs: Counter[str] = attrs.field(factory=Counter[str])
    statuses: Counter[str] = attrs.field(factory=Counter[str])
    findings: list[str] = attrs.field(factory=list[str])


@attrs.define
class Place:
    """Where a worker is: its workspace, with a session and an open event stream."""

    directory: Path
    client: str
    stream: trio.SocketStream
    workspace: str = ""
    session: str = ""
    used: int = 0


class Worker:
    """Throws inputs of all kinds, one after the other."""

    def __init__(self, socket: str, root: Path, seed: str, tally: Tally) -> None:
        self._socket, self._root, self._seed, self._tally = socket, root, seed, tally
        self._place: Place | None = None
        self._before = ""

    async def throw(self, kind: str, number: int) -> None:
        """Throw one input, which kind and number determine."""
        dice = random.Random(f"{self._seed}/{kind}/{number}")
        self._tally.inputs[kind] += 1
        try:
            if kind == "documents":
                await self._ask(documents.make(dice))
            else:
                module = http1 if kind == "http1" else http2
                pieces = module.make(dice)
                answer = await throw(self._socket, pieces, glance=dice.random() < module.GLANCES)
                for status in module.statuses(answer):
                    self._note(kind, status)
        except (
            FindingError,
            trio.TooSlowError,
            OSError,
            trio.BrokenResourceError,
            ValueError,
            LookupError,
        ) as error:
            self._tally.findings.append(f"{kind} {number}: {error!r}")
            await self.leave()

    def _note(self, kind: str, status: int, body: bytes = b"") -> None:
        self._tally.statuses[f"{kind} {status}"] += 1
        if status >= 500 and (kind, status) not in DOCUMENTED:
            raise FindingError(f"answered {status} {body[:300]!r}")

    # --- documents ------------------------------------------------------------------------------

    async def _ask(self, wanted: documents.Wanted) -> None:
        place = self._place or await self._enter()
        place.used += 1
        target = self._filled(wanted.target, place)
        body = None if wanted.body is None else self._filled(wanted.body.decode("latin-1"), place)
        data = None if body is None else body.encode("latin-1")
        if data is not None and not documents.is_harmless(target, data, str(self._root)):
            return
        prompts = target.endswith("/agent") and wanted.method == "POST"
        reply = None
        with trio.move_on_after(RUN_PATIENCE if prompts else ANSWER_PATIENCE):
            try:
                reply = await ask(place.stream, wanted.method, target, wanted.headers, data)
            except trio.BrokenResourceError:
                raise FindingError(f"no answer but the end, after {self._before}") from None
            finally:
                self._before = f"{wanted.method} {target[:200]} {wanted.headers} {(data or b'')[:200]!r} ({len(data or b'')})"
        if reply is None:
            await self._interrupt(place, prompts=prompts)
            return
        self._judge(wanted, reply)
        if reply.last:
            await place.stream.aclose()
            place.stream = await trio.open_unix_socket(self._socket)
        await self._follow(wanted, reply, place)

    async def _interrupt(self, place: Place, *, prompts: bool) -> None:
        """Give up waiting: for a run that hangs, with a cancel; for anything else, with a finding."""
        if not prompts:
            raise FindingError(f"no answer within {ANSWER_PATIENCE} s")
        await place.stream.aclose()
        place.stream = await trio.open_unix_socket(self._socket)
        await self._cancel(place, place.stream)

    async def _cancel(self, place: Place, stream: trio.SocketStream) -> None:
        """End what hangs in the session: an unsettled run would keep its workspace open."""
        target = f"/v1/workspaces/{place.workspace}/agent/sessions/{place.session}/cancel"
        with trio.fail_after(ANSWER_PATIENCE):
            await ask(stream, "POST", target, ("Prefer: wait=5",), b"")

    def _judge(self, wanted: documents.Wanted, reply: Reply) -> None:
        if reply.status == 500 and SCRIPTED_FAILURE.encode() in reply.body:
            if not msgspec.json.decode(reply.body).get("run_id"):
                raise FindingError(f"a failed run does not name itself: {reply.body!r}")
            self._tally.statuses["documents 500 of a run whose model fails"] += 1
            return
        self._note("documents", reply.status, reply.body)
        if reply.status < 400 or wanted.method == "HEAD" or reply.kind != "application/json":
            return
        if not msgspec.json.decode(reply.body)["message"]:
            raise FindingError(f"{reply.status} without a message")

    async def _follow(self, wanted: documents.Wanted, reply: Reply, place: Place) -> None:
        """Find a new place or session when the input has ended the present one."""
        meant = re.match(rf"/v1/workspaces/{documents.W}(?:[/?]|$)", wanted.target)
        lost = meant and reply.status == 404 and b"workspace not found" in reply.body
        if lost or place.used >= RECYCLED or (wanted.method == "DELETE" and reply.status == 200):
            await self.leave()

    def _filled(self, text: str, place: Place) -> str:
        text = text.replace(documents.W, place.workspace).replace(documents.S, place.session)
        return text.replace(documents.C, place.client).replace(documents.DIR, str(place.directory))

    async def _enter(self) -> Place:
        """Open a workspace with a session, in a new directory."""
        client = str(uuid.uuid4())
        directory = self._root / client
        (directory / "other").mkdir(parents=True)
        place = Place(directory, client, await trio.open_unix_socket(self._socket))
        created = await self._post(
            place, "/v1/workspaces", {"path": str(directory), "client_id": client}
        )
        place.workspace = created["id"]
        session = await self._post(
            place, f"/v1/workspaces/{place.workspace}/sessions", {"title": "T"}
        )
        place.session = session["id"]
        self._place = place
        return place

    async def _post(self, place: Place, target: str, body: object) -> dict[str, str]:
        with trio.fail_after(ANSWER_PATIENCE):
            reply = await ask(place.stream, "POST", target, (), msgspec.json.encode(body))
        if reply.status != 200:
            raise FindingError(f"POST {target} answered {reply.status} {reply.body!r}")
        return msgspec.json.decode(reply.body)

    async def leave(self) -> None:
        """Say goodbye to the workspace, if there is one; its directory stays, as it closes yet."""
        place, self._place = self._place, None
        if place is None:
            return
        await place.stream.aclose()
        with trio.move_on_after(ANSWER_PATIENCE), suppress(trio.BrokenResourceError):
            async with await trio.open_unix_socket(self._socket) as stream:
                await self._cancel(place, stream)
                await ask(stream, "DELETE", f"/v1/clients/{place.client}", (), None)


@asynccontextmanager
async def open_worker(socket: str, root: Path, seed: str, tally: Tally) -> AsyncGenerator[Worker]:
    """Open a worker; leaving the block leaves its workspace."""
    worker = Worker(socket, root, seed, tally)
    yield worker
    await worker.leave()
