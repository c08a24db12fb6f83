"""What a turn works with: the workbench of its workspace, and the gear chosen for one turn.

Gear is a snapshot taken at the beginning of a turn, so that a change of the configuration touches
no run in flight (wire contract 0, R-37).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import attrs

from crush_trio.agent.histories import Histories
from crush_trio.config import Chosen
from crush_trio.messages import Prompt
from crush_trio.providers.base import ModelMessage, ModelOptions, Provider, ToolSpec
from crush_trio.settings import Settings
from crush_trio.store import Store
from crush_trio.tools.base import Surroundings, Tool
from crush_trio.wire.config import Unattended
from crush_trio.wire.sessions import Session


@attrs.frozen
class Gear:
    """A model with its tools and options, as one turn uses them.

    Attributes:
        chosen: The selected model; assistant messages name it (wire contract 6.2).
        model_id: The id that requests carry.
        system: System messages, in order.
        flat_rate: The provider costs nothing a token.
        pictures_inside: It takes a tool's picture inside the tool's result.
        unattended: What answers permissions if nobody can be asked; None if somebody can.
        auto_summarize: A conversation that fills the model's window is summarised.
        prefix: Those of the system messages that the provider asks for in every request.
    """

    chosen: Chosen
    model_id: str
    provider: Provider
    system: tuple[ModelMessage, ...]
    tools: Mapping[str, Tool] = attrs.field(factory=dict[str, Tool])
    options: ModelOptions = attrs.field(factory=ModelOptions)
    flat_rate: bool = False
    pictures_inside: bool = False
    unattended: Unattended | None = None
    auto_summarize: bool = False
    prefix: tuple[ModelMessage, ...] = ()

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What the model is told of the tools, sorted by name."""
        return tuple(
            ToolSpec(tool.name, tool.description, tool.parameters)
            for _, tool in sorted(self.tools.items())
        )


@attrs.frozen
class Workbench:
    """What all turns of a workspace share, and what they ask of it.

    Attributes:
        surroundings: What tools get now; a turn takes it when it begins. Sync.
        equip: Awaited once the prompt is stored; raises what makes the turn fail.
        model_names: Model and provider id for an answer that never began; sync.
        start_title: Starts the making of a title in the workspace; sync.
        fold: Takes the prompts that join the session's active turn at this step; sync.
        now: Unix seconds.
    """

    store: Store
    histories: Histories
    surroundings: Callable[[], Surroundings]
    equip: Callable[[Prompt], Awaitable[Gear]]
    model_names: Callable[[Prompt], tuple[str, str]]
    start_title: Callable[[Session, Prompt, Gear], None]
    fold: Callable[[str], Sequence[Prompt]]
    settings: Settings = attrs.field(factory=Settings)
    now: Callable[[], float] = time.time
