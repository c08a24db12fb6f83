"""What a restart must know of the workspaces that are open, and the file that holds it.

Values and two calls that block; who calls them when is ``register``'s business (wire contract 0,
row 5.8). The file names each workspace with the request of its first creator, so that a client
that comes back gets the answers that it got before. That includes the creator's environment, which
the tools of the next prompt need and which may hold secrets: nobody but the owner may read the
file (A2), and what nobody comes back for is forgotten.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import attrs
import msgspec

from crush_trio.addresses import Address
from crush_trio.config.paths import global_data_dir
from crush_trio.ids import ClientID, WorkspaceID
from crush_trio.wire.workspaces import CreateWorkspace

logger = logging.getLogger(__name__)


class SavedClaim(msgspec.Struct, frozen=True):
    """A client that kept a workspace open, and what it called itself."""

    client_id: ClientID
    version: str = ""


class SavedWorkspace(msgspec.Struct, frozen=True):
    """A workspace that was open.

    Attributes:
        directory: The resolved directory, which is the workspace's identity.
        request: The first creator's.
        unused_since: Unix seconds of the first start at which it was saved and not open; 0 while
            it is open.
    """

    id: WorkspaceID
    directory: str
    request: CreateWorkspace
    claims: tuple[SavedClaim, ...] = ()
    unused_since: float = 0.0

    def __repr__(self) -> str:  # the request's would show the environment
        return f"<SavedWorkspace {self.id} {self.directory} claims {len(self.claims)}>"


class _Document(msgspec.Struct, frozen=True):
    format: Literal[1]
    address: str
    workspaces: tuple[SavedWorkspace, ...]


def without(saved: SavedWorkspace, client: ClientID) -> SavedWorkspace | None:
    """Return a workspace after a client's goodbye; None if that was the last client's.

    A client that has no claim on it changes nothing (wire contract 7.5).
    """
    left = tuple(claim for claim in saved.claims if claim.client_id != client)
    if len(left) == len(saved.claims):
        return saved
    return msgspec.structs.replace(saved, claims=left) if left else None


def still_kept(
    saved: Iterable[SavedWorkspace], now: float, kept: float
) -> tuple[SavedWorkspace, ...]:
    """Return what a server that starts at ``now`` takes over: not what was unused for ``kept`` s."""
    marked = (
        msgspec.structs.replace(each, unused_since=each.unused_since or now) for each in saved
    )
    return tuple(each for each in marked if now - each.unused_since < kept)


@attrs.frozen
class StateFile:
    """The file of one server address."""

    path: Path
    address: str

    @classmethod
    def at(cls, address: Address, env: Mapping[str, str]) -> StateFile:
        """Return the file of a server that listens at ``address`` with the environment ``env``."""
        path = global_data_dir(env) / "crush-trio" / f"{address.file_name}.json"
        return cls(path, str(address))

    def read(self) -> tuple[SavedWorkspace, ...]:
        """Return what was saved, in the order in which it was opened. Blocks.

        Nothing, if the file is missing, or is not such a file of our own: the log says so.
        """
        try:
            # Without waiting: a pipe of this name must not keep the server from starting.
            with os.fdopen(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                _require_ours(os.fstat(file.fileno()))
                document = msgspec.json.decode(file.read(), type=_Document)
            if document.address != self.address:
                raise ValueError(f"it belongs to {document.address}")  # noqa: TRY301
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, RecursionError) as error:
            logger.warning("saved workspaces in %s are ignored: %s", self.path, error)
            return ()
        return document.workspaces

    def write(self, saved: Sequence[SavedWorkspace]) -> None:
        """Replace the file, whole or not at all; it goes when there is nothing to save. Blocks.

        Not forced to the disk: whoever loses power loses the clients too.

        Raises:
            OSError: it cannot be written.
        """
        if not saved:
            self.path.unlink(missing_ok=True)
            return
        fresh = self.path.with_name(f".{self.path.name}.new")
        data = msgspec.json.encode(_Document(1, self.address, tuple(saved)))
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh.unlink(missing_ok=True)  # of a server that was killed while it wrote
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
        fresh.replace(self.path)


def _require_ours(status: os.stat_result) -> None:
    """Refuse what somebody else may have written: it says what needs no permission.

    Raises:
        ValueError: others may write the file, or it is none.
    """
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is not a file")
    if status.st_uid != os.geteuid():
        raise ValueError(f"it belongs to user {status.st_uid}")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ValueError("other users may write it")
