"""The agent of a workspace: what its turns get, and when a new configuration counts."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from core_kit import CHOSEN, Study, now, open_study, write_config
from crush_trio.agent.agent import Agent
from crush_trio.agent.gear import Gear
from crush_trio.agent.home import EmbeddedModel, Home
from crush_trio.agent.providers import open_providers
from crush_trio.config import Endpoint, load
from crush_trio.errors import AgentMissingError, ConfigError
from crush_trio.messages import Prompt
from crush_trio.providers.base import Provider
from crush_trio.providers.scripted import ScriptedModel
from crush_trio.wire.sessions import Session
from tools_kit import open_ear

EMBEDDED = EmbeddedModel(CHOSEN, ScriptedModel())


@attrs.define(eq=False)
class Office:
    """An agent with its files."""

    agent: Agent
    directory: Path
    env: Mapping[str, str]
    study: Study
    work: list[Any]

    def configure(self, **more: Any) -> None:
        """Write another configuration and use it."""
        write_config(self.directory, **more)
        self.agent.configure(load(self.directory, env=self.env))

    async def gear(self, text: str = "hello", **fields: Any) -> Gear:
        """Return what a turn of a prompt would work with now."""
        return await self.agent._equip(Prompt(text, **fields))

    async def title(self, gear: Gear, **fields: Any) -> str:
        """Make a title as a workspace would, and return it."""
        session = await self.study.store.session(self.study.session_id)
        assert session is not None
        self.agent._start_title(session, Prompt("fix the build", **fields), gear)
        await self.work.pop()()
        titled = await self.study.store.session(self.study.session_id)
        assert isinstance(titled, Session)
        return titled.title


@asynccontextmanager
async def open_office(
    tmp_path: Path,
    *,
    embedded: EmbeddedModel | None = None,
    path: str = "",
    model: Provider | None = None,
    **config: Any,
) -> AsyncGenerator[Office]:
    directory = tmp_path / "project"
    write_config(directory, **config)
    env = {"HOME": str(tmp_path), "PATH": f"{path}:{os.environ['PATH']}"}
    model = model or ScriptedModel()
    work: list[Any] = []

    @asynccontextmanager
    async def opener(_: Endpoint) -> AsyncGenerator[Provider]:
        yield model

    with trio.fail_after(10):
        async with open_study() as study, open_providers(opener) as providers:
            home = Home(
                directory,
                study.store,
                study.histories,
                lambda: study.surroundings,
                providers,
                start=lambda make, _: work.append(make),
                fold=lambda _: [],
                embedded=embedded,
                now=now,
            )
            yield Office(Agent(home, load(directory, env=env)), directory, env, study, work)


async def test_a_turn_gets_the_configured_model_tools_and_prompt(tmp_path: Path) -> None:
    """What is disabled is not there; the system prompt is assembled once."""
    async with open_office(tmp_path, options={"disabled_tools": ["bash"]}) as office:
        (office.directory / "CRUSH.md").write_text("use tabs")
        gear = await office.gear()
        assert (gear.chosen.selected.model, gear.model_id) == ("scripted-1", "scripted-1")
        assert gear.options.max_tokens == 1000
        assert "bash" not in gear.tools
        assert [spec.name for spec in gear.specs] == sorted(gear.tools)
        (system,) = gear.system
        assert "use tabs" in system.text
        (office.directory / "CRUSH.md").write_text("use spaces")
        (system,) = (await office.gear()).system
        assert "use tabs" in system.text
        office.agent.rebuild()
        (system,) = (await office.gear()).system
        assert "use spaces" in system.text


async def test_a_rebuild_counts_though_the_old_prompt_is_being_assembled(tmp_path: Path) -> None:
    """The turn that waits for git has the old one; the next has the new one (R-37)."""
    async with open_ear(tmp_path) as ear:
        bin_ = tmp_path / "bin"
        bin_.mkdir()
        os.mkfifo(tmp_path / "gate")
        git = f"#!/bin/sh\necho here > {ear.path}\nread line < {tmp_path / 'gate'}\n"
        (bin_ / "git").write_text(git)
        (bin_ / "git").chmod(0o755)
        async with open_office(
            tmp_path, path=str(bin_), options={"context_paths": ["a"]}
        ) as office:
            for name in "ab":
                (office.directory / name).write_text(f"rule {name}")
            (office.directory / ".git").mkdir()
            gears: list[Gear] = []

            async def equip() -> None:
                gears.append(await office.gear())

            async with trio.open_nursery() as nursery:
                nursery.start_soon(equip)
                await ear.line()
                office.configure(options={"context_paths": ["b"]})
                office.agent.rebuild()
                (bin_ / "git").write_text("#!/bin/sh\nexit 1\n")
                (tmp_path / "gate").write_text("go\n")
            gears.append(await office.gear())
            old, new = [gear.system[0].text for gear in gears]
            assert "rule a" in old
            assert "rule b" not in old
            assert "rule b" in new
            assert "rule a" not in new


async def test_without_a_usable_model_there_is_no_agent(tmp_path: Path) -> None:
    """Until there is one; what is configured and cannot be used says why."""
    async with open_office(tmp_path) as office:
        assert office.agent.info(busy=True).is_busy
        (office.directory / "crush.json").write_text("{}")
        office.agent.configure(load(office.directory, env=office.env))
        assert not office.agent.ready
        assert not office.agent.info(busy=True).is_busy
        with pytest.raises(AgentMissingError):
            office.agent.check(Prompt("hello"))
        with pytest.raises(ConfigError, match="large model not selected"):
            await office.gear()


async def test_the_embedded_model_answers_only_who_asked_for_it(tmp_path: Path) -> None:
    """And only where nothing else is configured; it has no tools and no prompt of ours."""
    async with open_office(tmp_path, embedded=EMBEDDED) as office:
        assert (await office.gear(local_model=True)).provider is not EMBEDDED.provider
        (office.directory / "crush.json").write_text("{}")
        office.agent.configure(load(office.directory, env=office.env))
        office.agent.check(Prompt("hello", local_model=True))
        with pytest.raises(AgentMissingError):
            office.agent.check(Prompt("hello"))
        gear = await office.gear(local_model=True)
        assert gear.provider is EMBEDDED.provider
        assert (gear.tools, gear.system, gear.flat_rate) == ({}, (), True)
        names = office.agent._model_names(Prompt("x", local_model=True))
        assert names == ("scripted-1", "scripted")
        assert office.agent._model_names(Prompt("x")) == ("", "")
        assert await office.title(gear, local_model=True) == "fix the build"


async def test_a_title_is_asked_of_the_small_model(tmp_path: Path) -> None:
    """Here both are one, so it is asked once."""
    model = ScriptedModel(title="Fixing")
    async with open_office(tmp_path, model=model) as office:
        assert await office.title(await office.gear()) == "Fixing"
        assert len(model.title_requests) == 1
