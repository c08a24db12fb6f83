"""The configuration of an open workspace: what is in force, and how clients change it (R-47 to R-55).

Above it is the workspace, which tells its clients of changes; below it the files. A change is
written, then everything is read again. The end of each reading and its coming into force are one
step, so that readings which overlap never bring back an older state. A reading that fails leaves
what is in force.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import msgspec
import trio

from crush_trio.config import ConfigReader, Configuration, Outside, global_data_dir, resolve
from crush_trio.config.configuration import Kept
from crush_trio.config.documents import RECENT_LIMIT
from crush_trio.config.files import FILE_NAME, Source, read_document
from crush_trio.config.findings import Findings
from crush_trio.config.keys import drop, parse_key, put
from crush_trio.config.writing import edit, section
from crush_trio.errors import BadRequestError, ConfigError, CrushTrioError, WorkspaceClosingError
from crush_trio.wire.config import RecentModel, SelectedModel, Token
from crush_trio.workspaces.plan import Plan

WORKSPACE_SCOPE = 1
"""The scope of the file in the data directory; every other number is the user's own file."""

GLOBAL_SCOPE = 0
"""The scope that clients use for the user's own file (wire contract 4.7)."""

_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class _Outcome:
    """How work ended that somebody waits for; it has not, until it says so."""

    error: CrushTrioError | None = attrs.field(factory=WorkspaceClosingError)
    known: trio.Event = attrs.field(factory=trio.Event)


