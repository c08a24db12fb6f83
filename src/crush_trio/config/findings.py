"""What a configuration needs from outside: what commands print, and which models an endpoint has.

Loading is one synchronous step over files and an environment, and so it cannot wait. What it needs
and does not have it *asks* for, by raising :class:`Needed`. Whoever loads finds that out (runs the
command, asks the endpoint), adds it to the findings and loads again from the start; see
:mod:`crush_trio.config.resolving`. So a configuration is always one consistent reading of its files.
"""

from __future__ import annotations

import attrs

from crush_trio.config.endpoint import Endpoint
from crush_trio.config.expand import Command, Failed, no_commands
from crush_trio.wire.config import Model, Token

Discovered = tuple[Model, ...] | Failed
"""The models that an endpoint has, or why it did not say."""


class Needed(Exception):  # noqa: N818  no error: a question to whoever loads
    """Something has to be found out before this configuration can be loaded."""

    def __init__(self, *questions: Command | Endpoint) -> None:
        super().__init__("a value is not known yet")
        self.questions = questions


@attrs.define
class Findings:
    """What has been found out so far.

    Attributes:
        asks: Whether what is not known yet can be found out; if not, it has failed.
        tokens: By provider, what has been renewed since the files were read.
    """

    asks: bool = True
    _outputs: dict[Command, str | Failed] = attrs.field(factory=dict[Command, "str | Failed"])
    _models: list[tuple[Endpoint, Discovered]] = attrs.field(
        factory=list[tuple[Endpoint, Discovered]]
    )
    tokens: dict[str, Token] = attrs.field(factory=dict[str, Token], repr=False)

    def output(self, command: Command) -> str | Failed:
        """Return what a command printed.

        Raises:
            Needed: it has not been run.
        """
        found = self._outputs.get(command)
        if found is None:
            if not self.asks:
                return no_commands(command)
            raise Needed(command)
        return found

    def models(self, endpoint: Endpoint) -> Discovered:
        """Return the models of an endpoint.

        Raises:
            Needed: it has not been asked.
        """
        for asked, found in self._models:
            if asked == endpoint:
                return found
        if not self.asks:
            return Failed("nobody asks its endpoint here")
        raise Needed(endpoint)

    def add_output(self, command: Command, output: str | Failed) -> None:
        """Remember what a command printed."""
        self._outputs[command] = output

    def add_models(self, endpoint: Endpoint, models: Discovered) -> None:
        """Remember which models an endpoint has."""
        self._models.append((endpoint, models))

    def take(self, newer: Findings) -> None:
        """Remember what somebody else has found out later."""
        self._outputs |= newer._outputs

    def succeeded(self) -> Findings:
        """Return what is worth keeping for the next reading: not what failed."""
        return Findings(
            self.asks,
            {key: value for key, value in self._outputs.items() if isinstance(value, str)},
            [(key, value) for key, value in self._models if not isinstance(value, Failed)],
        )
