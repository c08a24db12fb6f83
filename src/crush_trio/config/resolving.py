"""Loading with everything that must be found out first: commands to run, endpoints to ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import attrs
import trio

from crush_trio.config.configuration import Configuration, Kept
from crush_trio.config.endpoint import Endpoint
from crush_trio.config.expand import Command, Failed
from crush_trio.config.findings import Findings, Needed
from crush_trio.config.load import load
from crush_trio.errors import CrushTrioError
from crush_trio.wire.config import Model

COMMAND_TIMEOUT = 300.0
"""Seconds that a command in a value may take (agent contract 3.11)."""

DISCOVERY_TIMEOUT = 3.0
"""Seconds that all endpoints together may take to say which models they have (agent contract 3.4)."""


class ConfigReader(Protocol):
    """The seam to the files: :func:`~crush_trio.config.load`, or what stands for it."""

    def __call__(
        self,
        directory: Path,
        *,
        env: Mapping[str, str],
        data_dir: str = "",
        debug: bool = False,
        kept: Kept | None = None,
        findings: Findings | None = None,
    ) -> Configuration:
        """Return the configuration of a directory, or raise as :func:`~crush_trio.config.load`."""
        ...


class Outside(Protocol):
    """The seam to the outside world that a configuration needs."""

    async def run(self, command: str, *, env: Mapping[str, str], working_dir: Path) -> str:
        """Run a shell command and return what it printed, without the line ends behind it.

        A cancel leaves no process behind.

        Raises:
            CrushTrioError: it failed; the message holds nothing of what it printed (A2).
        """
        ...

    async def models(self, endpoint: Endpoint) -> tuple[Model, ...]:
        """Ask an endpoint which models it has.

        Raises:
            CrushTrioError: it did not say; the message holds no secret (A2).
        """
        ...


async def resolve(
    outside: Outside,
    directory: Path,
    *,
    read: ConfigReader = load,
    env: Mapping[str, str],
    data_dir: str = "",
    debug: bool = False,
    kept: Callable[[], Kept] = Kept,
    findings: Findings | None = None,
) -> Configuration:
    """Return the configuration of a directory, as :func:`load` does, after finding out what it needs.

    Waits for commands and endpoints. What fails is a part of the answer, unless loading cannot do
    without it. The last reading of the files is one step with this call's return.

    Args:
        outside: Runs commands and asks endpoints.
        directory: As for :func:`load`, like all others.
        read: Reads the files.
        env: The environment.
        data_dir: The caller's data directory.
        debug: Turn ``options.debug`` on.
        kept: Tells what this process knows beside the files, each time when they are read.
        findings: What is known already; it is not asked for again.

    Raises:
        ConfigError: as for :func:`load`.
    """
    findings = findings or Findings()
    await trio.lowlevel.checkpoint()
    while True:
        try:
            return read(
                directory,
                env=env,
                data_dir=data_dir,
                debug=debug,
                kept=kept(),
                findings=findings,
            )
        except Needed as needed:
            questions = needed.questions
        await _find_out(outside, directory, questions, findings)


async def renew_endpoint(
    outside: Outside, directory: Path, configuration: Configuration, provider_id: str
) -> Endpoint:
    """Run the commands in a provider's entry again, and return its endpoint with their output.

    From then on the configuration's own endpoint has it, too.

    Raises:
        ConfigError: the provider is unknown, or a template fails.
    """
    newer = Findings(tokens=configuration.findings.tokens)
    while True:
        try:
            endpoint = attrs.evolve(configuration, findings=newer).asking_endpoint(provider_id)
        except Needed as needed:
            questions = needed.questions
        else:
            configuration.findings.take(newer)
            return endpoint
        await _find_out(outside, directory, questions, newer)


async def _find_out(
    outside: Outside,
    directory: Path,
    questions: tuple[Command | Endpoint, ...],
    findings: Findings,
) -> None:
    """Find all of it out at the same time."""

    async def run(command: Command) -> None:
        answer: str | Failed = Failed(f"the command did not end within {COMMAND_TIMEOUT:g} s")
        with trio.move_on_after(COMMAND_TIMEOUT):
            try:
                answer = await outside.run(command.text, env=command.env, working_dir=directory)
            except CrushTrioError as error:
                answer = Failed(str(error))
        findings.add_output(command, answer)

    async def ask(endpoint: Endpoint) -> None:
        answer: tuple[Model, ...] | Failed
        answer = Failed(f"its endpoint did not answer within {DISCOVERY_TIMEOUT:g} s")
        with trio.move_on_after(DISCOVERY_TIMEOUT):
            try:
                answer = await outside.models(endpoint)
            except CrushTrioError as error:
                answer = Failed(str(error))
        findings.add_models(endpoint, answer)

    async with trio.open_nursery() as nursery:
        for question in questions:
            if isinstance(question, Command):
                nursery.start_soon(run, question)
            else:
                nursery.start_soon(ask, question)
