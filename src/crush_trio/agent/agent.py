"""The agent of one workspace: it knows the configuration, the tools and the providers, and makes turns.

Above it is the workspace, which lends it a nursery for what is not a run's (the system prompt,
titles); below it are the turn and what a turn uses. It holds no state of any run, so that it can
take a new configuration at any time (wire contract 0, R-37).
"""

from __future__ import annotations

import logging
from contextlib import suppress

import attrs
import trio

from crush_trio.agent.gear import Gear, Workbench
from crush_trio.agent.home import EmbeddedModel, Home
from crush_trio.agent.renewing import RenewingProvider
from crush_trio.agent.summary import SummaryTurn
from crush_trio.agent.system import SystemPrompt
from crush_trio.agent.titles import TitleModel, make_title, title_from_prompt
from crush_trio.agent.turn import AgentTurn
from crush_trio.config import Chosen, Configuration, Endpoint
from crush_trio.errors import AgentMissingError, ConfigError, CrushTrioError
from crush_trio.ids import SessionID
from crush_trio.messages import Prompt
from crush_trio.providers.base import ModelMessage, ModelOptions, Provider
from crush_trio.providers.tokens import is_expired
from crush_trio.tools.registry import builtin_tools
from crush_trio.wire.runs import AgentInfo
from crush_trio.wire.sessions import Session

logger = logging.getLogger(__name__)

QUESTION = "question"
"""The tool that a run of which nobody can be asked does not have (wire contract 0, R-37)."""


