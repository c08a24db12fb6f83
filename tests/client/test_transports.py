"""The client over each way to a server: unix socket and TCP with a token, HTTP/1.1 and HTTP/2."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from crush_trio.addresses import Address
from crush_trio.client import open_client
from crush_trio.errors import ResponseError
from crush_trio.server import ServeOptions, serve_forever
from crush_trio.wire.sessions import Session
from limits_kit import REAL_LIMIT
from project_kit import config, make_project

TOKEN = "a-token-that-is-long-enough"


@pytest.mark.parametrize("http2", [False, True], ids=["http1", "http2"])
@pytest.mark.parametrize("network", ["unix", "tcp"])
@pytest.mark.promise("S1", "S5")
async def test_requests_events_and_the_way_back_work_over_every_transport(
    tmp_path: Path, network: str, http2: bool
) -> None:
    """What happened while nobody listened comes with the next stream, by the id of the last event."""
    directory, env = make_project(tmp_path, config())
    place = Address("unix", path=str(tmp_path / "s"))
    if network == "tcp":
        place = Address("tcp", host="127.0.0.1", port=0)
    options = ServeOptions(place, env={**env, "CRUSH_TRIO_TOKEN": TOKEN})
    token = TOKEN if network == "tcp" else None
    with trio.fail_after(REAL_LIMIT):
        async with trio.open_nursery() as nursery:
            bound: Address = await nursery.start(serve_forever, options)
            async with (
                open_client(bound, token=token, http2=http2) as client,
                client.open_workspace(str(directory)) as workspace,
            ):
                async with workspace.events() as events:
                    assert (await anext(events)).type == "hello"
                    await workspace.create_session("heard")
                    heard = (await anext(events)).payload
                    assert isinstance(heard, Session)
                    assert heard.title == "heard"
                    last_id = events.last_id
                await workspace.create_session("missed")
                async with workspace.events(after=last_id) as events:
                    titles = list[str]()
                    while not titles:
                        payload = (await anext(events)).payload
                        titles += [payload.title] if isinstance(payload, Session) else []
                assert titles == ["missed"]
            nursery.cancel_scope.cancel()


@pytest.mark.promise("A1")
async def test_a_wrong_token_is_told(tmp_path: Path) -> None:
    """As an error of the answer, with the server's own words."""
    _, env = make_project(tmp_path, config())
    place = Address("tcp", host="127.0.0.1", port=0)
    options = ServeOptions(place, env={**env, "CRUSH_TRIO_TOKEN": TOKEN})
    with trio.fail_after(REAL_LIMIT):
        async with trio.open_nursery() as nursery:
            bound: Address = await nursery.start(serve_forever, options)
            async with open_client(bound, token="wrong") as client:
                with pytest.raises(ResponseError, match="Authorization: Bearer") as caught:
                    await client.version()
            nursery.cancel_scope.cancel()
    assert caught.value.status == 401
