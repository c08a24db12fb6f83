"""What the embedded model is asked: a request cut down to what so small a model can read. Pure.

It gets a short prompt of its own, no tools, no files, and as much of the newest history as its
window holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

import attrs

from crush_trio.providers.base import ModelMessage, ModelOptions, ModelRequest

LOCAL_MODEL_ID = "smollm2-135m-instruct"
"""The model's id, in requests and in answers."""

LOCAL_CONTEXT_WINDOW = 4096
"""Tokens of prompt and answer. The model knows 8192, but reads some 300 a second on two cores, and
memory and waiting grow with the window."""

LOCAL_MAX_TOKENS = 512
"""Tokens of an answer if the request does not say: about five seconds."""

LOCAL_SYSTEM_PROMPT = (
    "You are a friendly assistant for programmers. Answer the question directly and briefly. "
    "You cannot read files or run commands. If you do not know something, say so."
)
"""Short, because a model of this size forgets the question behind a long one."""

_SAMPLING = {"repeat_penalty": 1.1}
"""Without it the model soon says the same sentence for ever (seen)."""

_TEMPERATURE, _TOP_P = 0.2, 0.9
"""What the model's makers use for chats."""

_MESSAGE_TOKENS = 5
"""What the chat template puts around each message."""


def local_requests(request: ModelRequest) -> Iterator[ModelRequest]:
    """Yield what to ask the model, best first.

    The second one, if there is any, has only the newest prompt. It is for a model that finds the
    first one too long: sizes are estimates, and digits take a token each.
    """
    messages = _with_prompt(request.messages)
    options = _options(request.options)
    reserve = options.max_tokens or LOCAL_MAX_TOKENS
    first = trim_history(messages, LOCAL_CONTEXT_WINDOW, reserve)
    last = trim_history(messages, 0, reserve)
    for kept in (first, last) if len(last) < len(first) else (first,):
        yield ModelRequest(LOCAL_MODEL_ID, kept, options=options)


def trim_history(messages: Sequence[ModelMessage], window: int, reserve: int) -> list[ModelMessage]:
    """Return the system messages and the newest of the others that fit.

    Tool calls, tool results, reasoning and files are left out, neighbours of one role become one
    message, and the first one kept is the user's. The newest prompt is kept whatever its size.

    The cut moves on in steps of half the room, and not with every prompt: a model has read a
    conversation that only grows at its end already, and one that loses its start not.

    Args:
        messages: System messages first, then the conversation, oldest first.
        window: Tokens that the model can hold.
        reserve: Tokens of these that its answer needs.
    """
    system = [message for message in messages if message.role == "system"]
    talk = list(_talk(messages))
    sizes = [estimate_tokens(message) for message in talk]
    room = max(window - reserve - sum(map(estimate_tokens, system)), 2)
    excess = sum(sizes) - room
    step = room // 2
    to_drop = math.ceil(excess / step) * step if excess > 0 else 0
    before = accumulate(sizes, initial=0)
    starts = [
        at for at in zip(range(len(talk)), before, strict=False) if talk[at[0]].role == "user"
    ]
    kept = next((index for index, dropped in starts if dropped >= to_drop), None)
    if kept is None:
        kept = starts[-1][0] if starts else len(talk)
    return [*system, *talk[kept:]]


def estimate_tokens(message: ModelMessage) -> int:
    """Return about how many tokens a message takes, rather too many than too few.

    Prose and code have 4 bytes a token with this model, other alphabets 2; counted are 3 and 1.5.
    """
    size = len(message.text.encode(errors="replace"))
    plain = len(message.text.encode("ascii", "ignore"))
    return (2 * size - plain) // 3 + _MESSAGE_TOKENS


def _with_prompt(messages: Sequence[ModelMessage]) -> list[ModelMessage]:
    """Return ``messages`` with our system prompt, unless they have one that is short enough."""
    system = [message for message in messages if message.role == "system"]
    if system and sum(map(estimate_tokens, system)) <= LOCAL_CONTEXT_WINDOW // 8:
        return list(messages)
    others = [message for message in messages if message.role != "system"]
    return [ModelMessage("system", LOCAL_SYSTEM_PROMPT), *others]


def _options(options: ModelOptions) -> ModelOptions:
    """Return the options with the model's own where the request leaves them open."""
    extra = _SAMPLING | ({} if options.top_k is None else {"top_k": options.top_k})
    return attrs.evolve(
        options,
        max_tokens=min(options.max_tokens or LOCAL_MAX_TOKENS, LOCAL_CONTEXT_WINDOW // 2),
        temperature=_TEMPERATURE if options.temperature is None else options.temperature,
        top_p=_TOP_P if options.top_p is None else options.top_p,
        reasoning_effort=None,
        extra_body=extra | dict(options.extra_body),
    )


def _talk(messages: Iterable[ModelMessage]) -> Iterator[ModelMessage]:
    """Yield what was said, with the roles in turn and the user first."""
    last: ModelMessage | None = None
    for message in messages:
        if message.role not in {"user", "assistant"} or not message.text:
            continue
        if last is None:
            last = _plain(message) if message.role == "user" else None
        elif message.role == last.role:
            last = ModelMessage(last.role, f"{last.text}\n\n{message.text}")
        else:
            yield last
            last = _plain(message)
    if last is not None:
        yield last


def _plain(message: ModelMessage) -> ModelMessage:
    """Return the message without what the model cannot read; itself, and so encoded, if it can."""
    if message.files or message.tool_calls or message.reasoning:
        return ModelMessage(message.role, message.text)
    return message
