"""A session's title, made in the background (agent contract 1.13).

Owned by the workspace and not by the run that it was started by: a cancel of the run does not end
it (R11).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

import attrs

from crush_trio.agent.fairness import FairDeltas
from crush_trio.agent.system import template
from crush_trio.agent.usage import believable, cost
from crush_trio.config import Chosen
from crush_trio.errors import CrushTrioError, ProviderError
from crush_trio.ids import SessionID
from crush_trio.providers.base import (
    ModelMessage,
    ModelOptions,
    ModelRequest,
    Provider,
    StreamEnd,
    TextDelta,
    Usage,
)
from crush_trio.store import Store

logger = logging.getLogger(__name__)

TITLE_TOKENS = 40
"""Output limit of a title (agent contract 9.3)."""

FALLBACK_LENGTH = 50
"""Characters of the prompt that make a title when the model returns none (agent contract 1.13)."""

UNTITLED = "Untitled Session"
"""The title when making one failed (agent contract 1.13)."""

_THINKING = re.compile(r"<think>.*?</think>", re.DOTALL)


@attrs.frozen
class TitleModel:
    """A model that may be asked for a title."""

    chosen: Chosen
    provider: Provider
    prefix: str = ""
    flat_rate: bool = False


def title_from_prompt(prompt: str) -> str:
    """Return the first characters of a prompt on one line, or :data:`UNTITLED`."""
    line = " ".join(prompt.split())
    if len(line) > FALLBACK_LENGTH:
        line = line[: FALLBACK_LENGTH - 1].rstrip() + "…"
    return line or UNTITLED


def clean_title(text: str) -> str:
    """Return a model's answer as a title: one line, without thoughts."""
    text = _THINKING.sub("", text.replace("\n", " "))
    return text.replace("<think>", "").replace("</think>", "").strip()


async def make_title(
    store: Store,
    session_id: SessionID,
    prompt: str,
    models: Sequence[TitleModel],
    *,
    instead_of: str = "",
) -> None:
    """Ask the models in turn for a title and store the first that comes. Errors stay here (C3).

    A session that is renamed while its title is being made keeps the name that it was given; one
    is renamed if it is not called ``instead_of`` any more.
    """
    try:
        for model in models:
            try:
                text, usage = await _ask(model, prompt, session_id)
            except ProviderError as error:
                logger.info("no title from %s: %s", model.chosen.selected.model, error)
                continue
            job = store.set_title(
                session_id,
                clean_title(text) or title_from_prompt(prompt),
                prompt_tokens=usage.input + usage.cache_creation,
                completion_tokens=usage.output,
                cost=cost(usage, model.chosen.model, flat_rate=model.flat_rate),
                instead_of=instead_of,
            )
            await job.wait()
            return
        await store.set_title(session_id, UNTITLED, instead_of=instead_of).wait()
    except CrushTrioError as error:
        logger.warning("session %s gets no title: %s", session_id, error)


async def _ask(model: TitleModel, prompt: str, key: str) -> tuple[str, Usage]:
    chosen = model.chosen
    tokens = chosen.model.default_max_tokens if chosen.model.can_reason else TITLE_TOKENS
    system = [ModelMessage("system", text=model.prefix)] if model.prefix else []
    request = ModelRequest(
        model=chosen.selected.model,
        messages=[
            *system,
            ModelMessage("system", text=f"{template('title')}\n/no_think"),
            ModelMessage("user", text=_instruction(prompt)),
        ],
        options=ModelOptions(max_tokens=tokens or TITLE_TOKENS),
        session_key=key,
    )
    text: list[str] = []
    usage = Usage()
    async with model.provider.stream(request) as deltas:
        async for delta in FairDeltas(deltas):
            match delta:
                case TextDelta(fragment):
                    text.append(fragment)
                case Usage():
                    usage = believable(delta)
                case StreamEnd("max_tokens"):
                    raise ProviderError("the title was cut off")
                case _:
                    pass
    return "".join(text), usage


def _instruction(prompt: str) -> str:
    return f"Write a short title for this message:\n\n{prompt}\n\n<think>\n\n</think>"
