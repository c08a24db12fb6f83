"""Fetching the embedded model's weights: what the user sees of it."""

from __future__ import annotations

import io

from crush_trio.cli.weights import progress_bar


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_a_bar() -> None:
    """A long download must show that it goes on."""
    terminal = _Terminal()
    with progress_bar(terminal, {"TERM": "xterm"}) as progress:
        assert progress is not None
        progress(30_000_000, 60_000_000)
    assert "30.0/60.0 MB" in terminal.getvalue()


def test_a_file_sees_none() -> None:
    """Logs are not for bars."""
    file = io.StringIO()
    with progress_bar(file) as progress:
        assert progress is None
    assert file.getvalue() == ""