class Agent:
    """Makes the turns of a workspace.

    Args:
        home: What the workspace lends.
        config: The configuration to begin with.
    """

    def __init__(self, home: Home, config: Configuration) -> None:
        self._home = home
        self._system = SystemPrompt(home)
        self.configure(config)
        self._bench = Workbench(
            store=home.store,
            histories=home.histories,
            surroundings=home.surroundings,
            equip=self._equip,
            model_names=self._model_names,
            start_title=self._start_title,
            fold=home.fold,
            settings=home.settings,
            now=home.now,
        )

    def configure(self, config: Configuration) -> None:
        """Use another configuration from the next turn on. Not a checkpoint."""
        self.config = config
        options = config.wire.given_options
        tools = builtin_tools(
            disabled=options.disabled_tools,
            attribution=options.attribution,
            model_id="" if config.large is None else config.large.model.id,
        )
        self._tools = {tool.name: tool for tool in (*tools, *self._home.tools)}

    def rebuild(self) -> None:
        """Read what the system prompt is made of again, before the next turn. Not a checkpoint.

        A turn that is assembling the old one just now keeps it to itself.
        """
        self._system = SystemPrompt(self._home)

    @property
    def ready(self) -> bool:
        """Whether there is a usable model, so that prompts are accepted."""
        return self.config.is_configured and self.config.problem is None

    def info(self, *, busy: bool) -> AgentInfo:
        """Return the agent as clients see it; all zero without a usable model (R-35)."""
        large = self.config.large
        if not self.ready or large is None:
            return AgentInfo()
        return AgentInfo(busy, is_ready=True, model=large.model, model_cfg=large.selected)

    def check(self, prompt: Prompt) -> None:
        """Refuse a prompt that nobody here can answer. Not a checkpoint.

        Raises:
            AgentMissingError: there is no usable model, and the embedded one was not asked for.
            ConfigError: it asks for a model that is not there, or cannot be used.
        """
        if prompt.model:
            self.config.endpoint(self.config.chosen(prompt.model).provider_id)
        elif not self.ready and not (prompt.local_model and self._home.embedded):
            raise AgentMissingError

    def turn(self, session_id: SessionID) -> AgentTurn:
        """Return a new turn for a run of a session. Not a checkpoint."""
        return AgentTurn(session_id, self._bench)

    def summary(self, session_id: SessionID) -> SummaryTurn:
        """Return what summarises a session. Not a checkpoint."""
        return SummaryTurn(session_id, self._bench)

    # --- gear ---------------------------------------------------------------------------

    def _embedded_for(self, prompt: Prompt) -> EmbeddedModel | None:
        wanted = prompt.local_model and not prompt.model and not self.ready
        return self._home.embedded if wanted else None

    def _chosen_for(self, prompt: Prompt, config: Configuration) -> Chosen | None:
        """Return the model that answers a prompt: its own, else the selected one.

        Raises:
            ConfigError: its own is not there any more.
        """
        return config.chosen(prompt.model) if prompt.model else config.large

    def _model_names(self, prompt: Prompt) -> tuple[str, str]:
        embedded = self._embedded_for(prompt)
        chosen = None if embedded is None else embedded.chosen
        if embedded is None:
            with suppress(ConfigError):  # said where the model is used
                chosen = self._chosen_for(prompt, self.config)
        return ("", "") if chosen is None else (chosen.selected.model, chosen.selected.provider)

    async def _equip(self, prompt: Prompt) -> Gear:
        """Return what a turn works with, from the configuration as it is now. Always a checkpoint.

        Raises:
            ConfigError: the model or its provider cannot be used.
        """
        embedded = self._embedded_for(prompt)
        if embedded is not None:
            await trio.lowlevel.checkpoint()
            return _embedded_gear(embedded)
        config = self.config
        chosen = self._chosen_for(prompt, config)
        if chosen is None:
            raise ConfigError(config.problem or "large model not selected")
        gear = await self._gear(config, chosen)
        if prompt.interactive is not False:
            return gear
        tools = {name: tool for name, tool in gear.tools.items() if name != QUESTION}
        rule = config.wire.permissions.unattended
        return attrs.evolve(gear, tools=tools, unattended=rule)

    async def _fresh_endpoint(self, config: Configuration, provider_id: str) -> Endpoint:
        """Return a provider's endpoint; a token that has expired is renewed first (1.3)."""
        token, renew = config.token(provider_id), self._home.renew
        if renew is not None and token is not None and is_expired(token, self._home.now()):
            try:
                return await renew(config, provider_id)
            except CrushTrioError as error:
                logger.warning("the token of provider %s is not renewed: %s", provider_id, error)
        return config.endpoint(provider_id)

    async def _provider(self, config: Configuration, endpoint: Endpoint) -> Provider:
        """Return the provider of an endpoint; one whose key a command or a login gave can renew it."""
        provider = await self._home.providers.get(endpoint)
        renew = self._home.renew
        if renew is None or not config.renews(endpoint.provider_id):
            return provider
        known = endpoint

        async def renewed() -> Provider | None:
            nonlocal known
            before, known = known, await renew(config, endpoint.provider_id)
            return None if known == before else await self._home.providers.get(known)

        return RenewingProvider(provider, renewed)

    async def _gear(self, config: Configuration, chosen: Chosen) -> Gear:
        endpoint = await self._fresh_endpoint(config, chosen.provider_id)
        provider = await self._provider(config, endpoint)
        prompt = await self._system.get(config)
        options = config.call_options(chosen)
        return Gear(
            chosen=chosen,
            model_id=options.model_id,
            provider=provider,
            system=_system_messages(endpoint.system_prompt_prefix, prompt),
            prefix=_system_messages(endpoint.system_prompt_prefix),
            tools=self._tools,
            options=ModelOptions(
                max_tokens=options.max_tokens,
                temperature=options.temperature,
                top_p=options.top_p,
                top_k=options.top_k,
                frequency_penalty=options.frequency_penalty,
                presence_penalty=options.presence_penalty,
                reasoning_effort=options.reasoning_effort,
                extra_body=options.extra_body,
            ),
            flat_rate=endpoint.flat_rate,
            # Of the vendors with this form only its own is known to (agent contract 1.7).
            pictures_inside=endpoint.type == chosen.provider_id == "anthropic",
            auto_summarize=not config.wire.given_options.disable_auto_summarize,
        )

    # --- titles ---------------------------------------------------------------------------

    def _start_title(self, session: Session, prompt: Prompt, gear: Gear) -> None:
        """Start the making of a title in the workspace. Not a checkpoint."""
        config, session_id = self.config, SessionID(session.id)

        async def make() -> None:
            if self._embedded_for(prompt) is not None:  # a small model's title is no title
                title = title_from_prompt(prompt.text)
                job = self._home.store.set_title(session_id, title, instead_of=session.title)
                await job.wait()
                return
            models = await self._title_models(config, gear)
            await make_title(
                self._home.store, session_id, prompt.text, models, instead_of=session.title
            )

        self._home.start(make, "title")

    async def _title_models(self, config: Configuration, gear: Gear) -> list[TitleModel]:
        """Return the small model, then the large one (agent contract 1.13)."""
        found: list[TitleModel] = []
        for chosen in (config.small, config.large):
            if chosen is None or any(chosen == model.chosen for model in found):
                continue
            try:
                endpoint = config.endpoint(chosen.provider_id)
                provider = await self._home.providers.get(endpoint)
            except ConfigError as error:
                logger.info("no title from %s: %s", chosen.selected.model, error)
                continue
            found.append(
                TitleModel(chosen, provider, endpoint.system_prompt_prefix, endpoint.flat_rate)
            )
        return found or [TitleModel(gear.chosen, gear.provider)]


def _system_messages(*texts: str) -> tuple[ModelMessage, ...]:
    return tuple(ModelMessage("system", text=text) for text in texts if text)


def _embedded_gear(embedded: EmbeddedModel) -> Gear:
    """Return the gear of the embedded model: no tools, and no prompt but its own."""
    return Gear(
        chosen=embedded.chosen,
        model_id=embedded.chosen.model.id,
        provider=embedded.provider,
        system=(),
        flat_rate=True,
    )
