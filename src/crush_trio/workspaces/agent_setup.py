"""How clients set up the agent of an open workspace, and whom its runs can ask (R-37, R-38)."""

from __future__ import annotations

from crush_trio.agent.agent import Agent
from crush_trio.errors import BadRequestError, ConfigError
from crush_trio.workspaces.configured import Configured


class AgentSetup:
    """Gives an agent the configuration that is in force, when a client asks for it.

    Args:
        agent: The workspace's.
        configured: Its configuration.
    """

    def __init__(self, agent: Agent, configured: Configured) -> None:
        self._agent = agent
        self._configured = configured
        self._headless = False

    async def update(self) -> None:
        """Read the configuration again and let the agent use it (R-38).

        A run in flight keeps what it has. Waits for what the configuration needs from outside.

        Raises:
            BadRequestError: there is no agent to update.
            ConfigError: it cannot be read or used; the agent keeps the old one.
        """
        if not self._agent.ready:
            raise BadRequestError("agent configuration is missing")
        await self._configured.read_again()
        self._configure()

    async def init(self, *, interactive: bool) -> None:
        """Build the agent anew for a client that starts (R-37).

        A run in flight keeps what it has. Waits for what the configuration needs from outside, which
        is asked for again.

        Raises:
            BadRequestError: nothing is configured.
            ConfigError: something is configured and cannot be used.
        """
        await self._configured.read_again(fresh=True)
        self._configure()
        self._headless = self._headless or not interactive
        self._agent.rebuild()

    def _configure(self) -> None:
        config = self._configured.current
        if not config.is_configured:
            raise BadRequestError("coder agent configuration is missing")
        if config.problem is not None:
            raise ConfigError(config.problem)
        self._agent.configure(config)

    def is_interactive(self, said: bool | None, *, has_run_id: bool) -> bool:
        """Whether somebody can be asked questions during a run: what its prompt says decides (R-37)."""
        return said if said is not None else not (has_run_id and self._headless)
