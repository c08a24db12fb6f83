"""Opening a workspace, and closing it in order.

Above it is the host, whose task is in the block for as long as the workspace is open.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import trio

from crush_trio.agent.agent import Agent
from crush_trio.agent.home import Home
from crush_trio.agent.providers import Providers, open_providers
from crush_trio.config import Configuration, Endpoint, renew_endpoint
from crush_trio.ids import SessionID
from crush_trio.messages import Prompt
from crush_trio.tools.jobs import open_jobs
from crush_trio.workspaces.agent_setup import AgentSetup
from crush_trio.workspaces.claims import Claims
from crush_trio.workspaces.datadir import DataDirectory
from crush_trio.workspaces.equipment import Equipment
from crush_trio.workspaces.plan import Plan, find_skills
from crush_trio.workspaces.workspace import Workspace

logger = logging.getLogger(__name__)


@asynccontextmanager
async def open_workspace(
    plan: Plan, data: DataDirectory, equipment: Equipment, claims: Claims
) -> AsyncGenerator[Workspace]:
    """Open a workspace on an open data directory.

    Leaving the block closes it in order (W4): runs are cancelled and store their ends, what else
    lives here is ended, then the streams end.
    """
    async with (
        open_jobs(equipment.settings, shell=equipment.shell) as jobs,
        open_providers(equipment.open_provider) as providers,
        trio.open_nursery() as nursery,
    ):
        workspace = Workspace(plan, data, nursery, jobs, equipment, claims)
        workspace.skills = await find_skills(plan)
        workspace.agent = Agent(_home(workspace, data, providers, equipment), plan.config)
        workspace.agent_setup = AgentSetup(workspace.agent, workspace.configured)
        await workspace.configured.write_corrections()
        data.join(workspace.hub)
        if equipment.remember is not None:
            workspace.side_work.start(
                partial(equipment.remember, plan.directory, plan.config.data_dir), "project"
            )
        try:
            yield workspace
        finally:
            workspace.stop_runs("the workspace is closing")
            limit = equipment.settings.close_timeout + equipment.settings.finish_timeout
            with trio.move_on_after(limit, shield=True) as waiting:
                await workspace.wait_idle()
            if waiting.cancelled_caught:
                logger.error("runs of %r did not settle in %s s", workspace, limit)
            nursery.cancel_scope.cancel("the workspace is closing")
            data.leave(workspace.hub)
            workspace.hub.close()


def _home(
    workspace: Workspace, data: DataDirectory, providers: Providers, equipment: Equipment
) -> Home:
    def fold(session_id: str) -> list[Prompt]:
        return [run.prompt for run in data.lane(SessionID(session_id)).fold()]

    async def renew(config: Configuration, provider_id: str) -> Endpoint:
        used = config.token(provider_id)
        if used is not None:
            token = await workspace.logins.renew(provider_id, used)
            config.findings.tokens[provider_id] = token
        return await renew_endpoint(
            equipment.outside, workspace.plan.directory, config, provider_id
        )

    return Home(
        directory=workspace.plan.directory,
        store=data.store,
        histories=data.histories,
        surroundings=lambda: workspace.surroundings,
        providers=providers,
        start=workspace.side_work.start,
        fold=fold,
        embedded=equipment.embedded,
        settings=equipment.settings,
        now=equipment.now,
        tools=equipment.tools,
        skills=workspace.skills.prompt,
        renew=renew,
    )
