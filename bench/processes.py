"""The processes that are measured: started here, asked what they used, ended here and nowhere else."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

import attrs
import psutil

from sockets import Client, readers

HERE = Path(__file__).parent
START_LIMIT = 20.0
"""Seconds that a server may take to answer for the first time."""

STOP_LIMIT = 10.0
"""Seconds that a process may take to end; then it is killed."""

CLAIM_EVERY = 5.0
"""Seconds between two claims of a workspace; one alone holds it for 30 s."""

Kind = Literal["ours", "bare"]
_CLIENT = "00000000-0000-4000-8000-ffffffffffff"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@contextmanager
def process(
    *command: str, env: dict[str, str] | None = None, log: Path | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """Run a Python program; leaving the block ends it."""
    with ExitStack() as files:
        errors = files.enter_context(log.open("ab")) if log else None
        running = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=env,
        )
        try:
            yield running
        finally:
            running.terminate()
            try:
                running.communicate(timeout=STOP_LIMIT)
            except subprocess.TimeoutExpired:
                running.kill()
                running.communicate()


class Model:
    """The model's process, and what it told."""

    def __init__(self, running: subprocess.Popen[bytes], port: int) -> None:
        assert running.stdout is not None
        self.port = port
        self._output = running.stdout.fileno()
        self._rest = b""
        self._told: dict[tuple[str, str], float] = {}

    def when(self, what: str, session: str, limit: float = 5.0) -> float:
        """Return when something last happened to a session's answer, in seconds of the common clock."""
        deadline = time.monotonic() + limit
        while (what, session) not in self._told:
            self._read(deadline - time.monotonic(), f"the model did not tell of {what!r}")
        return self._told.pop((what, session))

    def forget(self) -> None:
        """Drop what was told until now."""
        while select.select([self._output], [], [], 0)[0]:
            self._read(0, "")
        self._told.clear()

    def _read(self, wait: float, failure: str) -> None:
        if not select.select([self._output], [], [], max(wait, 0))[0]:
            raise TimeoutError(failure)
        *lines, self._rest = (self._rest + os.read(self._output, 2**20)).split(b"\n")
        for line in lines:
            what, session, seconds = line.decode().split()
            self._told[what, session] = float(seconds)


@contextmanager
def model() -> Generator[Model]:
    port = free_port()
    with process(str(HERE / "model.py"), str(port)) as running:
        _wait_until(lambda: _listens(port), running)
        yield Model(running, port)


@attrs.define
class Server:
    """A server under test with one workspace.

    Attributes:
        started_in: Seconds from exec to the first healthy answer.
        idle_rss: Bytes after that answer.
    """

    kind: Kind
    port: int
    running: subprocess.Popen[bytes]
    process: psutil.Process
    client: Client
    started_in: float
    idle_rss: int
    directory: Path
    workspace: str = ""
    claimed_at: float = 0.0

    @property
    def cpu(self) -> float:
        """Seconds of CPU that the process has used, all its threads together.

        From the kernel's clock of that process (Linux): ``/proc`` counts in steps of 10 ms.
        """
        return time.clock_gettime((~self.process.pid << 3) | 2)

    @property
    def rss(self) -> int:
        return self.process.memory_info().rss

    @property
    def route(self) -> str:
        return f"/v1/workspaces/{self.workspace}"

    def claim(self) -> None:
        """Keep the workspace open for a while, or open it again: without readers it would close."""
        if time.monotonic() < self.claimed_at + CLAIM_EVERY:
            return
        wanted = {"path": str(self.directory), "client_id": _CLIENT}
        status, body = self.client.ask("POST", "/v1/workspaces", wanted)
        assert status == 200, body
        self.workspace = json.loads(body)["id"]
        self.claimed_at = time.monotonic()

    @contextmanager
    def readers(self, count: int, *, query: str = "") -> Generator[list[Client]]:
        """Open event streams and wait until each has its head."""
        self.claim()
        with readers(self.port, self.route, count, query=query) as opened:
            yield opened

    def leave(self) -> None:
        """Say goodbye, and wait until the readers' grace is over too and the workspace closed."""
        self.claimed_at = 0.0
        status, body = self.client.ask("DELETE", f"{self.route}?client_id={_CLIENT}")
        assert status == 200, body
        deadline = time.monotonic() + START_LIMIT
        while self.client.ask("GET", "/v1/workspaces")[1].strip() != b"[]":
            assert time.monotonic() < deadline, "the workspace stays open"
            time.sleep(0.2)

    def held(self) -> dict[str, int]:
        """Return what the variant ``counted`` holds."""
        assert self.running.stdin is not None
        assert self.running.stdout is not None
        self.running.stdin.write(b"?\n")
        self.running.stdin.flush()
        return json.loads(self.running.stdout.readline())

    def create_session(self) -> str:
        self.claim()
        status, body = self.client.ask("POST", f"{self.route}/sessions", {"title": "bench"})
        assert status == 200, body
        return json.loads(body)["id"]

    def connect(self) -> Client:
        return Client(self.port)


@contextmanager
def server(kind: Kind, models: Model, variant: str = "") -> Generator[Server]:
    """Start a server with nothing in its home but a configuration for our model.

    Args:
        kind: Ours or the bare one.
        models: What it asks.
        variant: Of ours; see ``variant.py``.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-") as name, ExitStack() as parts:
        home = Path(name)
        (home / "work").mkdir()
        log = home / "log"
        command = _command(kind, port, models.port, home, variant)
        begun = time.monotonic()
        running = parts.enter_context(process(*command, env=environment(home), log=log))
        client = parts.enter_context(Client.patient(port, lambda: _alive(running, log)))
        status, body = client.ask("GET", "/v1/health")
        started_in = time.monotonic() - begun
        assert status == 200, body
        measured = psutil.Process(running.pid)
        time.sleep(0.3)  # whatever it does after its first answer belongs to its idle state
        idle = measured.memory_info().rss
        started = Server(kind, port, running, measured, client, started_in, idle, home / "work")
        started.claim()
        yield started


def _command(kind: Kind, port: int, model_port: int, home: Path, variant: str) -> list[str]:
    if kind == "bare":
        return [str(HERE / "bare.py"), str(port), str(model_port)]
    models = [
        {"id": name, "name": name, "context_window": 10**7, "default_max_tokens": 10**5}
        for name in ("large", "small")
    ]
    provider = {
        "type": "openai-compat",
        "base_url": f"http://127.0.0.1:{model_port}/v1",
        "api_key": "none",
        "models": models,
    }
    chosen = {name: {"provider": "bench", "model": name} for name in ("large", "small")}
    config = {"providers": {"bench": provider}, "models": chosen}
    (home / "work" / "crush.json").write_text(json.dumps(config), encoding="utf-8")
    program = [str(HERE / "variant.py"), variant] if variant else ["-m", "crush_trio"]
    return [*program, "serve", "--host", f"tcp://127.0.0.1:{port}", "--no-token"]


def environment(home: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "PYTHONPATH") if name in os.environ}
    places = {name: str(home) for name in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR")}
    return kept | places


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def _alive(running: subprocess.Popen[bytes], log: Path | None = None) -> None:
    if running.poll() is not None:
        said = log.read_text(errors="replace")[-2000:] if log else ""
        raise RuntimeError(f"the process ended with {running.returncode}\n{said}")


def _wait_until(ready: Callable[[], bool], running: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_LIMIT
    while not ready():
        _alive(running)
        if time.monotonic() > deadline:
            raise TimeoutError("a process does not listen")
        time.sleep(0.002)
