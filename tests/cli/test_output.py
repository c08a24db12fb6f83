"""What a run prints, byte for byte."""

from __future__ import annotations

import io
import os
from collections.abc import Generator
from pathlib import Path

import attrs
import pytest
import trio

from crush_trio.cli.output import Output, printable


@attrs.define
class Printed:
    """An output, and what it has printed."""

    output: Output
    path: Path
    err: io.StringIO

    @property
    def out(self) -> str:
        return self.path.read_text()


@pytest.fixture
def printed(tmp_path: Path) -> Generator[Printed]:
    """An output into a file."""
    err = io.StringIO()
    with (tmp_path / "out").open("wb") as file:
        yield Printed(Output(out=file.fileno(), err=err, progress=True), tmp_path / "out", err)


async def test_growing_snapshots_print_each_text_once(printed: Printed) -> None:
    """Snapshots repeat what was said; the terminal must not."""
    for text in ["", "  Hel", "  Hello", "  Hello", "  Hello\nworld"]:
        printed.output.show("m1", text)
        await printed.output.flush()
    printed.output.end_line()
    await printed.output.flush()
    assert (printed.out, printed.err.getvalue()) == ("Hello\nworld\n", "")


async def test_each_message_begins_on_its_own_line(printed: Printed) -> None:
    """A turn with tool calls has several messages."""
    printed.output.show("m1", "Let me look.", final=True)
    printed.output.show("m2", "\n\nIt is there.", final=True)
    await printed.output.flush()
    assert printed.out == "Let me look.\nIt is there."


async def test_a_withdrawn_text_is_printed_anew(printed: Printed) -> None:
    """After a retry the answer may be another one; what was printed cannot be taken back."""
    for text in ["Let me thi", "", "No", "Now then"]:
        printed.output.show("m1", text)
    printed.output.show("m1", "Now then", final=True)
    await printed.output.flush()
    assert printed.out == "Let me thi\nNow then"
    assert "starts over" in printed.err.getvalue()


async def test_a_late_snapshot_prints_nothing(printed: Printed) -> None:
    """After a reconnect the stream may bring an older state than what was read."""
    for text in ["Hello world", "Hello", "Hello w", "Hello world"]:
        printed.output.show("m1", text)
    await printed.output.flush()
    assert (printed.out, printed.err.getvalue()) == ("Hello world", "")


async def test_notes_leave_redirected_text_alone(printed: Printed) -> None:
    """Who redirects stdout wants the answer there and nothing else."""
    printed.output.show("m1", "one ")
    printed.output.note("look")
    printed.output.progress("working")
    printed.output.show("m1", "one two")
    await printed.output.flush()
    assert printed.out == "one two"
    assert "look\n" in printed.err.getvalue()


async def test_json_keeps_the_answer_off_stdout(tmp_path: Path) -> None:
    """With --json there is one object on stdout."""
    with (tmp_path / "out").open("wb") as file:
        output = Output(silent=True, out=file.fileno(), err=io.StringIO())
        output.show("m1", "text")
        output.print_line("{}")
        await output.flush()
    assert (tmp_path / "out").read_text() == "{}\n"


async def test_a_reader_that_stops_reading_stops_only_the_flush() -> None:
    """A full pipe must not block the program: Ctrl-C still has to work."""
    reading, writing = os.pipe()
    output = Output(out=writing, err=io.StringIO())
    output.show("m1", "x" * 2**20)
    with trio.fail_after(5):
        with trio.move_on_after(0.05) as waiting:
            await output.flush()
        assert waiting.cancelled_caught
        os.close(reading)
        with pytest.raises(BrokenPipeError):
            await output.flush()
    os.close(writing)


def test_what_would_steer_a_terminal_is_spelled_out() -> None:
    """A model may be made to write escape sequences."""
    assert printable("a\x1b]52;c;x\x07\tb\n") == "a\\x1b]52;c;x\\x07\tb\n"
