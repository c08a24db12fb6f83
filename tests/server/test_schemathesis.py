"""What the server answers is what its description says, whatever it is asked (C4).

Schemathesis makes requests of the served document and holds every answer against it. Ids are those
of a workspace and a session that are there, and bodies that would do something outside the test's
directory are made to do it inside.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import attrs
import requests
import schemathesis
import trio
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import checks
from schemathesis.specs.openapi import checks as openapi_checks

from crush_trio.providers.scripted import ScriptedModel
from limits_kit import PROCESS_LIMIT, REAL_LIMIT
from world_kit import open_served_world

EXAMPLES = 2
"""Requests for each route."""

CHECKS: list[Any] = [
    vars(module)[name]  # by name: their types are not known
    for module, name in (
        (checks, "not_a_server_error"),
        (openapi_checks, "status_code_conformance"),
        (openapi_checks, "content_type_conformance"),
        (openapi_checks, "response_schema_conformance"),
    )
]

ENDLESS = {"/v1/workspaces/{workspace_id}/events"}
"""Paths whose answer does not end."""


@attrs.frozen
class Target:
    """A server with something in it."""

    url: str
    directory: Path
    workspace: str
    session: str

    def aimed(self, case: Any) -> Any:
        """Return a case that means this server's workspace, and touches nothing outside it."""
        if case.path_parameters:
            known = {"workspace_id": self.workspace, "session_id": self.session}
            case.path_parameters.update(
                {name: known.get(name, value) for name, value in case.path_parameters.items()}
            )
        body: Any = case.body
        if isinstance(body, dict):
            inside: dict[str, Any] = {
                "path": str(self.directory),
                "data_dir": "",
                "command": "true",
                "env": [],
                "local_model": False,
            }
            case.body.update({name: value for name, value in inside.items() if name in case.body})
        return case


def play(target: Target) -> int:
    """Play all requests; return how many. In a worker thread."""
    played = 0
    document = schemathesis.openapi.from_url(f"{target.url}/v1/openapi.json")
    with requests.Session() as session:

        def check(case: Any) -> None:
            nonlocal played
            played += 1
            target.aimed(case).call_and_validate(
                base_url=target.url, session=session, checks=CHECKS, timeout=REAL_LIMIT
            )

        for operation in _operations(document):
            run = settings(
                max_examples=EXAMPLES,
                derandomize=True,
                database=None,
                deadline=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=cast("Any", list(HealthCheck)),
            )(given(case=operation.as_strategy())(check))
            run()
    return played


def _operations(document: Any) -> Iterator[Any]:
    for found in document.get_all_operations():
        operation = found.ok()
        if operation.path not in ENDLESS:
            yield operation


async def test_what_is_answered_is_what_is_described(tmp_path: Path) -> None:
    """No answer is an error of ours, has a status or a type that nobody was told, or another shape."""
    model = ScriptedModel()
    with trio.fail_after(PROCESS_LIMIT):
        async with open_served_world(tmp_path, model, network="tcp") as world:
            assert world.address is not None
            async with (
                world.client() as client,
                client.open_workspace(str(world.directory), yolo=True) as workspace,
            ):
                session = await workspace.create_session("described")
                url = f"http://127.0.0.1:{world.address.port}"
                target = Target(url, world.directory, workspace.id, session.id)
                played = await trio.to_thread.run_sync(partial(play, target))
    assert played > 70
