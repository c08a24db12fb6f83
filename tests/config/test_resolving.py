"""Loading with everything that must be found out first (agent contract 3.4 and 3.11)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from crush_trio.config import Endpoint, resolve
from crush_trio.config.findings import Findings
from crush_trio.config.resolving import COMMAND_TIMEOUT, DISCOVERY_TIMEOUT
from crush_trio.errors import ConfigError, ProviderError
from crush_trio.wire.config import Model


@attrs.define
class ScriptedOutside:
    """Answers from tables, after a while, and remembers what it was asked."""

    outputs: dict[str, str] = attrs.field(factory=dict[str, str])
    lists: dict[str, tuple[Model, ...]] = attrs.field(factory=dict[str, "tuple[Model, ...]"])
    seconds: float = 1.0
    asked: list[str] = attrs.field(factory=list[str])
    envs: list[Mapping[str, str]] = attrs.field(factory=list["Mapping[str, str]"])

    async def run(self, command: str, *, env: Mapping[str, str], working_dir: Path) -> str:  # noqa: ARG002
        self.asked.append(command)
        self.envs.append(env)
        await trio.sleep(self.seconds)
        if command not in self.outputs:
            raise ConfigError("the command failed with exit status 127")
        return self.outputs[command]

    async def models(self, endpoint: Endpoint) -> tuple[Model, ...]:
        self.asked.append(endpoint.base_url)
        await trio.sleep(self.seconds)
        if endpoint.base_url not in self.lists:
            raise ProviderError("connection refused")
        return self.lists[endpoint.base_url]


MODEL = {"id": "m"}


def write(tmp_path: Path, document: Any) -> dict[str, Any]:
    """Write a project's configuration and return what ``resolve`` is told of it."""
    (tmp_path / "crush.json").write_text(json.dumps(document))
    return {"directory": tmp_path, "env": {"HOME": str(tmp_path / "home"), "KEY": "k"}}


async def test_commands_are_run_and_their_output_is_used(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """In the ``env`` table, an address, a header and a key; each command once."""
    outside = ScriptedOutside({"where": "h:1", "token": "s3cret", "name": "n"})
    provider = {
        "base_url": "http://$HOST/v1",
        "api_key": "$(token)",
        "extra_headers": {"X-N": "$(name)", "X-T": "$(token)"},
        "models": [MODEL],
    }
    place = write(tmp_path, {"env": {"HOST": "$(where)"}, "providers": {"p": provider}})
    configuration = await resolve(outside, **place)
    assert configuration.problem is None
    endpoint = configuration.endpoint("p")
    assert (endpoint.base_url, endpoint.api_key) == ("http://h:1/v1", "s3cret")
    assert endpoint.headers == {"X-N": "n", "X-T": "s3cret"}
    assert sorted(outside.asked) == ["name", "token", "where"]
    assert outside.envs[-1]["HOST"] == "h:1"
    assert configuration.providers["p"].api_key == "$(token)"


async def test_a_key_whose_command_fails_is_the_problem(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Clients can attach and see it."""
    provider = {"base_url": "http://x", "api_key": "$(token)", "models": [MODEL]}
    place = write(tmp_path, {"providers": {"p": provider}})
    configuration = await resolve(ScriptedOutside(), **place)
    assert configuration.is_configured
    assert configuration.problem == (
        "provider 'p': api_key: cannot expand '$(token)': the command failed with exit status 127"
    )


async def test_a_command_that_never_ends_is_given_up(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A value of the ``env`` table is left out then."""
    place = write(tmp_path, {"env": {"A": "$(sleep)"}})
    began = trio.current_time()
    configuration = await resolve(ScriptedOutside({"sleep": ""}, seconds=1e9), **place)
    assert trio.current_time() - began == pytest.approx(COMMAND_TIMEOUT)
    assert "A" not in configuration.env


async def test_endpoints_are_asked_at_the_same_time_and_not_for_long(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """All discoveries together take at most three seconds."""
    outside = ScriptedOutside(lists={"http://k": (Model(id="one"),)})
    place = write(tmp_path, {"providers": {n: {"base_url": f"http://{n}"} for n in "abk"}})
    began = trio.current_time()
    configuration = await resolve(outside, **place)
    assert trio.current_time() - began == pytest.approx(1)
    assert list(configuration.providers) == ["k"]
    assert configuration.large is not None
    assert configuration.large.model.id == "one"
    configuration = await resolve(attrs.evolve(outside, seconds=1e9), **place)
    assert trio.current_time() - began == pytest.approx(1 + DISCOVERY_TIMEOUT)
    assert configuration.problem is not None
    assert "its endpoint did not answer within 3 s" in configuration.problem


async def test_what_was_found_out_is_not_asked_again_unless_it_failed(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A change of a model need not wait for a password manager; a new reading asks for everything."""
    outside = ScriptedOutside({"token": "s3cret"})
    provider = {"base_url": "http://x", "api_key": "$(token)$(more)", "models": [MODEL]}
    place = write(tmp_path, {"providers": {"p": provider}})
    configuration = await resolve(outside, **place)
    outside.outputs["more"] = "+"
    outside.asked.clear()
    configuration = await resolve(outside, findings=configuration.findings.succeeded(), **place)
    assert outside.asked == ["more"]
    assert configuration.endpoint("p").api_key == "s3cret+"
    outside.asked.clear()
    await resolve(outside, findings=Findings(), **place)
    assert outside.asked == ["token", "more"]


async def test_the_files_are_read_once_more_when_everything_is_known(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """So what comes into force is the newest state, however long a command took."""
    place = write(tmp_path, {"env": {"A": "$(a)"}})

    async def change() -> None:
        await trio.sleep(0.5)
        write(tmp_path, {"env": {"A": "$(a)", "B": "late"}})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(change)
        configuration = await resolve(ScriptedOutside({"a": "1"}), **place)
        assert (configuration.env["A"], configuration.env["B"]) == ("1", "late")
