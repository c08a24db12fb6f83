"""The embedded model: real weights in a real process, and what becomes of that process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from crush_trio.errors import LocalModelError, ProviderError
from crush_trio.providers.base import (
    ModelMessage,
    ModelOptions,
    ModelRequest,
    StreamEnd,
    TextDelta,
    Usage,
)
from crush_trio.providers.local import LOCAL_SLOTS, LocalModel, open_local_model
from crush_trio.providers.local_process import ChildQuestion, open_child
from crush_trio.providers.local_weights import pull_weights
from limits_kit import PROCESS_LIMIT
from tools_kit import wait_gone

ENDLESS = ModelOptions(max_tokens=2000, extra_body={"ignore_eos": True})
SHORT = ModelOptions(max_tokens=8)


@pytest.fixture
async def weights() -> Path:
    """The real file, from the user's cache; fetched if this machine has never had it."""
    with trio.fail_after(600):
        return await pull_weights()


def ask(*texts: str, options: ModelOptions = SHORT) -> ModelRequest:
    """A request whose texts are the user's and the model's in turn."""
    roles = ("user", "assistant") * len(texts)
    messages = [ModelMessage(role, text) for role, text in zip(roles, texts, strict=False)]
    return ModelRequest("any", messages, options=options)


async def answer(model: LocalModel, request: ModelRequest) -> str:
    """Return a complete answer's text."""
    async with model.stream(request) as deltas:
        got = [delta async for delta in deltas]
    assert isinstance(got[-1], StreamEnd)
    assert any(isinstance(delta, Usage) for delta in got)
    return "".join(delta.text for delta in got if isinstance(delta, TextDelta))


async def answer_at_last(model: LocalModel, request: ModelRequest) -> str:
    """Return an answer, trying again as an agent does: a death is known a moment after it."""
    while True:
        try:
            return await answer(model, request)
        except ProviderError as error:
            if not error.retryable:
                raise


def is_alive(pid: int) -> bool:
    """Whether a process is there; one that is dead and not yet reaped is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# --- answering -------------------------------------------------------------------------


COUNTING = """
import os

with open(os.environ["TEST_STARTS"], "a") as starts:
    starts.write(f"{os.getpid()}\\n")
