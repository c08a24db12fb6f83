"""A server of the command line's, a browser, and one look at the server's page with all that it did."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import attrs
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Playwright, Request

from project_kit import config, make_project

TOKEN = "a-token-that-is-typed-into-the-page"

STEP = 10.0
"""Seconds that one step of the page, of the server's start or of its end may take."""

LAUNCH = 60.0
"""Seconds that the browser may take to start: a new one reads 200 MB from the disk."""

_STATUS = re.compile(r"Failed to load resource: the server responded with a status of (\d+)")
_LISTENING = re.compile(rb"listening at tcp://(\S+)")


@attrs.frozen
class Server:
    """A server at a TCP address, and the directory that its workspaces may be in."""

    origin: str
    directory: Path


@contextmanager
def open_server(tmp_path: Path, *arguments: str) -> Generator[Server]:
    """Run ``crush-trio serve`` on a free port of this machine; the block is entered when it listens.

    Leaving the block stops it, and kills it if it does not stop.
    """
    directory, environ = make_project(tmp_path, config())
    environ |= {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    command = [sys.executable, "-m", "crush_trio", "serve", "--host", "tcp://127.0.0.1:0"]
    process = subprocess.Popen(
        [*command, *arguments],
        env=environ if "--no-token" in arguments else {**environ, "CRUSH_TRIO_TOKEN": TOKEN},
        stderr=subprocess.PIPE,
    )
    try:
        yield Server(f"http://{_address(process)}", directory)
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=STEP)
        assert process.returncode == 0, log.decode()
    finally:
        process.kill()
        process.communicate()


def _address(process: subprocess.Popen[bytes]) -> str:
    """Wait until the server listens; return its host and port."""
    assert process.stderr is not None
    end, log = time.monotonic() + LAUNCH, b""
    while not (found := _LISTENING.search(log)) or not log.endswith(b"\n"):
        ready, _, _ = select.select([process.stderr], [], [], max(0.0, end - time.monotonic()))
        read = os.read(process.stderr.fileno(), 2**16) if ready else b""
        assert read, f"the server does not listen: {log.decode()}"
        log += read
    return found[1].decode()


@contextmanager
def open_browser(driver: Playwright, executable: str) -> Generator[Browser]:
    """Start a headless browser; leaving the block ends it and all its processes."""
    browser = driver.chromium.launch(executable_path=executable, timeout=LAUNCH * 1000)
    try:
        yield browser
    finally:
        browser.close()


@attrs.define(eq=False, slots=False)  # the driver notes its listeners on their object
class Look:
    """One look at the server's page, in a browser profile of its own."""

    page: Page
    server: Server
    requests: list[Request] = attrs.field(factory=list[Request])
    statuses: list[int] = attrs.field(factory=list[int])
    complaints: list[str] = attrs.field(factory=list[str])

    def sent(self, request: Request) -> None:
        """Take a request, of whatever kind, to wherever."""
        self.requests.append(request)

    def heard(self, message: ConsoleMessage) -> None:
        """Take what the browser writes to its console, in which it reports each 4xx and 5xx itself."""
        if found := _STATUS.match(message.text):
            self.statuses.append(int(found[1]))
        elif message.type in {"error", "warning", "assert"}:
            self.complaints.append(message.text)

    def open(self, path: str = "/v1/docs/") -> None:
        """Go to the page and wait until it has asked for the document and shown what came of it."""
        self.page.goto(self.server.origin + path)
        self.page.locator("#problem:not(:empty), #main > *").first.wait_for()

    def show(self, token: str = TOKEN) -> None:
        """Type a token and press Show."""
        self.page.get_by_label("token").fill(token)
        self.page.get_by_role("button", name="Show").click()

    def operation(self, title: str) -> Operation:
        """Open an operation, such as ``GET /v1/health``."""
        box = self.page.locator("details").filter(
            has=self.page.get_by_role("button", name=f"Send {title}", exact=True)
        )
        method, path = title.split()
        summary = self.page.locator("summary").filter(has=self.page.get_by_text(method, exact=True))
        summary.filter(has=self.page.get_by_text(path, exact=True)).click()
        box.wait_for()
        return Operation(self.page, box, title)

    def open_all(self) -> None:
        """Open every operation and every event."""
        self.page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
        self.page.wait_for_function(
            "() => [...document.querySelectorAll('details')].every(one => one.childElementCount > 1)"
        )

    def asked(self) -> list[tuple[str, str]]:
        """Return the method and the path, with its query, of each request so far."""
        split = [(one.method, urlsplit(one.url)) for one in self.requests]
        return [
            (method, url.path + (f"?{url.query}" if url.query else "")) for method, url in split
        ]


@attrs.frozen
class Operation:
    """One opened operation."""

    page: Page
    box: Locator
    title: str

    def fill(self, field: str, value: str) -> None:
        """Type into the field whose label begins so; ``Body`` is the body."""
        self.field(field).fill(value)

    def field(self, field: str) -> Locator:
        """Return the field whose label begins so."""
        return self.box.get_by_role("textbox", name=re.compile("^" + re.escape(field)))

    def send(self) -> None:
        """Press Send."""
        self.box.get_by_role("button", name=f"Send {self.title}", exact=True).click()

    def answer(self) -> Locator:
        """Return where the answer is shown, once it is whole."""
        self.box.get_by_role("button", name=f"Stop {self.title}", exact=True).wait_for(
            state="hidden"
        )
        return self.box.get_by_role("log")


@contextmanager
def looking(
    browser: Browser,
    server: Server,
    *,
    refusals: tuple[int, ...] = (),
    complaint: str | None = None,
    width: int = 1000,
) -> Generator[Look]:
    """Open an empty page. What must hold of every look is checked when the block ends.

    Nothing was asked of another host, the token was in no address, no script failed, and the console
    has only what was announced.

    Args:
        browser: Where.
        server: At what.
        refusals: The statuses of 4xx and 5xx that the page was answered, in order.
        complaint: What every further error or warning in the console says; if not given there is none.
        width: Of the window, in pixels.
    """
    with browser.new_context(viewport={"width": width, "height": 800}) as context:
        page = context.new_page()
        page.set_default_timeout(STEP * 1000)
        look = Look(page, server)
        failures: list[str] = []
        context.on("request", look.sent)
        page.on("console", look.heard)
        page.on("pageerror", lambda error: failures.append(str(error)))
        yield look
        assert failures == []
        addresses = [one.url for one in look.requests]
        assert addresses
        assert [url for url in addresses if not url.startswith(f"{server.origin}/v1/")] == []
        assert [url for url in addresses if TOKEN in url] == []
        assert tuple(look.statuses) == refusals
        unexpected = [one for one in look.complaints if complaint is None or complaint not in one]
        assert unexpected == []
