"""The doors that lead out of a simulated run, and a bar across each of them.

Virtual time jumps while a thread works, and a socket or a process answers when it likes: with any
of them the same seed would not give the same run. So they raise, where they are used.
"""

from __future__ import annotations

import socket
import subprocess
import threading  # noqa: TID251 -- to bar it
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any, NoReturn

import trio
import trio._socket as trio_socket
import trio._threads as trio_threads
import trio.abc


class OutsideWorldError(RuntimeError):
    """A simulated run reached for a thread, a process or a socket."""


INSTEAD = "use a scripted twin, or real time (sweep_callable has simulated=False)"
"""What to do without it."""


@contextmanager
def barred_threads() -> Generator[None]:
    """Let ``trio.to_thread`` raise; a process is started in a thread too.

    Trio has no switch for this, and reuses idle threads, so the name that it calls is exchanged.
    """
    with _exchanged(trio_threads, "start_thread_soon", _no_thread):
        yield


@contextmanager
def barred_outside() -> Generator[None]:
    """Let real sockets, name look-ups, threads and processes raise in this run of Trio.

    Trio's own ways to them, and Python's: the latter for the thread of the run alone, since pytest
    and its plugins may have others.
    """
    trio.socket.set_custom_socket_factory(_NoSockets())
    trio.socket.set_custom_hostname_resolver(_NoNames())
    sockets: Any = trio_socket
    with ExitStack() as stack:
        for owner, name, what in (
            (sockets._SocketType, "__init__", "a socket was opened"),  # noqa: SLF001 -- every one is
            (socket, "socketpair", "a socket was opened"),
            (socket, "fromfd", "a socket was opened"),
            (socket.socket, "__init__", "a socket was opened"),
            (threading.Thread, "start", "a thread was started"),
            (subprocess.Popen, "__init__", "a process was started"),
        ):
            stack.enter_context(_barred_here(owner, name, what))
        yield


@contextmanager
def _barred_here(owner: Any, name: str, what: str) -> Generator[None]:
    """Let a function raise in this thread."""
    here, original = threading.get_ident(), getattr(owner, name)

    def barred(*args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() == here:
            raise OutsideWorldError(f"{what} in a simulated run; {INSTEAD}")
        return original(*args, **kwargs)

    with _exchanged(owner, name, barred):
        yield


@contextmanager
def _exchanged(owner: Any, name: str, other: Callable[..., Any]) -> Generator[None]:
    original = getattr(owner, name)
    setattr(owner, name, other)
    try:
        yield
    finally:
        setattr(owner, name, original)


def _no_thread(*_: object, **__: object) -> NoReturn:
    raise OutsideWorldError(f"a thread, or a process, was started in a simulated run; {INSTEAD}")


class _NoSockets(trio.abc.SocketFactory):
    def socket(self, *_: object, **__: object) -> NoReturn:
        raise OutsideWorldError("a socket was opened in a simulated run; use the simulated network")


class _NoNames(trio.abc.HostnameResolver):
    async def getaddrinfo(self, host: object, port: object, *_: object, **__: object) -> NoReturn:
        raise OutsideWorldError(f"the name {host!r} was looked up in a simulated run, port {port}")

    async def getnameinfo(self, sockaddr: object, flags: int) -> NoReturn:  # noqa: ARG002 -- the seam's
        raise OutsideWorldError(f"the name of {sockaddr!r} was looked up in a simulated run")
