"""The scripted model does what its script says, in virtual time."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from crush_trio.errors import ProviderError
from crush_trio.providers.base import (
    Delta,
    ModelMessage,
    ModelOptions,
    ModelRequest,
    StreamEnd,
    TextDelta,
    ToolCallStart,
    ToolSpec,
    Usage,
)
from crush_trio.providers.scripted import (
    Call,
    Fail,
    Hang,
    Pause,
    Report,
    Say,
    ScriptedModel,
    Think,
    WaitFor,
)

ASK = ModelRequest("m", [ModelMessage("user", "hi")])


async def heard(model: ScriptedModel, request: ModelRequest = ASK) -> list[Delta]:
    with trio.fail_after(3600):
        async with model.stream(request) as deltas:
            return [delta async for delta in deltas]


async def said(model: ScriptedModel, request: ModelRequest = ASK) -> str:
    return "".join(d.text for d in await heard(model, request) if isinstance(d, TextDelta))


async def test_each_request_gets_the_next_answer() -> None:
    """And ``ok`` when the script is used up; more can be added at any time."""
    model = ScriptedModel("one", Say("two"))
    assert [await said(model) for _ in range(3)] == ["one", "two", "ok"]
    model.then([Say("three"), Say(" times")])
    assert [await said(model) for _ in range(2)] == ["three times", "ok"]
    assert len(model.requests) == 5


async def test_an_answer_can_depend_on_the_request() -> None:
    """What the function leaves open, the script answers."""

    def respond(request: ModelRequest) -> str | None:
        return "tools!" if request.tools else None

    model = ScriptedModel("script", respond=respond)
    with_tools = ModelRequest("m", ASK.messages, [ToolSpec("ls", "", {})])
    assert [await said(model, with_tools), await said(model)] == ["tools!", "script"]


async def test_a_title_takes_nothing_from_the_script() -> None:
    """Titles are made beside the turn, so a script must not depend on when."""
    model = ScriptedModel("answer", title="A title")
    title = ModelRequest("m", ASK.messages, options=ModelOptions(max_tokens=40))
    assert [await said(model, title), await said(model)] == ["A title", "answer"]
    assert (len(model.requests), len(model.title_requests)) == (1, 1)


async def test_pauses_take_their_time(autojump_clock: trio.testing.MockClock) -> None:
    """Between operations and between pieces; the clock is the only thing that moves."""
    model = ScriptedModel([Pause(60), Say("abcdef", chunk=2, pause=10), Think("a b", pause=5)])
    times: list[float] = []
    with trio.fail_after(100):
        async with model.stream(ASK) as deltas:
            start = trio.current_time()
            async for delta in deltas:
                times.append(trio.current_time() - start)
                if isinstance(delta, StreamEnd):
                    break
    assert times[:5] == [60, 70, 80, 80, 85]


async def test_calls_are_numbered_over_all_answers() -> None:
    """So that no two calls of a session have the same id (R9)."""
    model = ScriptedModel([Call("a"), Call("b", id="mine")], Call("c"))
    starts = [
        delta
        for answer in (await heard(model), await heard(model))
        for delta in answer
        if isinstance(delta, ToolCallStart)
    ]
    assert [(start.id, start.name) for start in starts] == [
        ("call_1", "a"),
        ("mine", "b"),
        ("call_2", "c"),
    ]


async def test_the_usage_is_what_the_script_reports() -> None:
    """Something by default, nothing if it says so."""
    model = ScriptedModel("a", [Say("b"), Report(Usage(input=7))], [Say("c"), Report(None)])
    reports = [[d for d in await heard(model) if isinstance(d, Usage)] for _ in range(3)]
    assert reports == [[Usage(input=100, output=10)], [Usage(input=7)], []]


async def test_a_gate_holds_an_answer(autojump_clock: trio.testing.MockClock) -> None:
    """The text before it has been heard, the text behind it has not, until it is opened."""
    gate = trio.Event()
    model = ScriptedModel([Say("before "), WaitFor(gate), Say("behind")])
    got: list[Delta] = []

    async def listen() -> None:
        async with model.stream(ASK) as deltas:
            async for delta in deltas:
                got.append(delta)  # noqa: PERF401 -- each must be seen when it comes

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await model.wait_request(1)
            await trio.testing.wait_all_tasks_blocked()
            assert got == [TextDelta("before ")]
            gate.set()
    assert got[:2] == [TextDelta("before "), TextDelta("behind")]


async def test_a_stream_counts_as_open_until_it_is_left(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """However it is left; one that was left before its end is told apart."""
    model = ScriptedModel([Say("a"), Hang()], "b")
    with trio.move_on_after(1) as scope:
        async with model.stream(ASK) as deltas:
            async for _ in deltas:
                assert (model.open_streams, model.closed_streams) == (1, 0)
    assert scope.cancelled_caught
    assert (model.open_streams, model.closed_streams, model.abandoned_streams) == (0, 1, 1)
    await said(model)
    with trio.fail_after(5):
        await model.wait_closed(2)
    assert (model.open_streams, model.closed_streams, model.abandoned_streams) == (0, 2, 1)


async def test_a_failure_is_raised_as_it_was_written() -> None:
    """The same error may stand in a script for every retry."""
    error = ProviderError("slow down", title="Too Many Requests", http_status=429, retry_after=3)
    model = ScriptedModel(Fail(error), [Say("a"), Fail(error)])
    for _ in range(2):
        with pytest.raises(ProviderError, match="slow down") as caught:
            await heard(model)
        assert caught.value is not error
        assert (caught.value.http_status, caught.value.retry_after) == (429, 3)


@pytest.mark.promise("R9")
async def test_an_ill_formed_history_is_refused() -> None:
    """Like a strict provider does, so that no test passes over a history that is unusable."""
    model = ScriptedModel("never", "fine")
    with pytest.raises(ProviderError, match="ends with an assistant message") as caught:
        await heard(model, ModelRequest("m", [*ASK.messages, ModelMessage("assistant", "hi")]))
    assert (caught.value.http_status, caught.value.retryable) == (400, False)
    assert await said(model) == "fine"


async def test_a_request_is_remembered_as_it_was() -> None:
    """A caller goes on with its own list."""
    messages = [ModelMessage("user", "hi")]
    model = ScriptedModel()
    await said(model, ModelRequest("m", messages))
    messages.append(ModelMessage("assistant", "hello"))
    request = await model.wait_request(1)
    assert [message.text for message in request.messages] == ["hi"]
