"""Throw inputs at a real server, and look for what it must not do.

    python fuzz/run.py --inputs 20000 --seed 1
    python fuzz/run.py --seed 1 --only http2:1234      # one input again

Inputs are determined by seed, kind and number. The oracle: no answer above 499 but that of a run
whose model fails; every connection ends when its client has ended; every document is answered; the
log holds no error; and after each round, when all have left, the server still serves and holds as
many tasks and descriptors as before the first, and hardly more memory.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import attrs
import trio

from crush_trio.errors import ProviderError
from crush_trio.providers.base import ModelRequest
from crush_trio.providers.scripted import Answer, Call, Fail, Hang, Say, ScriptedModel
from crush_trio.server.model_script import open_model_server
from documents import unfuzzed
from exchange import ask
from worker import KINDS, SCRIPTED_FAILURE, Tally, open_worker

SHARES = ("http1",) * 4 + ("http2",) * 3 + ("documents",) * 3
"""Of ten inputs, which are of which kind."""

WARM_UP = 300
"""Inputs before the first count: until then, imports and caches are still being filled."""

STILL = 6.0
"""Seconds without a change after which a server is at rest: longer than it holds a workspace for."""

SETTLING = 60.0
"""Seconds in which what the last inputs began must have ended."""

GROWTH = 48 * 1024
"""Kilobytes that the server may grow by after its warm-up, however many inputs follow: the event
log of a workspace alone may have 32 MB."""

ONE_ARENA = {"MALLOC_ARENA_MAX": "1"}
"""The C library gives each thread of a store a heap of its own, which fill up by and by and look
like a leak; with one heap for all, memory that grows is memory that is kept."""

BAD_LEVELS = (" ERROR ", " CRITICAL ")
"""What no line of the log may hold."""

EXPECTED = " raised while it was cancelled"
"""The one kind of entry that may have a traceback: a run whose model failed in the very moment in
which it was cancelled. It must be the failure that the model has in its script."""


@attrs.define
class Target:
    """The server's process."""

    process: trio.Process
    socket: str
    log: IO[bytes]
    counts: list[dict[str, int]] = attrs.field(factory=list[dict[str, int]])

    async def held(self) -> dict[str, int]:
        """Return what the process holds."""
        assert self.process.stdin is not None
        await self.process.stdin.send_all(b"?\n")
        return await self.told()

    async def told(self) -> dict[str, int]:
        """Wait for the next line of the process."""
        assert self.process.stdout is not None
        line = b""
        with trio.fail_after(SETTLING):
            while not line.endswith(b"\n"):
                data = await self.process.stdout.receive_some()
                if not data:
                    raise RuntimeError("the server has ended")
                line += data
        return json.loads(line)

    async def rest(self) -> None:
        """Note what the server holds once that has not changed for a while."""
        held, since = await self.held(), trio.current_time()
        while trio.current_time() < since + STILL:
            await trio.sleep(0.1)
            now = await self.held()
            if (now["tasks"], now["descriptors"]) != (held["tasks"], held["descriptors"]):
                held, since = now, trio.current_time()
        self.counts.append(held)

    async def settle(self) -> list[str]:
        """Wait until no more is held than at first, note it, and return what is wrong."""
        deadline = trio.current_time() + SETTLING
        while True:
            held = await self.held()
            names = [name for name in ("tasks", "descriptors") if self._is_more(held, name)]
            if not names or trio.current_time() > deadline:
                break
            await trio.sleep(0.1)
        self.counts.append(held)
        first = self.counts[0]
        wrong = [f"{held[name]} {name} are held, {first[name]} at first" for name in names]
        if held["kilobytes"] > first["kilobytes"] + GROWTH:
            wrong.append(f"{held['kilobytes']} kB of memory, {first['kilobytes']} at first")
        wrong += [f"log: {line}" for line in self._bad_lines()]
        return wrong

    def _is_more(self, held: dict[str, int], name: str) -> bool:
        return held[name] > self.counts[0][name]

    def _bad_lines(self) -> list[str]:
        text = self.log.read().decode("utf-8", "replace")
        entries = re.split(r"\n(?=\d{4}-\d\d-\d\d )", text)
        return [entry[:4_000] for entry in entries if _is_bad(entry)][:3]

    async def serves(self) -> bool:
        """Whether a healthy answer comes."""
        with trio.move_on_after(SETTLING):
            async with await trio.open_unix_socket(self.socket) as stream:
                return (await ask(stream, "GET", "/v1/health", (), None)).status == 200
        return False


def _is_bad(entry: str) -> bool:
    """Whether an entry of the log tells of a defect."""
    first, _, rest = entry.partition("\n")
    if any(level in first for level in BAD_LEVELS):
        return True
    expected = EXPECTED in first and SCRIPTED_FAILURE in rest
    return "Traceback" in entry and not expected


def answer(request: ModelRequest) -> Answer:
    """Return what the model says to a prompt."""
    text = request.messages[-1].text
    if text.startswith("fail"):
        return Fail(ProviderError(SCRIPTED_FAILURE, http_status=400))
    if text.startswith("hang"):
        return [Say("Half"), Hang()]
    if text.startswith("use a tool"):
        return [Say("Look."), Call("ls", {})]
    return "ok"