class Configured:
    """The configuration of one workspace.

    Args:
        plan: What the workspace was opened with.
        outside: Runs commands and asks endpoints.
        read: Reads the files.
        start: Starts work that is the workspace's and not its request's; sync.
        tell: Tells the clients that something has changed; sync.
        adopt: Given what comes into force; sync.

    Attributes:
        current: What is in force.
    """

    def __init__(
        self,
        plan: Plan,
        outside: Outside,
        read: ConfigReader,
        start: Callable[[Callable[[], Awaitable[None]], str], None],
        tell: Callable[[], None],
        adopt: Callable[[Configuration], None],
    ) -> None:
        self.current: Configuration = plan.config
        self._plan = plan
        self._outside = outside
        self._read = read
        self._start = start
        self._tell = tell
        self._adopt = adopt
        self._kept = Kept()

    async def read_again(self, *, fresh: bool = False) -> None:
        """Read all files again. Waits for commands and endpoints whose answer is not known.

        Args:
            fresh: Run commands and ask endpoints again, also those that succeeded before.

        Raises:
            ConfigError: the files make no sense; what was in force stays.
        """
        request = self._plan.request
        self.current = await resolve(
            self._outside,
            self._plan.directory,
            read=self._read,
            env=self._plan.server_env,
            data_dir=request.data_dir,
            debug=request.debug,
            kept=lambda: self._kept,
            findings=Findings() if fresh else self.current.findings.succeeded(),
        )
        self._adopt(self.current)
        await self.write_corrections()

    async def write_corrections(self) -> None:
        """Put what is in force into the user's file for models that do not exist (agent contract 3.3).

        Clients have been told of it already. A file that cannot be written is only logged.
        """
        corrections = self.current.corrections
        if not corrections:
            return
        path = self.file(GLOBAL_SCOPE)

        def change(document: dict[str, Any]) -> None:
            models = section(document, "models")
            models.update({kind: msgspec.to_builtins(model) for kind, model in corrections.items()})

        try:
            # A project's file may go on outranking it: then nothing is left to be written here.
            before, _ = read_document(Source(path))
            after = copy.deepcopy(before)
            change(after)
            if after != before:
                await edit(path, change)
        except ConfigError as error:
            _log.warning("the choice of models is not corrected: %s", error)

    # --- changes ---------------------------------------------------------------------------

    async def set(self, scope: int, key: str, value: Any) -> None:
        """Set a value in a scope's file; what kind of value it is is not looked at (R-47).

        Raises:
            BadRequestError: there is no such place.
            ConfigError: the file is broken, or cannot be written.
        """
        await self._edit(scope, key, "set", lambda document, keys: put(document, keys, value))

    async def set_compact_mode(self, scope: int, *, enabled: bool) -> None:
        """Set whether terminal clients are compact (R-50).

        Raises:
            ConfigError: the file is broken, or cannot be written.
        """

        def change(document: dict[str, Any]) -> None:
            section(document, "options", "tui")["compact_mode"] = enabled

        await self._change(scope, change)

    async def remove(self, scope: int, key: str) -> None:
        """Remove a value from a scope's file, if it is there (R-48).

        Raises:
            BadRequestError: this is no way to a value.
            ConfigError: the file is broken, or cannot be written.
        """
        await self._edit(scope, key, "delete", drop)

    async def choose_model(self, scope: int, kind: str, model: SelectedModel) -> None:
        """Choose the large or the small model, and remember it as the latest one (R-49).

        It is in force for turns after the next update of the agent, and is told to clients as it
        is, whether it exists or not.

        Raises:
            BadRequestError: ``kind`` is empty.
            ConfigError: the file is broken, or cannot be written.
        """
        if not kind:
            raise BadRequestError("model_type is empty: it is 'large' or 'small'")
        recent = RecentModel(model.model, model.provider)

        def change(document: dict[str, Any]) -> None:
            section(document, "models")[kind] = msgspec.to_builtins(model)
            lists = section(document, "recent_models")
            older = lists.get(kind)
            before = msgspec.convert(older, list[RecentModel]) if isinstance(older, list) else []
            kept = [recent, *(one for one in before if one != recent)][:RECENT_LIMIT]
            lists[kind] = msgspec.to_builtins(kept)

        def keep() -> None:
            self._kept = attrs.evolve(self._kept, models={**self._kept.models, kind: model})

        await self._change(scope, change, keep)

    async def store_key(self, scope: int, provider_id: str, key: str | Token) -> None:
        """Store a provider's key, or the token of a login (R-51).

        Raises:
            BadRequestError: no such provider is known.
            ConfigError: the file is broken, or cannot be written.
        """
        if not self.current.is_known(provider_id):
            raise BadRequestError(f"provider with ID {provider_id} not found in known providers")

        def change(document: dict[str, Any]) -> None:
            entry = section(document, "providers", provider_id)
            if isinstance(key, Token):
                entry["oauth"] = msgspec.to_builtins(key)
            entry["api_key"] = key.access_token if isinstance(key, Token) else key

        await self._change(scope, change)

    async def _edit(
        self,
        scope: int,
        key: str,
        verb: str,
        change: Callable[[dict[str, Any], Sequence[str]], None],
    ) -> None:
        try:
            keys = parse_key(key)
            await self._change(scope, lambda document: change(document, keys), self._forget_limits)
        except (ConfigError, BadRequestError) as error:
            raise BadRequestError(f"failed to {verb} config field {key}: {error}") from error

    def _forget_limits(self) -> None:
        self._kept = attrs.evolve(self._kept, limits_completions=False)

    async def _change(
        self,
        scope: int,
        change: Callable[[dict[str, Any]], None],
        then: Callable[[], None] = lambda: None,
    ) -> None:
        """Change a file, read everything again, and tell the clients."""

        async def work() -> None:
            await edit(self.file(scope), change)
            then()
            await self.follow()

        await self.carry_out(work)

    async def carry_out(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do something as the workspace's own work: whoever leaves in the middle of it changes nothing.

        Waits for its end.

        Raises:
            CrushTrioError: what the work raised.
        """
        outcome = _Outcome()

        async def carry() -> None:
            try:
                await work()
                outcome.error = None
            except CrushTrioError as error:
                outcome.error = error
            finally:
                outcome.known.set()

        self._start(carry, "configuration")
        await outcome.known.wait()
        if outcome.error is not None:
            raise outcome.error

    async def follow(self) -> None:
        """Read again after a change, and tell. What was written and makes no sense is not in force."""
        try:
            await self.read_again()
        except ConfigError as error:
            _log.warning("what has been written is not in force: %s", error)
        self._tell()

    def file(self, scope: int) -> Path:
        """Return the file of a scope."""
        if scope == WORKSPACE_SCOPE:
            return self.current.data_dir / FILE_NAME
        return global_data_dir(self._plan.server_env) / FILE_NAME
