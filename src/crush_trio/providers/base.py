"""The seam to language models: one protocol, and the values that cross it.

Above it is the agent loop; below it SDKs and wires. A provider gets the whole conversation and
streams deltas; it knows nothing of sessions, runs, storage or retries.

Synopsis::

    async with provider.stream(request) as deltas:
        async for delta in deltas:
            ...

Leaving the block, by any way, closes the upstream connection. Errors of the provider are
:class:`~crush_trio.errors.ProviderError`, also in the middle of a stream.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

import attrs

from crush_trio.messages import FinishReason

# --- what goes to a model ----------------------------------------------------------


@attrs.frozen
class FileContent:
    """A picture or another file for the model."""

    name: str
    mime_type: str
    data: bytes


@attrs.frozen
class CalledTool:
    """A tool call that the model made earlier; ``arguments`` is JSON text."""

    id: str
    name: str
    arguments: str


@attrs.define(eq=False)
class ModelMessage:
    """One message for a model. Treat as immutable: providers keep its encoded form in it.

    ``role`` decides which fields count: ``system`` and ``user`` have text (``user`` also files),
    ``assistant`` has text, reasoning and tool calls, ``tool`` has a call id and text (and files, for
    providers that take them there).

    Attributes:
        reasoning_signature: What the vendor gave with the reasoning, for sending it back.
        encoded: The bytes of this message in a provider's form, by that form's name. A message
            is encoded once, however many requests carry it (architecture: a turn costs what is
            new).
    """

    role: Literal["system", "user", "assistant", "tool"]
    text: str = ""
    reasoning: str = ""
    reasoning_signature: str = ""
    files: tuple[FileContent, ...] = ()
    tool_calls: tuple[CalledTool, ...] = ()
    tool_call_id: str = ""
    tool_name: str = ""
    is_error: bool = False
    encoded: dict[str, bytes] = attrs.field(factory=dict[str, bytes], init=False, repr=False)


@attrs.frozen
class ToolSpec:
    """What a model is told of a tool; ``parameters`` is a JSON schema object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@attrs.frozen
class ModelOptions:
    """Call options of one request (agent contract 1.12); None leaves a value out."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    reasoning_effort: str | None = None
    extra_body: Mapping[str, Any] = attrs.field(factory=dict[str, Any])


@attrs.frozen
class ModelRequest:
    """One request: the conversation so far, the tools and the options.

    Attributes:
        model: The provider's model id.
        messages: System messages first, then the conversation, oldest first.
        session_key: Cache affinity key sent in headers (agent contract 1.11), or empty.
    """

    model: str
    messages: Sequence[ModelMessage]
    tools: Sequence[ToolSpec] = ()
    options: ModelOptions = ModelOptions()
    session_key: str = ""


# --- what comes from a model ---------------------------------------------------------


@attrs.frozen
class TextDelta:
    """More of the answer."""

    text: str


@attrs.frozen
class ReasoningDelta:
    """More of the reasoning."""

    text: str


@attrs.frozen
class ReasoningEnd:
    """The reasoning is complete, or a block of it; the last signature is that of the whole."""

    signature: str = ""


@attrs.frozen
class ToolCallStart:
    """The model began a tool call; its arguments follow."""

    id: str
    name: str


@attrs.frozen
class ToolCallArgs:
    """A fragment of a tool call's arguments, for whoever wants to show it."""

    id: str
    fragment: str


@attrs.frozen
class ToolCallEnd:
    """A tool call is complete; ``arguments`` is all of its JSON text, as the model sent it."""

    id: str
    name: str
    arguments: str


@attrs.frozen
class Usage:
    """Tokens of one request; ``cost`` in dollars only if the provider reports it itself."""

    input: int = 0
    output: int = 0
    cache_creation: int = 0
    cache_read: int = 0
    reasoning: int = 0
    cost: float | None = None


@attrs.frozen
class StreamEnd:
    """The request is complete. Always the last delta; a stream without it failed."""

    reason: FinishReason


Delta = (
    TextDelta
    | ReasoningDelta
    | ReasoningEnd
    | ToolCallStart
    | ToolCallArgs
    | ToolCallEnd
    | Usage
    | StreamEnd
)


class Provider(Protocol):
    """A place that runs models."""

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[AsyncIterator[Delta]]:
        """Open one streaming request; leaving the block closes its connection.

        Tool calls come as start, args and end; usage at most once; :class:`StreamEnd` last.

        Raises:
            ProviderError: on entering or while iterating; ``retryable`` says whether to retry.
        """
        ...
