"""What all built-in tools share: their description, their schema, and the containment of errors.

Above it is the registry; below it the seam. A tool is a subclass with a name, a parameter struct
and :meth:`Builtin.call`; what a model is told stands in ``<name>.md`` beside it.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Generic

import msgspec

from crush_trio.errors import CrushTrioError, error_text
from crush_trio.tools.arguments import P, decode, schema
from crush_trio.tools.base import ToolAnswer, ToolContext, error

_log = logging.getLogger(__name__)


class Builtin(ABC, Generic[P]):
    """A tool of our own; implements :class:`~crush_trio.tools.base.Tool`."""

    name: str
    parallel: bool = False
    params: type[P]

    def __init__(self) -> None:
        self.description = self.describe(_description(self.name))
        self.parameters: Mapping[str, Any] = _parameters(self.params)

    def describe(self, text: str) -> str:
        """Return what the model is told; ``text`` is that of the tool's file."""
        return text

    async def run(self, arguments: bytes | str, context: ToolContext) -> ToolAnswer:
        """Decode the arguments, do the work and answer; every failure becomes an error answer."""
        try:
            return await self.call(decode(arguments, self.params), context)
        except (CrushTrioError, OSError) as failure:
            return error(error_text(failure))
        except Exception as failure:  # noqa: BLE001 - C3: a broken tool breaks only its call
            _log.exception("tool %s failed", self.name)
            return error(f"{self.name} failed: {error_text(failure)}")

    @abstractmethod
    async def call(self, params: P, context: ToolContext) -> ToolAnswer:
        """Do the work; errors may be raised."""


@cache
def _parameters(params: type[msgspec.Struct]) -> Mapping[str, Any]:
    return schema(params)


@cache
def _description(name: str) -> str:
    """Return what ships with this package; a server opens many workspaces."""
    return (
        resources.files("crush_trio.tools")
        .joinpath(f"{name}.md")
        .read_text(encoding="utf-8")
        .strip()
    )
