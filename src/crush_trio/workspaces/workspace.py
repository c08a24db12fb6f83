"""A workspace: a directory being worked on, and the nursery that owns every run in it.

Above it is the host, whose task is the workspace's lifetime; below it the lanes, the agent, the
event hub and the permission gate. A request only *submits* to it: what it accepts lives here and
not in the request (R2).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

import attrs
import trio

from crush_trio.agent.agent import Agent
from crush_trio.config import Configuration
from crush_trio.errors import (
    BadRequestError,
    SessionBusyError,
    WorkspaceClosingError,
)
from crush_trio.hub import Hub, Subscription, Wish, first_id
from crush_trio.ids import ClientID, RunID, SessionID, new_id
from crush_trio.messages import Prompt, ShellCommand
from crush_trio.permissions import Permissions
from crush_trio.questions import Questions
from crush_trio.runs import Ending, Receipt, Run
from crush_trio.skills import Skills
from crush_trio.tools.base import Surroundings
from crush_trio.tools.jobs import Jobs
from crush_trio.wire.events import ConfigChanged, Event
from crush_trio.wire.runs import AgentInfo
from crush_trio.workspaces.agent_setup import AgentSetup
from crush_trio.workspaces.claims import Claims
from crush_trio.workspaces.configured import Configured
from crush_trio.workspaces.datadir import DataDirectory
from crush_trio.workspaces.equipment import Equipment
from crush_trio.workspaces.hello import hello_event, replay_rule
from crush_trio.workspaces.logins import Logins
from crush_trio.workspaces.mcp_states import ToldStates
from crush_trio.workspaces.plan import Plan
from crush_trio.workspaces.sessions import Sessions
from crush_trio.workspaces.side_work import SideWork
from crush_trio.workspaces.user_commands import UserCommands


class Workspace:
    """An open workspace. Use :func:`~crush_trio.workspaces.opening.open_workspace`.

    Attributes:
        id: New for every opening, but for the first one after a restart.
        hub: What happens here, for every stream.
        claims: Who keeps it open.
        closing: Whether new prompts are refused.
        observer: Hears what happens here.
        side_work: Starts what belongs to the workspace and not to a run.
        sessions: What is stored of conversations.
        agent_setup: How clients set up its agent.
        logins: Renews the tokens of its providers.
    """

    agent: Agent
    agent_setup: AgentSetup
    skills: Skills

    def __init__(
        self,
        plan: Plan,
        data: DataDirectory,
        nursery: trio.Nursery,
        jobs: Jobs,
        equipment: Equipment,
        claims: Claims,
    ) -> None:
        self.id = plan.id
        self.plan = plan
        self.data = data
        self.configured = Configured(
            plan,
            equipment.outside,
            equipment.read_config,
            self._start_change,
            self.tell_config_changed,
            self._adopt,
        )
        self._mcp = ToldStates(plan.config.wire.mcp)
        self.observer = equipment.observer
        self.hub = Hub(
            equipment.settings, first=first_id(equipment.now()), observer=equipment.observer
        )
        self.logins = Logins(
            self.configured,
            equipment.exchange_token,
            plan.server_env,
            self.hub.publish,
            equipment.now,
        )
        self.claims = claims
        self.closing = False
        self.permissions = Permissions(
            self.hub.publish,
            allowed_tools=plan.config.wire.permissions.allowed_tools,
            skip=plan.request.yolo,
            working_dir=str(plan.directory),
            observer=equipment.observer,
        )
        self.questions = Questions(self.hub.publish)
        self._nursery = nursery
        self._runs: set[Run] = set()
        self._idle = trio.Event()
        self._idle.set()
        self.surroundings = Surroundings(
            working_dir=str(plan.directory),
            env=plan.process_env(plan.config),
            permissions=self.permissions,
            questions=self.questions,
            jobs=jobs,
            store=data.store,
            settings=equipment.settings,
            limits=plan.config.wire.tools,
            skills_paths=plan.skills_paths,
            now=equipment.now,
        )
        self.side_work = SideWork(plan.id, nursery, claims, equipment.settings.title_claim)
        self.sessions = Sessions(data, self.cancel)
        self._commands = UserCommands(
            nursery, claims, data, lambda: self.surroundings, equipment.shell
        )

    def __repr__(self) -> str:
        state = "closing" if self.closing else "open"
        return f"<Workspace {self.id} {self.plan.directory} {state} runs {len(self._runs)}>"

    # --- owner of runs ------------------------------------------------------------------

    @property
    def nursery(self) -> trio.Nursery:
        """The nursery that every run of this workspace lives in (R2)."""
        return self._nursery

    def run_accepted(self, run: Run) -> None:
        """Count a run: it keeps the workspace open until it has settled (W2)."""
        self._runs.add(run)
        if self._idle.is_set():
            self._idle = trio.Event()
        self.claims.begin(run)

    def run_settled(self, run: Run) -> None:
        """Stop counting a run."""
        self._runs.discard(run)
        self.data.prune(run.session_id)
        self.claims.end(run)
        if not self._runs:
            self._idle.set()

    # --- prompts --------------------------------------------------------------------------

    def submit(
        self, session_id: SessionID, prompt: Prompt, run_id: RunID | None = None
    ) -> Run | Ending:
        """Accept a prompt, or join the run that has its id (R16). Not a checkpoint.

        Returns what to wait for: a run, or the ending of one that has settled.

        Raises:
            AgentMissingError: the workspace has no usable model.
            ConfigError: the prompt asks for a model that is not there, or cannot be used.
            BadRequestError: the prompt or the session id is empty.
            WorkspaceClosingError: the workspace is closing.
            RunIDConflictError: the run id belongs to another prompt.
        """
        self.agent.check(prompt)
        if not prompt.text.strip() and not any(
            a.mime_type.startswith("text/") for a in prompt.attachments
        ):
            raise BadRequestError("prompt is empty")
        if not session_id:
            raise BadRequestError("session id is missing")
        if self.closing:
            raise WorkspaceClosingError
        own_turn = run_id is not None or bool(prompt.model)  # another model's turn is not its own
        turn = self.agent.turn(session_id)
        run = Run(run_id or RunID(new_id()), session_id, prompt, turn, self, own_turn=own_turn)
        return self.data.lane(session_id).accept(run)

    def summarize(self, session_id: SessionID) -> Run:
        """Begin to summarise a session, as a quiet run of this workspace (R-44). Not a checkpoint.

        Raises:
            AgentMissingError: the workspace has no usable model.
            SessionBusyError: the session has a run, or a summary is being made.
            WorkspaceClosingError: the workspace is closing.
        """
        nothing = Prompt("")
        self.agent.check(nothing)
        if self.closing:
            raise WorkspaceClosingError
        if self.data.busy(session_id):
            raise SessionBusyError
        turn = self.agent.summary(session_id)
        run = Run(RunID(new_id()), session_id, nothing, turn, self, quiet=True)
        self.data.lane(session_id).accept(run)
        return run

    def cancel(self, session_id: SessionID) -> Receipt:
        """Cancel every run of a session that has not concluded (R5). Not a checkpoint."""
        receipt = self.data.lane(session_id).cancel("cancelled by a client")
        self.data.prune(session_id)
        return receipt

    def clear(self, session_id: SessionID) -> Receipt:
        """Drop the prompts that wait in a session. Not a checkpoint."""
        receipt = self.data.lane(session_id).clear("dropped from the queue")
        self.data.prune(session_id)
        return receipt

    # --- the agent ---------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a session of this workspace has a run that has not settled, wherever it is from."""
        return bool(self.data.busy_lanes())

    def agent_info(self) -> AgentInfo:
        """Return the agent as clients see it (R-35)."""
        return self.agent.info(busy=self.busy)

    @property
    def config(self) -> Configuration:
        """The configuration in force; the agent has the one of its last update."""
        return self.configured.current

    def _adopt(self, config: Configuration) -> None:
        """Follow a configuration that comes into force, where it does not wait for an update.

        Turns in flight keep the surroundings that they began with, but not what is allowed unasked.
        """
        self.permissions.allow_unasked(config.wire.permissions.allowed_tools)
        env = self.plan.process_env(config)
        self.surroundings = attrs.evolve(self.surroundings, env=env, limits=config.wire.tools)

    def _start_change(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        if self.closing:
            raise WorkspaceClosingError
        self.side_work.start(work, name)

    def tell_config_changed(self) -> None:
        """Let clients read the configuration again, and what it has changed. Not a checkpoint."""
        self.hub.publish(Event("config_changed", "updated", ConfigChanged(self.id)))
        for event in self._mcp.follow(self.config.wire.mcp):
            self.hub.publish(event)

    # --- users' commands ------------------------------------------------------------------------

    async def run_command(self, session_id: SessionID, command: str) -> ShellCommand:
        """Run a user's command and note it in a session, if there is such a session (R-45).

        If this call is cancelled, the command is ended and nothing is noted.

        Raises:
            BadRequestError: the command cannot be run.
            WorkspaceClosingError: the workspace is closing.
        """
        if self.closing:
            raise WorkspaceClosingError
        return await self._commands.run(session_id, command)

    # --- streams -----------------------------------------------------------------------------

    @contextmanager
    def attach(self, client: ClientID, wish: Wish | None = None) -> Generator[Subscription]:
        """Claim the workspace for a stream, and give it a cursor. Sync on both ends.

        The cursor begins with the requests that are open (D2), in a ``hello`` for one that asks
        for ids; what is published after this call is in it (S1).
        """
        requests, questions = self.permissions.open_requests(), self.questions.open_requests()
        if wish is None:
            initial = self.permissions.open_events() + self.questions.open_events()
        else:
            lanes = self.data.busy_lanes()
            initial = [hello_event(self.hub.last_id, lanes, requests, questions)]
        claim = self.claims.attach(client)
        try:
            with self.hub.subscribe(initial, wish, replay_rule(requests)) as subscription:
                yield subscription
        finally:
            self.claims.detach(client, claim)

    # --- closing -----------------------------------------------------------------------------

    def stop_runs(self, reason: str) -> None:
        """Refuse new prompts and cancel the runs of this workspace. Not a checkpoint (W4).

        Runs that another workspace has in the same lanes go on.
        """
        self.closing = True
        for lane in self.data.busy_lanes():
            lane.cancel(reason, covers=lambda run: run.owner is self)

    @property
    def left(self) -> int:
        """How many tasks and processes of it there still are; none once it has closed (W5)."""
        jobs = sum(not job.finished.is_set() for job in self.surroundings.jobs.all())
        return len(self._nursery.child_tasks) + len(self._runs) + jobs

    async def wait_idle(self) -> None:
        """Wait until every run of this workspace has settled."""
        await self._idle.wait()