"""


@pytest.mark.promise("W5")
async def test_concurrent_first_requests_share_one_process_that_ends_with_its_owner(
    weights: Path, tmp_path: Path
) -> None:
    """The process starts once, with the first use, and is gone when the owner has closed."""
    answers: list[str] = []
    pids: set[int | None] = set()
    (tmp_path / "sitecustomize.py").write_text(COUNTING)  # every Python runs it as it starts
    starts = tmp_path / "starts"
    environ = shadowed(tmp_path) | {"TEST_STARTS": str(starts)}

    with trio.fail_after(PROCESS_LIMIT):
        async with open_local_model(weights=weights, environ=environ) as model:

            async def use() -> None:
                answers.append(await answer(model, ask("What is the capital of France?")))
                pids.add(model.pid)

            assert model.pid is None
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(use)

    assert len(answers) == 3
    assert all(answers)
    (pid,) = pids
    assert pid is not None
    assert starts.read_text() == f"{pid}\n"
    assert not is_alive(pid)


@pytest.mark.promise("R11")
async def test_a_cancelled_answer_is_not_generated_any_further(weights: Path) -> None:
    """Leaving a stream frees its slot: with all of them taken nobody else would get an answer."""
    with trio.fail_after(PROCESS_LIMIT):
        async with open_local_model(weights=weights) as model:
            async with trio.open_nursery() as nursery:
                begun = [trio.Event() for _ in range(LOCAL_SLOTS)]

                async def stream(first: trio.Event) -> None:
                    async with model.stream(ask("Tell me a story.", options=ENDLESS)) as deltas:
                        async for _ in deltas:
                            first.set()

                for event in begun:
                    nursery.start_soon(stream, event)
                for event in begun:
                    await event.wait()
                nursery.cancel_scope.cancel()

            with trio.fail_after(60):  # where this takes so long, the other answers take an hour
                assert await answer(model, ask("Hello!"))


async def test_history_that_is_too_long_after_all_is_left_out(weights: Path) -> None:
    """Digits take a token each, more than the estimate; the prompt is answered all the same."""
    digits = "1234567890" * 700

    with trio.fail_after(PROCESS_LIMIT):
        async with open_local_model(weights=weights) as model:
            assert await answer(model, ask(digits, "Many digits.", "Hello!"))
            with pytest.raises(ProviderError, match="exceeds the available context size"):
                await answer(model, ask(digits))


# --- ends ----------------------------------------------------------------------------------


@pytest.mark.promise("C3")
async def test_a_process_that_died_is_replaced_at_the_next_use(weights: Path) -> None:
    """The request under way fails and may be tried again; the next one meets a new process."""
    with trio.fail_after(PROCESS_LIMIT):
        async with open_local_model(weights=weights) as model:
            killed: list[int] = []

            async def stream() -> None:
                async with model.stream(ask("Tell me a story.", options=ENDLESS)) as deltas:
                    assert model.pid is not None
                    killed.append(model.pid)
                    await anext(deltas)
                    os.kill(killed[0], signal.SIGKILL)
                    await wait_gone(killed[0])
                    async for _ in deltas:
                        pass

            with pytest.raises(ProviderError) as caught:
                await stream()
            assert caught.value.retryable

            assert await answer_at_last(model, ask("Hello!"))
            assert model.pid not in {None, *killed}


@pytest.mark.promise("W5")
async def test_a_process_that_does_not_end_is_killed(weights: Path) -> None:
    """A stopped process does not see SIGTERM; it gets SIGKILL after the grace."""
    with trio.fail_after(PROCESS_LIMIT):
        async with open_local_model(weights=weights) as model:
            await answer(model, ask("Hello!"))
            assert model.pid is not None
            pid = model.pid
            os.kill(pid, signal.SIGSTOP)
            # Otherwise SIGTERM may overtake it.
            await trio.to_thread.run_sync(os.waitid, os.P_PID, pid, os.WSTOPPED)
    assert not is_alive(pid)


OWNER = """
import sys
from pathlib import Path

import trio

from crush_trio.providers.base import ModelMessage, ModelRequest
from crush_trio.providers.local import open_local_model


async def main():
    async with open_local_model(weights=Path(sys.argv[1])) as model:
        async with model.stream(ModelRequest("", [ModelMessage("user", "Hello!")])) as deltas:
            async for _ in deltas:
                print(model.pid, flush=True)
                await trio.sleep_forever()


trio.run(main)
"""


async def test_the_process_ends_when_its_owner_is_killed(weights: Path) -> None:
    """No signal reaches it after a kill -9, and its owner closes nothing; its pipe ends."""
    with trio.fail_after(PROCESS_LIMIT):
        owner = await trio.lowlevel.open_process(
            [sys.executable, "-P", "-c", OWNER, str(weights)], stdout=subprocess.PIPE
        )
        try:
            assert owner.stdout is not None
            async with owner.stdout:
                pid = int(await owner.stdout.receive_some())
                assert is_alive(pid)
                owner.kill()
                await owner.wait()
                await wait_gone(pid)
        finally:
            with trio.move_on_after(5, shield=True):
                owner.kill()
                await owner.wait()


async def test_a_closed_model_says_so(weights: Path) -> None:
    """It starts nothing any more."""
    async with open_local_model(weights=weights) as model:
        pass

    with pytest.raises(LocalModelError, match="closed"):
        await answer(model, ask("Hello!"))


# --- secrets ---------------------------------------------------------------------------------


@pytest.mark.promise("A2")
async def test_the_key_is_asked_for_and_stands_where_nobody_can_read_it(weights: Path) -> None:
    """Arguments and environments are open to others; the process has a session of its own, too."""
    with trio.fail_after(PROCESS_LIMIT):
        async with open_child(ChildQuestion(weights, "tiny", 256, 1)) as child:
            assert child.key.encode() not in readable_by_others(child.pid)
            assert child.key not in repr(child)
            assert os.getsid(child.pid) == child.pid
            assert await _status(child.address, "/v1/models", "wrong") == 401
            assert await _status(child.address, "/v1/chat/completions", "wrong") == 401
            assert await _status(child.address, "/v1/models", child.key) == 200


def readable_by_others(pid: int) -> bytes:
    """Return a process's arguments and environment."""
    process = Path(f"/proc/{pid}")
    return (process / "cmdline").read_bytes() + (process / "environ").read_bytes()


