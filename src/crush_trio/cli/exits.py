"""How commands end: exit codes, and what an error looks like to the user."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Awaitable, Callable, Generator, Iterator
from enum import IntEnum

import click

from crush_trio.errors import CrushTrioError, ServerUnavailableError


class ExitCode(IntEnum):
    """What the exit status of every command means."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNAVAILABLE = 69
    """The number that sysexits.h has for an unavailable service."""
    INTERRUPTED = 130
    """128 and the number of SIGINT, as shells have it."""


EXIT_CODES = """\b
Exit status:
   0  done; of `run` also: somebody else cancelled it
   1  failed: the message on stderr says why
   2  the command line makes no sense
  69  no server answers, or it went away
 130  interrupted with Ctrl-C
"""
"""The codes as the help shows them."""


def run_trio(main: Callable[[], Awaitable[ExitCode]]) -> ExitCode:
    """Run an async command and return its exit code.

    Raises:
        BaseException: what the command raised; of a group of expected errors the first one.
    """
    import trio  # noqa: PLC0415  half of the time that --help would take

    try:
        return trio.run(main)
    except BaseExceptionGroup as group:
        raise _presentable(group) from group


def _presentable(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one error to show, or the group itself if it holds a defect."""
    errors = list(_leaves(group))
    interrupts = [error for error in errors if isinstance(error, KeyboardInterrupt)]
    expected = (CrushTrioError, click.ClickException, BrokenPipeError)
    if interrupts or all(isinstance(error, expected) or _is_full(error) for error in errors):
        return (interrupts or errors)[0]
    return group


def _is_full(error: BaseException) -> bool:
    """Whether what is printed, or stored, found no room: nobody's defect."""
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)  # pyright: ignore[reportUnknownArgumentType]  isinstance loses it
        else:
            yield error


@contextlib.contextmanager
def shown_errors() -> Generator[None]:
    """Turn expected errors into a message on stderr and an exit code. A defect keeps its traceback."""
    try:
        yield
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo(err=True)
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:  # whoever read our output has left; nobody is there to be told
        _print_no_more()
        sys.exit(ExitCode.FAILED)
    except OSError as error:
        if not _is_full(error):
            raise
        _print_no_more()
        click.echo(f"Error: {error.strerror}", err=True)
        sys.exit(ExitCode.FAILED)
    except CrushTrioError as error:
        click.echo(f"Error: {error}", err=True)
        gone = isinstance(error, ServerUnavailableError)
        sys.exit(ExitCode.UNAVAILABLE if gone else ExitCode.FAILED)


def _print_no_more() -> None:
    """Let what is left in the buffers go nowhere, or the interpreter would complain at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
