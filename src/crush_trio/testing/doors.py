"""The doors that lead out of a simulated run, and a bar across each of them.

Virtual time jumps while a thread works, and a socket or a process answers when it likes: with any
of them the same seed would not give the same run. So they raise, where they are used.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, NoReturn

import trio
import trio._threads as trio_threads
import trio.abc


class OutsideWorldError(RuntimeError):
    """A simulated run reached for a thread, a process or a socket."""


@contextmanager
def barred_threads() -> Generator[None]:
    """Let ``trio.to_thread`` raise; a process is started in a thread too.

    Trio has no switch for this, and reuses idle threads, so the name that it calls is exchanged.
    """
    threads: Any = trio_threads
    original = threads.start_thread_soon
    threads.start_thread_soon = _no_thread
    try:
        yield
    finally:
        threads.start_thread_soon = original


def bar_sockets() -> None:
    """Let real sockets and name look-ups raise in this run of Trio. Not a checkpoint."""
    trio.socket.set_custom_socket_factory(_NoSockets())
    trio.socket.set_custom_hostname_resolver(_NoNames())


def _no_thread(*_: object, **__: object) -> NoReturn:
    raise OutsideWorldError(
        "a thread, or a process, was started in a simulated run;"
        " use a scripted twin, or leave simulated time"
    )


class _NoSockets(trio.abc.SocketFactory):
    def socket(self, *_: object, **__: object) -> NoReturn:
        raise OutsideWorldError("a socket was opened in a simulated run; use the simulated network")


class _NoNames(trio.abc.HostnameResolver):
    async def getaddrinfo(self, host: object, port: object, *_: object, **__: object) -> NoReturn:
        raise OutsideWorldError(f"the name {host!r} was looked up in a simulated run, port {port}")

    async def getnameinfo(self, sockaddr: object, flags: int) -> NoReturn:  # noqa: ARG002 -- the seam's
        raise OutsideWorldError(f"the name of {sockaddr!r} was looked up in a simulated run")
