"""One script, two providers: the twin itself, and the real one over HTTP to the same script.

Whatever holds here, a test that uses the scripted model may rely on.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import trio

from crush_trio.errors import ProviderError
from crush_trio.providers.base import (
    CalledTool,
    Delta,
    FileContent,
    ModelMessage,
    ModelOptions,
    ModelRequest,
    Provider,
    ReasoningDelta,
    ReasoningEnd,
    StreamEnd,
    TextDelta,
    ToolCallArgs,
    ToolCallEnd,
    ToolCallStart,
    ToolSpec,
    Usage,
)
from crush_trio.providers.failures import status_error, stream_error
from crush_trio.providers.openai import open_openai_provider
from crush_trio.providers.script import FAILURES
from crush_trio.providers.script_file import read_script
from crush_trio.providers.scripted import (
    Answer,
    Call,
    Cut,
    Fail,
    Finish,
    Hang,
    Pause,
    Report,
    Say,
    ScriptedModel,
    Think,
    WaitFor,
    failing,
)
from crush_trio.server.model_script import open_model_server

ASK = ModelRequest("m", [ModelMessage("user", "hi")])

Open = Callable[[ScriptedModel], AbstractAsyncContextManager[Provider]]


@asynccontextmanager
async def open_twin(model: ScriptedModel) -> AsyncGenerator[Provider]:
    yield model


@asynccontextmanager
async def open_real(model: ScriptedModel) -> AsyncGenerator[Provider]:
    async with open_model_server(model) as base_url:
        async with open_openai_provider(name="scripted", base_url=base_url, api_key="k") as real:
            yield real


@pytest.fixture(params=[open_twin, open_real])
def open_provider(request: pytest.FixtureRequest) -> Open:
    return request.param


def joined(deltas: list[Delta]) -> list[Delta]:
    """Join neighbouring fragments: how a text is cut is not part of the contract."""
    whole: list[Delta] = []
    for delta in deltas:
        match whole[-1:], delta:
            case [TextDelta(text=before)], TextDelta(text=text):
                whole[-1] = TextDelta(before + text)
            case [ReasoningDelta(text=before)], ReasoningDelta(text=text):
                whole[-1] = ReasoningDelta(before + text)
            case [ToolCallArgs(id=call_id, fragment=before)], ToolCallArgs(fragment=fragment):
                whole[-1] = ToolCallArgs(call_id, before + fragment)
            case _:
                whole.append(delta)
    return whole


async def collect(provider: Provider, deltas: list[Delta], request: ModelRequest = ASK) -> None:
    async with provider.stream(request) as stream:
        async for delta in stream:
            deltas.append(delta)  # noqa: PERF401 -- what came before an error counts


async def heard(provider: Provider, request: ModelRequest = ASK) -> list[Delta]:
    deltas: list[Delta] = []
    await collect(provider, deltas, request)
    return joined(deltas)


USAGE = Usage(input=100, output=10)


@pytest.mark.parametrize(
    ("answer", "deltas"),
    [
        ("Grüße, 🐟!", [TextDelta("Grüße, 🐟!"), USAGE, StreamEnd("end_turn")]),
        (
            [Think("hm hm", chunk=2), Say("a b\nc", chunk=1)],
            [
                ReasoningDelta("hm hm"),
                ReasoningEnd(),
                TextDelta("a b\nc"),
                USAGE,
                StreamEnd("end_turn"),
            ],
        ),
        ([Think("hm")], [ReasoningDelta("hm"), ReasoningEnd(), USAGE, StreamEnd("end_turn")]),
        (
            [Say("I look."), Call("bash", {"command": "ls"}, chunk=3), Call("ls", "", id="c")],
            [
                TextDelta("I look."),
                ToolCallStart("call_1", "bash"),
                ToolCallArgs("call_1", '{"command": "ls"}'),
                ToolCallStart("c", "ls"),
                ToolCallEnd("call_1", "bash", '{"command": "ls"}'),
                ToolCallEnd("c", "ls", "{}"),
                USAGE,
                StreamEnd("tool_use"),
            ],
        ),
        (
            [Call("view", '{"file_path": '), Finish("end_turn")],
            [
                ToolCallStart("call_1", "view"),
                ToolCallArgs("call_1", '{"file_path": '),
                ToolCallEnd("call_1", "view", '{"file_path": '),
                USAGE,
                StreamEnd("tool_use"),
            ],
        ),
        (
            [Say("a"), Report(Usage(input=5, output=2, cache_read=90, reasoning=1, cost=0.5))],
            [
                TextDelta("a"),
                Usage(input=5, output=2, cache_read=90, reasoning=1, cost=0.5),
                StreamEnd("end_turn"),
            ],
        ),
        ([Say("a"), Finish("max_tokens")], [TextDelta("a"), USAGE, StreamEnd("max_tokens")]),
        ([Finish("content_filter"), Report(None)], [StreamEnd("content_filter")]),
        ([Finish("unknown"), Pause(0.01)], [USAGE, StreamEnd("unknown")]),
    ],
)
async def test_an_answer_is_the_same_deltas(
    open_provider: Open, answer: Answer, deltas: list[Delta]
) -> None:
    """Text, reasoning, calls, usage and reason, in this order."""
    model = ScriptedModel(answer)
    with trio.fail_after(5):
        async with open_provider(model) as provider:
            assert await heard(provider) == deltas
            await model.wait_closed(1)
    assert model.abandoned_streams == 0


@pytest.mark.promise("R7")
@pytest.mark.parametrize(
    "error",
    [
        status_error(401, "bad key"),
        status_error(400, "no such model"),
        status_error(429, "slow down", {"retry-after": "3"}),
        status_error(500, "broken"),
        status_error(503, "no more tries", {"x-should-retry": "false"}),
    ],
    ids=str,
)
async def test_a_status_is_the_same_error(open_provider: Open, error: ProviderError) -> None:
    """Title, message, status and the advice on retries."""
    with trio.fail_after(5):
        async with open_provider(ScriptedModel([Pause(0.01), Fail(error)])) as provider:
            with pytest.raises(ProviderError) as caught:
                await heard(provider)
    got = caught.value
    assert (got.title, str(got), got.text) == (error.title, str(error), error.text)
    assert (got.http_status, got.retryable) == (error.http_status, error.retryable)
    assert got.retry_after == error.retry_after


@pytest.mark.promise("R10")
@pytest.mark.parametrize(
    ("failing", "title", "retryable"),
    [
        (Fail(stream_error("overloaded")), "Stream Error", False),
        (Fail(stream_error("overloaded", retryable=True)), "Stream Error", True),
        (Cut(), "Stream transport error", True),
    ],
    ids=["error", "retryable error", "cut"],
)
async def test_a_failure_in_the_middle_comes_after_what_was_said(
    open_provider: Open, failing: Fail | Cut, title: str, retryable: bool
) -> None:
    """Nothing that arrived before it is lost, and a call that was begun stays unfinished."""
    model = ScriptedModel([Say("Half an "), Call("ls", {}), failing])
    said: list[Delta] = []
    with trio.fail_after(5):
        async with open_provider(model) as provider:
            with pytest.raises(ProviderError) as caught:
                await collect(provider, said)
    start = [TextDelta("Half an "), ToolCallStart("call_1", "ls"), ToolCallArgs("call_1", "{}")]
    assert joined(said) == start
    assert (caught.value.title, caught.value.retryable) == (title, retryable)
    assert title != "Stream Error" or str(caught.value) == "overloaded"


@pytest.mark.promise("R7")
@pytest.mark.parametrize("kind", [*FAILURES, 418, 503])
async def test_a_class_of_failure_is_the_same_error(open_provider: Open, kind: str | int) -> None:
    """With its status, and with whether trying again helps; said where nothing else was."""
    with trio.fail_after(5):
        async with open_provider(ScriptedModel(failing(kind, "no"))) as provider:
            with pytest.raises(ProviderError) as caught:
                await heard(provider)
    meant = failing(kind, "no").error
    got = caught.value
    assert (got.title, str(got), got.http_status) == (meant.title, "no", meant.http_status)
    assert got.retryable == meant.retryable


async def test_a_gate_holds_an_answer_until_it_is_opened(open_provider: Open) -> None:
    """By its name; one that was opened before holds nothing."""
    model = ScriptedModel([Say("a"), WaitFor("door"), Say("b")], [WaitFor("door"), Say("c")])
    with trio.fail_after(5):
        async with open_provider(model) as provider:
            async with provider.stream(ASK) as deltas:
                assert await anext(deltas) == TextDelta("a")
                model.open_gate("door")
                assert await anext(deltas) == TextDelta("b")
            assert (await heard(provider))[0] == TextDelta("c")


async def test_a_file_is_the_same_deltas(open_provider: Open, tmp_path: Path) -> None:
    """Answer by answer, as they stand in it; then ``ok``."""
    path = tmp_path / "script.toml"
    path.write_text(
        """
        answers = [
          [{ think = "hm" }, "I look.", { call = "ls", arguments = { path = "/" } }],
          [{ pause = 0.01 }, { say = "Two files.", chunk = 4 }, { finish = "max_tokens" }],
          [{ say = "Half" }, { fail = "overloaded", message = "busy" }],
        ]
        """
    )
    said: list[Delta] = []
    with trio.fail_after(5):
        async with open_provider(read_script(path).model()) as provider:
            answers = [await heard(provider) for _ in range(2)]
            with pytest.raises(ProviderError, match="busy") as caught:
                await collect(provider, said)
            answers.append(await heard(provider))
    assert said == [TextDelta("Half")]
    assert (caught.value.http_status, caught.value.title) == (None, "Stream Error")
    assert caught.value.retryable
    assert answers == [
        [
            ReasoningDelta("hm"),
            ReasoningEnd(),
            TextDelta("I look."),
            ToolCallStart("call_1", "ls"),
            ToolCallArgs("call_1", '{"path": "/"}'),
            ToolCallEnd("call_1", "ls", '{"path": "/"}'),
            USAGE,
            StreamEnd("tool_use"),
        ],
        [TextDelta("Two files."), USAGE, StreamEnd("max_tokens")],
        [TextDelta("ok"), USAGE, StreamEnd("end_turn")],
    ]


@pytest.mark.promise("R11")
async def test_a_cancel_closes_the_stream(open_provider: Open) -> None:
    """In the middle of an answer that would never go on."""
    model = ScriptedModel([Say("a"), Hang()])
    with trio.fail_after(5):
        async with open_provider(model) as provider:
            with trio.CancelScope() as scope:
                async with provider.stream(ASK) as deltas:
                    async for _ in deltas:
                        assert model.open_streams == 1
                        scope.cancel()
            assert scope.cancelled_caught
            await model.wait_closed(1)
    assert (model.open_streams, model.abandoned_streams) == (0, 1)


@pytest.mark.promise("R11")
async def test_a_cancel_before_the_first_byte_closes_the_request(open_provider: Open) -> None:
    """While the provider has not even said its status."""
    never = trio.Event()
    model = ScriptedModel([WaitFor(never), Fail(status_error(500, "never"))])
    with trio.fail_after(5):
        async with open_provider(model) as provider:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(heard, provider)
                await model.wait_request(1)
                assert model.open_streams == 1
                nursery.cancel_scope.cancel()
            await model.wait_closed(1)


@pytest.mark.promise("R11")
async def test_leaving_the_block_closes_the_stream(open_provider: Open) -> None:
    """Also when nothing, or only a part, has been read."""
    model = ScriptedModel([Say("a b c"), Hang()], Hang())
    with trio.fail_after(5):
        async with open_provider(model) as provider:
            async with provider.stream(ASK) as deltas:
                assert await anext(deltas) == TextDelta("a ")
            await model.wait_closed(1)
            async with provider.stream(ASK):
                pass
            await model.wait_closed(2)
    assert (model.open_streams, model.abandoned_streams) == (0, 2)


@pytest.mark.promise("C3")
async def test_a_failure_does_not_touch_its_neighbour(open_provider: Open) -> None:
    """One stream fails and one is cancelled while a third is being read."""
    gate = trio.Event()
    model = ScriptedModel([Say("a "), WaitFor(gate), Say("b")], [Say("x"), Cut()], Hang())
    with trio.fail_after(5):
        async with open_provider(model) as provider:
            async with provider.stream(ASK) as deltas:
                said = [await anext(deltas)]
                with pytest.raises(ProviderError):
                    await heard(provider)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(heard, provider)
                    await model.wait_request(3)
                    nursery.cancel_scope.cancel()
                await model.wait_closed(2)
                gate.set()
                said += [delta async for delta in deltas]
    assert joined(said) == [TextDelta("a b"), USAGE, StreamEnd("end_turn")]


async def test_a_request_arrives_as_it_was_sent(open_provider: Open) -> None:
    """Messages, tools, options and session key, through the wire and back."""
    call = CalledTool("c1", "bash", '{"command": "ls"}')
    picture = FileContent("", "image/png", b"\x89PNG")
    request = ModelRequest(
        "some-model",
        [
            ModelMessage("system", "be good"),
            ModelMessage("user", "see", files=(picture,)),
            ModelMessage("assistant", "I look.", reasoning="hm", tool_calls=(call,)),
            ModelMessage("tool", "a\nb", tool_call_id="c1"),
        ],
        [ToolSpec("bash", "Runs.", {"type": "object"})],
        ModelOptions(max_tokens=7, temperature=0.5, reasoning_effort="low"),
        "0123456789abcdef",
    )
    model = ScriptedModel()
    with trio.fail_after(5):
        async with open_provider(model) as provider:
            await heard(provider, request)
            got = await model.wait_request(1)
    for sent, arrived in zip(request.messages, got.messages, strict=True):
        for name in ("role", "text", "reasoning", "files", "tool_calls", "tool_call_id"):
            assert getattr(arrived, name) == getattr(sent, name), name
    assert (got.model, list(got.tools), got.session_key) == (
        request.model,
        list(request.tools),
        request.session_key,
    )
    assert got.options == request.options


@pytest.mark.promise("R9")
async def test_an_ill_formed_history_is_refused_by_both(open_provider: Open) -> None:
    """As a 400 that says what is wrong."""
    call = CalledTool("c1", "bash", "{}")
    messages = [ModelMessage("user", "hi"), ModelMessage("assistant", tool_calls=(call,))]
    with trio.fail_after(5):
        async with open_provider(ScriptedModel()) as provider:
            with pytest.raises(ProviderError, match="ends with an assistant message") as caught:
                await heard(provider, ModelRequest("m", messages))
    assert (caught.value.http_status, caught.value.title) == (400, "Bad Request")


async def test_a_title_has_its_own_answer(open_provider: Open) -> None:
    """It is known by its limit of 40 tokens and by having no tools."""
    model = ScriptedModel("answer", title="A title")
    title = ModelRequest("m", ASK.messages, options=ModelOptions(max_tokens=40))
    with trio.fail_after(5):
        async with open_provider(model) as provider:
            assert (await heard(provider, title))[0] == TextDelta("A title")
            assert (await heard(provider))[0] == TextDelta("answer")