async def _status(address: str, path: str, key: str) -> int:
    host, _, port = address.removeprefix("http://").partition(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\r\n"
        await stream.send_all(head.encode())
        return int((await stream.receive_some()).split()[1])


# --- starts that fail ----------------------------------------------------------------------


async def test_a_failed_start_is_an_error_and_the_next_use_tries_again(
    weights: Path, tmp_path: Path
) -> None:
    """All who wait get the error, with what the process said; a file that has come since serves."""
    path = tmp_path / "model.gguf"
    errors: list[str] = []

    with trio.fail_after(PROCESS_LIMIT):
        async with open_local_model(weights=path) as model:

            async def fail() -> None:
                with pytest.raises(LocalModelError) as caught:
                    await answer(model, ask("Hello!"))
                errors.append(str(caught.value))

            await fail()
            path.write_bytes(b"no model at all")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
                nursery.start_soon(fail)
            path.unlink()
            path.symlink_to(weights)
            assert await answer(model, ask("Hello!"))

    missing, damaged, same = errors
    assert missing == f"the embedded model is not at {str(path)!r}: run `crush-trio models pull`"
    assert damaged == same
    assert f"remove {str(path)!r} and run `crush-trio models pull`" in damaged
    assert "failed to load model" in damaged


async def test_a_missing_library_is_an_error_that_says_how_to_get_it(tmp_path: Path) -> None:
    """It is an extra that not everybody has installed."""
    (tmp_path / "xllamacpp.py").write_text("raise ModuleNotFoundError(name='xllamacpp')")
    weights = tmp_path / "model.gguf"
    weights.touch()

    with trio.fail_after(PROCESS_LIMIT):
        async with open_local_model(weights=weights, environ=shadowed(tmp_path)) as model:
            with pytest.raises(LocalModelError, match=r"pip install 'crush-trio\[local\]'"):
                await answer(model, ask("Hello!"))


HANGING = """
import os
import socket


class CommonParams:
    def __init__(self):
        self.model = self.cpuparams = self.cpuparams_batch = type("Params", (), {})()


def Server(params):
    socket.create_connection(("127.0.0.1", int(os.environ["TEST_PORT"]))).recv(1)
"""


@pytest.mark.promise("W5")
async def test_an_owner_that_closes_during_the_start_takes_the_process_with_it(
    tmp_path: Path,
) -> None:
    """Whoever waits is told, and the process, which shows itself by a connection, is gone."""
    (tmp_path / "xllamacpp.py").write_text(HANGING)
    weights = tmp_path / "model.gguf"
    weights.touch()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    environ = shadowed(tmp_path) | {"TEST_PORT": str(listener.socket.getsockname()[1])}

    owning = trio.CancelScope()

    async def wait_in_vain(model: LocalModel) -> None:
        with pytest.raises(LocalModelError, match="closed"):
            await answer(model, ask("Hello!"))

    with trio.fail_after(PROCESS_LIMIT):
        async with listener, trio.open_nursery() as nursery:

            async def own() -> None:
                with owning:
                    async with open_local_model(weights=weights, environ=environ) as model:
                        nursery.start_soon(wait_in_vain, model)
                        await trio.sleep_forever()

            nursery.start_soon(own)
            async with await listener.accept() as stream:
                owning.cancel()
                assert await stream.receive_some() == b""


def shadowed(directory: Path) -> dict[str, str]:
    """Our environment, in which modules of ``directory`` come first."""
    path = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(directory), path]))}
