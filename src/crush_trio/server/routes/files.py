"""Files that a session read and changed (R-19, R-23 to R-25)."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from quart import Blueprint, Response, request

from crush_trio.errors import CrushTrioError
from crush_trio.ids import SessionID
from crush_trio.server.body import read_body
from crush_trio.server.openapi import operation
from crush_trio.server.problems import answer, empty
from crush_trio.wire.events import File
from crush_trio.wire.files import NEVER, ReadFile
from crush_trio.workspaces import WorkspaceHost

logger = logging.getLogger(__name__)

LAST_READ = {"session_id": "The session.", "path": "The file's absolute path."}
"""The query of the last read."""


def blueprint(host: WorkspaceHost) -> Blueprint:
    """Return the routes of files."""
    routes = Blueprint("files", __name__, url_prefix="/v1/workspaces/<workspace_id>")

    @routes.get("/sessions/<session_id>/history")
    @operation("The versions of the files that a session changed.", reply=list[File])
    async def history(workspace_id: str, session_id: str) -> Response:
        store = host.get(workspace_id).data.store
        return answer(await store.file_versions(SessionID(session_id)))

    @routes.get("/sessions/<session_id>/filetracker/files")
    @operation("The paths that a session read, the latest first.", reply=list[str])
    async def read_files(workspace_id: str, session_id: str) -> Response:
        store = host.get(workspace_id).data.store
        return answer(await store.read_files(SessionID(session_id)))

    @routes.post("/filetracker/read")
    @operation("Note a file as read.", body=ReadFile)
    async def record_read(workspace_id: str) -> Response:
        """Note a file as read; a session that does not exist is no error (R-24)."""
        wanted = await read_body(ReadFile)
        store = host.get(workspace_id).data.store
        try:
            await store.record_read(SessionID(wanted.session_id), wanted.path).wait()
        except CrushTrioError:
            logger.info("a read of an unknown session is not recorded")
        return empty()

    @routes.get("/filetracker/lastread")
    @operation("When a session read a file; year 1 for never.", reply=str, query=LAST_READ)
    async def last_read(workspace_id: str) -> Response:
        store = host.get(workspace_id).data.store
        found = await store.last_read(
            SessionID(request.args.get("session_id", "")), request.args.get("path", "")
        )
        if found is None:
            return answer(NEVER)
        return answer(datetime.fromtimestamp(found, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))

    return routes
