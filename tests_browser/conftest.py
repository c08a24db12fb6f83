"""One browser for all tests of this directory, and one server with a token."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Playwright, expect, sync_playwright

from browser_kit import STEP, Server, open_browser, open_server
from obtain_chromium import obtain


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the browser be chosen."""
    parser.addoption("--chromium", metavar="PATH", help="the Chromium or Chrome to look with")
    parser.addoption("--packed", action="store_true", help="look with the one of the npm registry")


@pytest.fixture(scope="session")
def executable(request: pytest.FixtureRequest) -> str:
    """The path of the browser."""
    named = request.config.getoption("--chromium")
    return str(named or obtain(packed=bool(request.config.getoption("--packed"))))


@pytest.fixture(scope="session")
def driver() -> Generator[Playwright]:
    """What talks to browsers."""
    expect.set_options(timeout=STEP * 1000)
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def browser(driver: Playwright, executable: str) -> Generator[Browser]:
    """A browser; each look has a profile of its own in it."""
    with open_browser(driver, executable) as browser:
        yield browser


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """A server that asks for the token."""
    with open_server(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory for a workspace."""
    directory = tmp_path / "project"
    directory.mkdir()
    return directory
