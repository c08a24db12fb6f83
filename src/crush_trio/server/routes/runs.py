"""Prompts, cancels, the queue, summaries and users' commands (R-36, R-40 to R-45).

A handler submits and then only waits: when its client leaves, the wait is cancelled and not the
run (R2). When the run is cancelled, every handler that waits for it answers 200 (R4).
"""

from __future__ import annotations

import msgspec
import trio
from quart import Blueprint, Response, request

from crush_trio.ids import RunID, SessionID
from crush_trio.messages import Binary, Prompt
from crush_trio.observer import Observer
from crush_trio.runs import Ending, Run, settled_answer
from crush_trio.server.answering import Answering, answering, parse_prefer
from crush_trio.server.body import read_body
from crush_trio.server.openapi import operation
from crush_trio.server.openapi.operations import PREFER
from crush_trio.server.problems import answer, empty
from crush_trio.wire.runs import (
    AgentMessage,
    CancelReceipt,
    RunAccepted,
    RunResult,
    ShellRequest,
    ShellResult,
)
from crush_trio.wire.workspaces import ErrorBody
from crush_trio.workspaces import Workspace, WorkspaceHost


def prompt_of(wanted: AgentMessage, workspace: Workspace) -> Prompt:
    """Return what a caller sent as a prompt."""
    return Prompt(
        wanted.prompt,
        tuple(
            Binary(attachment.file_path, attachment.mime_type, attachment.content)
            for attachment in wanted.attachments or ()
        ),
        local_model=wanted.local_model,
        model=wanted.model,
        interactive=workspace.agent_setup.is_interactive(
            wanted.interactive, has_run_id=bool(wanted.run_id)
        ),
    )


async def wait_answer(accepted: Run | Ending, how: Answering) -> tuple[int, msgspec.Struct | None]:
    """Wait for a run as long as its caller wants to; return the status and body of what there is."""
    if isinstance(accepted, Ending):
        return settled_answer(accepted)
    with trio.move_on_after(how.seconds):
        await accepted.finished.wait()
    if accepted.settled:
        return settled_answer(accepted.ending)
    return 202, RunAccepted(accepted.id, accepted.session_id) if how.named else None


async def observed_answer(
    observer: Observer, accepted: Run | Ending, wanted_id: str, how: Answering
) -> Response:
    """Wait and answer, and let an observer know of both."""
    post = object()
    run_id = accepted.id if isinstance(accepted, Run) else accepted.run_id
    observer.post_begun(post, accepted.session_id, run_id, wanted_id)
    try:
        status, body = await wait_answer(accepted, how)
        observer.post_answered(post, status, body)
    finally:
        observer.post_left(post)
    return empty(status) if body is None else answer(body, status)


def _prefer_applied(response: Response, applied: str) -> Response:
    if applied:
        response.headers["Preference-Applied"] = applied
    return response


def blueprint(host: WorkspaceHost) -> Blueprint:
    """Return the routes of runs."""
    routes = Blueprint("runs", __name__, url_prefix="/v1/workspaces/<workspace_id>/agent")

    @routes.post("")
    @operation(
        "Send a prompt. Stays open until its run has settled, or answers 202 at once.",
        body=AgentMessage,
        reply=RunResult,
        replies={202: None},  # named only to whoever asked for it with Prefer
        headers=PREFER,
    )
    async def submit(workspace_id: str) -> Response:
        wanted = await read_body(AgentMessage)
        workspace = host.get(workspace_id)
        how = answering(
            parse_prefer(request.headers.getlist("Prefer")),
            has_run_id=bool(wanted.run_id),
            user_agent=request.headers.get("User-Agent", ""),
            versions=workspace.claims.versions(),
        )
        accepted = workspace.submit(
            SessionID(wanted.session_id),
            prompt_of(wanted, workspace),
            RunID(wanted.run_id) if wanted.run_id else None,
        )
        response = await observed_answer(workspace.observer, accepted, wanted.run_id, how)
        return _prefer_applied(response, how.applied)

    @routes.post("/sessions/<session_id>/cancel")
    @operation("Cancel all prompts of a session.", reply=CancelReceipt, headers=PREFER)
    async def cancel(workspace_id: str, session_id: str) -> Response:
        """Cancel, and answer at once or, if asked to, when all is settled (R15)."""
        prefer = parse_prefer(request.headers.getlist("Prefer"))
        receipt = host.get(workspace_id).cancel(SessionID(session_id))
        if prefer.wait is not None:
            with trio.move_on_after(prefer.wait):
                await receipt.wait_settled()
        applied = "" if prefer.wait is None else f"wait={prefer.wait:.0f}"
        return _prefer_applied(answer(receipt.snapshot()), applied)

    @routes.get("/sessions/<session_id>/prompts/queued")
    @operation("How many prompts wait.", reply=int)
    async def queued(workspace_id: str, session_id: str) -> Response:
        return answer(len(host.get(workspace_id).sessions.waiting_prompts(SessionID(session_id))))

    @routes.get("/sessions/<session_id>/prompts/list")
    @operation("The texts of the prompts that wait, in order.", reply=list[str] | None)
    async def prompts(workspace_id: str, session_id: str) -> Response:
        return answer(
            host.get(workspace_id).sessions.waiting_prompts(SessionID(session_id)) or None
        )

    @routes.post("/sessions/<session_id>/prompts/clear")
    @operation("Drop the prompts that wait.")
    async def clear(workspace_id: str, session_id: str) -> Response:
        host.get(workspace_id).clear(SessionID(session_id))
        return empty()

    @routes.post("/sessions/<session_id>/summarize")
    @operation("Let a summary stand for the conversation so far; answered when it has ended.")
    async def summarize(workspace_id: str, session_id: str) -> Response:
        """Summarise, and answer when that has ended; a cancel ends it like success (R-44)."""
        run = host.get(workspace_id).summarize(SessionID(session_id))
        await run.finished.wait()
        if run.outcome == "failed":
            return answer(ErrorBody(run.ending.error), run.ending.status)
        return empty()

    @routes.post("/sessions/<session_id>/shell")
    @operation("Run a command of the user to its end.", body=ShellRequest, reply=ShellResult)
    async def shell(workspace_id: str, session_id: str) -> Response:
        """Run a user's command to its end, or until the user goes away (R-45)."""
        wanted = await read_body(ShellRequest)
        workspace = host.get(workspace_id)
        done = await workspace.run_command(SessionID(session_id), wanted.command)
        return answer(ShellResult(done.output, done.exit_code))

    return routes
