"""Every check this project has. CI runs these sessions; nothing is checked any other way."""

from __future__ import annotations

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "layers", "types", "tests"]

PROJECT = nox.project.load_toml("pyproject.toml")


def install(session: nox.Session, *groups: str) -> None:
    """Install this package with all that is optional, and the named dependency groups."""
    session.install("-e.[local,tls]", *nox.project.dependency_groups(PROJECT, *groups))


@nox.session
def lint(session: nox.Session) -> None:
    """Check format and lint; flake8-async holds the cancellation rules that ruff lacks."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("flake8", "src", "tests", "tests_browser", "fuzz", "mutants")


@nox.session
def layers(session: nox.Session) -> None:
    """Check that imports point downwards."""
    install(session, "lint")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Type-check everything, strictly."""
    install(session, "types")
    session.run("pyright")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests; with `-- --cov` under coverage."""
    install(session, "test")
    if "--cov" in session.posargs:
        session.run("coverage", "run", "-m", "pytest")
        session.run("coverage", "report")
    else:
        session.run("pytest", *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """Look at the routes' page in a real browser; ``-- --chromium PATH`` or ``-- --packed`` names one."""
    install(session, "browser")
    if "--chromium" not in session.posargs:
        packed = [one for one in session.posargs if one == "--packed"]
        session.run("python", "tests_browser/obtain_chromium.py", *packed)
    session.run("pytest", "tests_browser", *session.posargs)


@nox.session(python=["3.12", "3.13"])
def newer(session: nox.Session) -> None:
    """Run the tests on newer Pythons, which bring a newer Quart, too."""
    install(session, "test")
    session.run("pytest", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the rows of docs/performance.md beside a bare server; never part of the tests."""
    install(session, "bench")
    session.run("python", "bench/run.py", *session.posargs)


@nox.session
def sweep(session: nox.Session) -> None:
    """Strike every story of the testing kit with everything, at every step; ten minutes of two cores."""
    install(session, "test")
    session.run("python", "-m", "crush_trio.testing", "sweep", *session.posargs)


@nox.session
def stories(session: nox.Session) -> None:
    """Draw 20,000 new random stories; a failure is printed with what plays it again."""
    install(session, "test")
    patient = ["-o", "faulthandler_timeout=0", "--hypothesis-profile=search"]
    session.run("pytest", *patient, "tests/testing/test_random_stories.py", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Throw bytes, frames and documents at a real server; ``-- --help`` lists the options."""
    install(session, "test")
    session.run("python", "fuzz/run.py", *session.posargs)


@nox.session
def sweep_network(session: nox.Session) -> None:
    """Strike the server through its connections at every step; ``-- --help`` lists the options."""
    install(session, "test")
    for protocol in ([], ["--http2"]):
        module = "crush_trio.testing.network_session"
        session.run("python", "-m", module, *protocol, *session.posargs)


@nox.session
def mutants(session: nox.Session) -> None:
    """Plant each fault of ``mutants/`` and show which check finds it; ``-- NAME`` for one."""
    install(session, "test")
    session.run("python", "mutants/run.py", *session.posargs)
