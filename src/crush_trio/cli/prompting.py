"""What ``crush-trio run`` does: one prompt, from attaching to the server to the exit code."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

import attrs
import msgspec
import trio

from crush_trio.addresses import TOKEN_VARIABLE, Address, default_address
from crush_trio.cli.answering import Answerer
from crush_trio.cli.attaching import open_attached
from crush_trio.cli.exits import ExitCode
from crush_trio.cli.finding import find_last_session, find_session
from crush_trio.cli.interrupts import Interrupts
from crush_trio.cli.joining import RunJoin
from crush_trio.cli.output import Output
from crush_trio.cli.terminal import Terminal
from crush_trio.cli.weights import pull_missing
from crush_trio.client import SessionClient, WorkspaceClient
from crush_trio.config.models import find
from crush_trio.errors import ResponseError, ServerUnavailableError
from crush_trio.wire.messages import WireMessage
from crush_trio.wire.runs import RunResult

TITLE = "New Session"
"""The title of a new session until the server has made a better one (wire contract 6.12)."""

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""Hosts that are this machine, where the weights that we fetch are the server's."""


@attrs.frozen
class Request:
    """What the command line asked for; the attributes are the options of ``run``."""

    prompt: str
    cwd: str
    host: Address | None = None
    session: str | None = None
    continue_last: bool = False
    model: str | None = None
    yolo: bool = False
    data_dir: str = ""
    interactive: bool = False
    as_json: bool = False


async def run_prompt(request: Request, output: Output) -> ExitCode:
    """Send the prompt, print the answer as it comes, and return the exit code."""
    code = ExitCode.INTERRUPTED
    try:
        with trio.open_signal_receiver(signal.SIGINT) as signals:
            async with trio.open_nursery() as nursery:
                interrupts = Interrupts(nursery.cancel_scope, output)
                nursery.start_soon(interrupts.heed, signals)
                async with _open_workspace(request) as workspace:
                    result = await prompt_workspace(workspace, request, output, interrupts)
                await _print_end(request, output, result)
                code = exit_code(result, interrupted=interrupts.count > 0)
                nursery.cancel_scope.cancel("done")
    finally:
        output.end_line()  # if something went wrong; there is no time to wait for a slow reader
        output.write_now()
    return code


@asynccontextmanager
async def _open_workspace(request: Request) -> AsyncGenerator[WorkspaceClient]:
    async with open_attached(request.host) as client:
        # The token is between us and the server; a tool could print it (A2).
        env = [f"{key}={value}" for key, value in os.environ.items() if key != TOKEN_VARIABLE]
        # No goodbye: it would end other clients' runs whose clients have gone, and the title task.
        opened = client.open_workspace(
            request.cwd, yolo=request.yolo, data_dir=request.data_dir, env=env, linger=True
        )
        async with opened as workspace:
            yield workspace


async def prompt_workspace(
    workspace: WorkspaceClient, request: Request, output: Output, interrupts: Interrupts
) -> RunResult:
    """Send the prompt in an open workspace and follow its run to the end.

    Raises:
        BadRequestError: the session or the model is not there.
        ResponseError: the prompt was not accepted.
        ServerUnavailableError: the server went away and did not come back.
    """
    is_ready = await _follow_files(workspace, output)
    model = "" if request.model is None else await find_model(workspace, request.model)
    if not model and not is_ready:
        await _prepare_embedded(workspace, request, output)
    session, before = await _choose_session(workspace, request)
    known = None if before is None else frozenset(message.id for message in before)
    if not model and is_ready:
        model = await _model_of(workspace, before or ())
    async with trio.open_nursery() as nursery:
        terminal = Terminal(output) if request.interactive else None
        answerer = Answerer(workspace, nursery, output, terminal=terminal, allow_all=request.yolo)
        join = RunJoin(workspace, session, request.prompt, output, answerer, known, model)
        interrupts.on_first = lambda: nursery.start_soon(_cancel, join, output)
        try:
            result = await join.follow(interactive=request.interactive)
        finally:
            interrupts.on_first = None
        nursery.cancel_scope.cancel("done")
    return result


async def _follow_files(workspace: WorkspaceClient, output: Output) -> bool:
    """Let an agent use the files as they are now; return whether there is one.

    The workspace may have been left open by somebody, and a key or a rule written since then. What
    makes no sense is noted, and what was in force stays.
    """
    try:
        if (await workspace.agent()).is_ready:
            await workspace.update_agent()
            return True
    except ResponseError as error:
        output.note(f"the configuration stays as it was: {error}")
        return True
    with suppress(ResponseError):  # nothing is set up
        await workspace.init_agent(interactive=True)
    return (await workspace.agent()).is_ready


async def find_model(workspace: WorkspaceClient, name: str) -> str:
    """Return the full name of the model that was asked for, ``provider/model``.

    Other clients' model stays what it is.

    Raises:
        BadRequestError: there is no such model, or more than one.
    """
    providers = (await workspace.config()).providers
    chosen = find({} if providers is msgspec.UNSET else providers, name)
    return f"{chosen.provider_id}/{chosen.model.id}"


async def _model_of(workspace: WorkspaceClient, messages: Sequence[WireMessage]) -> str:
    """Return the model that answered last in a session, if it is another one and still there (8.4)."""
    answers = [
        message
        for message in messages
        if message.role == "assistant" and message.model and not message.is_summary_message
    ]
    if not answers:
        return ""
    last, config = answers[-1], await workspace.config()
    providers = {} if config.providers is msgspec.UNSET else config.providers
    if last.provider not in providers:
        return ""
    current = config.models.get("large")
    if current is not None and (current.provider, current.model) == (last.provider, last.model):
        return ""
    there = any(model.id == last.model for model in providers[last.provider].models)
    return f"{last.provider}/{last.model}" if there else ""


async def _prepare_embedded(workspace: WorkspaceClient, request: Request, output: Output) -> None:
    """Say that the embedded model answers, and fetch it if this machine is the server's."""
    output.note("no model is set up: the small embedded model answers")
    address = request.host or default_address()
    if address.network == "unix" or address.host in LOOPBACK:
        async with workspace.events():  # keeps the workspace open, however long it takes
            await pull_missing()


async def _choose_session(
    workspace: WorkspaceClient, request: Request
) -> tuple[SessionClient, Sequence[WireMessage] | None]:
    """Return the session, and the messages that it has; None if it is new."""
    if request.session is not None:
        chosen = await find_session(workspace, request.session)
    elif request.continue_last:
        chosen = await find_last_session(workspace)
    else:
        return await workspace.create_session(TITLE), None
    session = workspace.session(chosen.id)
    return session, await session.messages()


async def _cancel(join: RunJoin, output: Output) -> None:
    try:
        await join.cancel()
    except (ResponseError, ServerUnavailableError) as error:
        output.note(f"the cancel did not reach the server: {error}")


async def _print_end(request: Request, output: Output, result: RunResult) -> None:
    """Print what is left to print; Ctrl-C still leaves at once."""
    output.end_line()
    if request.as_json:
        output.print_line(msgspec.json.encode(result).decode())
    await output.flush()
    if result.outcome == "failed":
        output.note(f"Error: {result.error or 'the run failed'}")
    elif result.cancelled:
        output.note("the run was cancelled")


def exit_code(result: RunResult, *, interrupted: bool) -> ExitCode:
    """Return the exit code of a run that has settled."""
    if interrupted and result.cancelled:
        return ExitCode.INTERRUPTED
    return ExitCode.FAILED if result.outcome == "failed" else ExitCode.OK