@asynccontextmanager
async def open_target(root: Path, log: Path) -> AsyncGenerator[Target]:
    """Run the server in ``root``, with a scripted model; leaving the block ends both."""
    socket = str(root / "s")
    config = root / "home" / ".config" / "crush" / "crush.json"
    config.parent.mkdir(parents=True)
    model = ScriptedModel(respond=answer)
    async with open_model_server(model) as base_url, trio.open_nursery() as nursery:
        nursery.start_soon(forget, model)
        config.write_text(json.dumps(configuration(base_url)))
        places = {name: str(root / "home") for name in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR")}
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        program = Path(__file__).with_name("target.py")
        with log.open("wb") as errors, log.open("rb") as lines:
            process = await trio.lowlevel.open_process(
                [sys.executable, str(program), f"unix://{socket}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**kept, **places, **ONE_ARENA, "LANG": "C.UTF-8", "PYTHONFAULTHANDLER": "1"},
                cwd=root,
            )
            try:
                target = Target(process, socket, lines)
                await target.told()
                yield target
            finally:
                if process.returncode is not None:
                    print("FOUND the server has ended with", process.returncode, flush=True)
                process.kill()
                with trio.move_on_after(5, shield=True):
                    await process.wait()
        nursery.cancel_scope.cancel("the server has ended")


async def forget(model: ScriptedModel) -> None:
    """Keep the model from remembering all that it was asked."""
    while True:
        await trio.sleep(1)
        model.requests.clear()
        model.title_requests.clear()


def configuration(base_url: str) -> dict[str, object]:
    """Return a configuration with the scripted model."""
    model = {"id": "m", "name": "M", "context_window": 10**6, "default_max_tokens": 1_000}
    provider = {"type": "openai-compat", "base_url": base_url, "api_key": "k", "models": [model]}
    chosen = {name: {"provider": "scripted", "model": "m"} for name in ("large", "small")}
    return {"providers": {"scripted": provider}, "models": chosen}


def numbered(count: int, offset: int, kinds: list[str]) -> Iterator[tuple[str, int]]:
    """Yield kind and number of the next inputs."""
    shares = [kind for kind in SHARES if kind in kinds]
    return ((shares[number % len(shares)], number) for number in range(offset, offset + count))


async def throw_all(
    inputs: Iterator[tuple[str, int]],
    target: Target,
    root: Path,
    options: argparse.Namespace,
    tally: Tally,
) -> None:
    """Let all workers throw, and then leave."""

    async def work() -> None:
        async with open_worker(target.socket, root, str(options.seed), tally) as worker:
            for kind, number in inputs:
                await worker.throw(kind, number)

    async with trio.open_nursery() as nursery:
        for _ in range(options.workers):
            nursery.start_soon(work)


def sweep_out(places: Path) -> None:
    """Remove the workspaces' directories, once all have closed."""
    shutil.rmtree(places, ignore_errors=True)


async def campaign(options: argparse.Namespace, root: Path, tally: Tally) -> list[dict[str, int]]:
    """Throw all inputs, round by round; return what the server held after each."""
    begun = time.monotonic()
    log, places = options.log or root / "log", root / "places"
    async with open_target(root, log) as target:
        if options.only:
            kind, _, number = options.only.partition(":")
            await target.rest()
            await throw_all(iter([(kind, int(number))]), target, places, options, tally)
            tally.findings += await target.settle()
            return target.counts
        await throw_all(numbered(WARM_UP, 10**9, options.kinds), target, places, options, tally)
        await target.rest()
        sweep_out(places)
        done = 0
        while done < options.inputs and time.monotonic() - begun < options.minutes * 60:
            count = min(options.round, options.inputs - done)
            await throw_all(numbered(count, done, options.kinds), target, places, options, tally)
            done += count
            wrong = await target.settle()
            sweep_out(places)
            tally.findings += [f"after {done} inputs: {each}" for each in wrong]
            if not await target.serves():
                tally.findings.append(f"after {done} inputs: it does not serve")
            seconds = time.monotonic() - begun
            print(f"{done} inputs in {seconds:.0f} s, {target.counts[-1]}", flush=True)
            if len(tally.findings) > options.findings:
                break
    return target.counts


def main() -> int:
    """Run, report, and return the exit status: 1 if something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="stop after the round that ends then"
    )
    parser.add_argument("--round", type=int, default=20_000, help="inputs between two counts")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=list(KINDS))
    parser.add_argument("--findings", type=int, default=20, help="stop after so many")
    parser.add_argument("--log", type=Path, help="where the server's log goes, and stays")
    parser.add_argument("--only", metavar="KIND:NUMBER", help="throw one input")
    options = parser.parse_args()
    tally, begun = Tally(), time.monotonic()
    tally.findings += [f"no input is made for {route}" for route in unfuzzed()]
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        counts = trio.run(campaign, options, Path(name).resolve(), tally)
    print(f"seed {options.seed}, {time.monotonic() - begun:.0f} s")
    print("inputs:", json.dumps(tally.inputs))
    print("answers:", json.dumps(dict(sorted(tally.statuses.items()))))
    print("held at first and at last:", counts[0], counts[-1])
    for finding in tally.findings:
        print("FOUND", finding)
    return 1 if tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())
