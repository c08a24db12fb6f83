"""What a workspace is opened with."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import attrs
import trio

from crush_trio.config import Configuration, resolve
from crush_trio.config.paths import find_project
from crush_trio.ids import WorkspaceID
from crush_trio.skills import Skills, discover
from crush_trio.tools.files import expanded
from crush_trio.wire.workspaces import CreateWorkspace
from crush_trio.workspaces.equipment import Equipment
from crush_trio.workspaces.wanted import WantedWorkspace

logger = logging.getLogger(__name__)


@attrs.frozen
class Plan:
    """What a workspace is opened with; the first creator's wishes (W1).

    Attributes:
        request: The create request as it came.
        directory: The resolved directory, which is the workspace's identity.
        config: As loaded for this directory.
        id: The workspace's; that of before if a restart knows it.
        server_env: The server's environment, which the configuration is read with.
    """

    request: CreateWorkspace
    directory: Path
    config: Configuration
    id: WorkspaceID
    server_env: Mapping[str, str] = attrs.field(repr=False)

    def process_env(self, config: Configuration) -> dict[str, str]:
        """Return what sub-processes get: the environment of ``config`` with the creator's over it."""
        pairs = (entry.partition("=") for entry in self.request.env or ())
        return {**config.env, **{name: value for name, _, value in pairs if name}}

    @property
    def skills_paths(self) -> tuple[str, ...]:
        """Directories whose files tools may show unasked, absolute (agent contract 2.6)."""
        paths = self.config.wire.given_options.skills_paths
        return tuple(expanded(path, str(self.directory), self.config.env) for path in paths)


async def make_plan(wanted: WantedWorkspace, equipment: Equipment, env: Mapping[str, str]) -> Plan:
    """Return what a wanted workspace is opened with; its configuration is read and resolved.

    Args:
        wanted: The workspace.
        equipment: Reads the configuration, and asks what it needs from outside.
        env: The server's environment.

    Raises:
        ConfigError: the configuration cannot be read.
    """
    request = wanted.request
    config = await resolve(
        equipment.outside,
        wanted.directory,
        read=equipment.read_config,
        env=env,
        data_dir=request.data_dir,
        debug=request.debug,
    )
    if config.wire.hooks:
        logger.warning("%s: hooks are configured, and are not run yet", wanted.directory)
    return Plan(request, wanted.directory, config, wanted.id, env)


async def find_skills(plan: Plan) -> Skills:
    """Return the skills that there are now; a look around takes a thread."""
    await trio.lowlevel.checkpoint()
    places = [path for path in plan.skills_paths if Path(path).is_dir()]  # noqa: ASYNC240
    disabled = plan.config.wire.given_options.disabled_skills
    look = partial(discover, places, find_project(plan.directory).root, disabled=disabled)
    return await trio.to_thread.run_sync(look) if places else look()
