"""The texts that are made of output, and the memory that it may take."""

from __future__ import annotations

import pytest

from crush_trio.tools.capture import Capture, Captured
from crush_trio.tools.output import MAX_COLUMNS, compose, shorten, with_place

HALF = MAX_COLUMNS // 2


@pytest.mark.parametrize(
    ("stdout", "stderr", "status", "text"),
    [
        ("", "", 0, ""),
        ("out\n", "", 0, "out\n"),
        ("", "err\n", 0, "\nerr\n"),
        ("out\n", "err\n", 3, "out\n\n\nerr\n\nExit code 3"),
        ("out\n", "", 3, "out\n\nExit code 3"),
        ("", "", 3, "\nExit code 3"),
        ("out", "", None, "out\n\nCommand was aborted before completion"),
    ],
)
def test_output_is_composed_by_the_rules(
    stdout: str, stderr: str, status: int | None, text: str
) -> None:
    """Agent contract 2.4, letter for letter."""
    assert compose(stdout, stderr, status=status) == text


def test_a_result_says_where_it_was_made_unless_it_is_empty() -> None:
    """Clients recognise the text for silence."""
    assert with_place("out", "/p") == "out\n\n<cwd>/p</cwd>"
    assert with_place("", "/p") == "no output"


@pytest.mark.parametrize("text", ["", "x" * MAX_COLUMNS, "世" * HALF, "x" * MAX_COLUMNS + "\n"])
def test_output_that_fits_is_left_alone(text: str) -> None:
    """Up to 30,000 columns; a wide character has two, a line end none."""
    assert shorten(Captured(text)) == text


def test_long_output_loses_its_middle() -> None:
    """The beginning and the end stay, and the lines between them are counted."""
    text = "a" * HALF + "b\n" * 5 + "b" + "c" * HALF
    expected = f"{'a' * HALF}\n\n... [6 lines truncated] ...\n\n{'c' * HALF}"
    assert shorten(Captured(text)) == expected
    wide = shorten(Captured("世" * MAX_COLUMNS))
    assert wide == f"{'世' * (HALF // 2)}\n\n... [1 lines truncated] ...\n\n{'世' * (HALF // 2)}"


def test_lines_that_were_never_kept_are_counted_too() -> None:
    """What the capture threw away is a part of the middle."""
    captured = Captured("a" * HALF + "b\n", "b\nb" + "c" * HALF, lost_lines=40)
    assert "... [43 lines truncated] ..." in shorten(captured)


@pytest.mark.parametrize("size", [1, 7, 64, 100, 1000])
def test_a_capture_keeps_both_ends_whatever_the_chunks(size: int) -> None:
    """Nothing is lost before it must be, and every line end is counted somewhere."""
    written = b"".join(b"%d\n" % number for number in range(100))
    capture = Capture(keep=64)
    for at in range(0, len(written), size):
        capture.add(written[at : at + size])
    captured = capture.text()
    assert written.decode().startswith(captured.head)
    assert written.decode().endswith(captured.tail)
    assert len(captured.head) == 64
    assert 64 <= len(captured.tail) <= 128
    assert captured.lost_lines is not None
    assert captured.head.count("\n") + captured.tail.count("\n") + captured.lost_lines == 100


def test_a_capture_that_lost_nothing_says_so() -> None:
    """What fits into both ends together is one text; what is no UTF-8 is replaced."""
    capture = Capture(keep=4)
    capture.add("aé".encode())
    capture.add(b"\xffbcd")
    assert capture.text() == Captured("aé\ufffdbcd")
