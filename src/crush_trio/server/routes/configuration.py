"""Changes of a workspace's configuration, and the catalogue (R-13, R-47 to R-53).

Every change is written to the file of its scope, and every client of the workspace hears of it.
"""

from __future__ import annotations

import msgspec
from quart import Blueprint, Response

from crush_trio.errors import BadRequestError
from crush_trio.server.body import read_body
from crush_trio.server.openapi import operation
from crush_trio.server.problems import answer, empty
from crush_trio.wire.changes import (
    ChooseModel,
    CompactMode,
    ImportedToken,
    ProviderKey,
    RefreshToken,
    RemoveField,
    SetField,
)
from crush_trio.wire.config import Provider, Token
from crush_trio.workspaces import WorkspaceHost


def key_of(wanted: ProviderKey) -> str | Token:
    """Return the key or the token in a body, as its kind says.

    Raises:
        BadRequestError: there is no such kind, or it is something else.
    """
    kinds: dict[str, tuple[type[str | Token], str]] = {
        "string": (str, "string"),
        "oauth": (Token, "oauth token"),
    }
    if wanted.kind not in kinds:
        raise BadRequestError(f'unsupported api key kind "{wanted.kind}"')
    type_, name = kinds[wanted.kind]
    try:
        return msgspec.convert(wanted.api_key, type_)
    except msgspec.ValidationError as error:
        raise BadRequestError(f"decode api key {name}: {error}") from error


def blueprint(host: WorkspaceHost) -> Blueprint:
    """Return the routes of the configuration."""
    routes = Blueprint("configuration", __name__, url_prefix="/v1/workspaces/<workspace_id>")

    @routes.get("/providers")
    @operation("List the well-known providers.", reply=tuple[Provider, ...] | None)
    async def providers(workspace_id: str) -> Response:
        """List the whole catalogue, whatever of it is configured."""
        return answer(host.get(workspace_id).config.catalog or None)

    @routes.post("/config/set")
    @operation("Set a value in a configuration file.", body=SetField)
    async def set_field(workspace_id: str) -> Response:
        wanted = await read_body(SetField)
        await host.get(workspace_id).configured.set(wanted.scope, wanted.key, wanted.value)
        return empty()

    @routes.post("/config/remove")
    @operation("Remove a value from a configuration file.", body=RemoveField)
    async def remove_field(workspace_id: str) -> Response:
        wanted = await read_body(RemoveField)
        await host.get(workspace_id).configured.remove(wanted.scope, wanted.key)
        return empty()

    @routes.post("/config/model")
    @operation("Choose the large or the small model.", body=ChooseModel)
    async def choose_model(workspace_id: str) -> Response:
        """Choose a model; the agent takes it at its next update."""
        wanted = await read_body(ChooseModel)
        configured = host.get(workspace_id).configured
        await configured.choose_model(wanted.scope, wanted.model_type, wanted.model)
        return empty()

    @routes.post("/config/compact")
    @operation("Choose whether terminal clients are compact.", body=CompactMode)
    async def compact(workspace_id: str) -> Response:
        wanted = await read_body(CompactMode)
        configured = host.get(workspace_id).configured
        await configured.set_compact_mode(wanted.scope, enabled=wanted.enabled)
        return empty()

    @routes.post("/config/provider-key")
    @operation("Store a provider's key.", body=ProviderKey)
    async def provider_key(workspace_id: str) -> Response:
        wanted = await read_body(ProviderKey)
        key = key_of(wanted)
        configured = host.get(workspace_id).configured
        await configured.store_key(wanted.scope, wanted.provider_id, key)
        return empty()

    @routes.post("/config/import-copilot")
    @operation("Take over a login of Copilot, if there is one.", reply=ImportedToken)
    async def import_copilot(workspace_id: str) -> Response:
        """Take it from where GitHub's own editor plug-ins keep it."""
        token = await host.get(workspace_id).logins.import_copilot()
        return answer(ImportedToken(token, token is not None))

    @routes.post("/config/refresh-oauth")
    @operation("Renew a provider's token.", body=RefreshToken)
    async def refresh_oauth(workspace_id: str) -> Response:
        wanted = await read_body(RefreshToken)
        await host.get(workspace_id).logins.renew_now(wanted.provider_id, wanted.scope)
        return empty()

    return routes
