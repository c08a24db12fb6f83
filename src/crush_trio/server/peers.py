"""Who is at the other end of a unix socket: its owner, or root, or nobody whom we serve (A1).

The socket file's mode says the same, but the file can be given another mode, and a descriptor can
be handed on. Linux and macOS tell it; where the system does not, the file's mode is what there is.
"""

from __future__ import annotations

import os
import socket
import struct
import sys

import trio

_UCRED = struct.Struct("iII")
"""Linux: ``pid_t``, ``uid_t``, ``gid_t`` (``struct ucred``)."""

_XUCRED = struct.Struct("IIh2x16I")
"""macOS: version, ``uid_t``, number of groups, groups (``struct xucred`` in ``sys/ucred.h``)."""

_SOL_LOCAL, _LOCAL_PEERCRED = 0, 1
"""macOS: level and option that have it; Python has no names for them."""


def peer_uid(peer: trio.socket.SocketType | socket.socket) -> int | None:
    """Return the user id of whoever has opened a unix connection, or None if the system is silent."""
    if sys.platform == "linux":
        data = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
        return int(_UCRED.unpack(data)[1])
    if sys.platform == "darwin":
        data = peer.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED.size)
        return int(_XUCRED.unpack(data)[1])
    return None


def owners() -> frozenset[int]:
    """Return the user ids that a socket of this process serves: its own, and root, who can do all."""
    return frozenset({os.geteuid(), 0})
