"""What the environment says."""

from __future__ import annotations

import logging

import pytest

from crush_trio.config.environment import go_bool, own_view, with_table


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_words_that_go_reads_as_true_are_true(text: str) -> None:
    """The six spellings of Go's ParseBool count."""
    assert go_bool(text)


@pytest.mark.parametrize(
    "text", ["", "0", "f", "F", "FALSE", "false", "False", "yes", "tRUE", " 1"]
)
def test_all_other_words_are_false(text: str) -> None:
    """What Go reads as false or not at all is false."""
    assert not go_bool(text)


def test_the_env_table_is_set_in_alphabetical_order(caplog: pytest.LogCaptureFixture) -> None:
    """A value may use a name that sorts before it; one that fails is left out with a warning."""
    table = {"B": "${A}b", "A": "${HOME}/a", "C": "$(false)", "HOME2": "$Z", "Z": "z"}
    with caplog.at_level(logging.WARNING):
        env = with_table({"HOME": "/h"}, table)
    assert env == {"HOME": "/h", "A": "/h/a", "B": "/h/ab", "HOME2": "", "Z": "z"}
    assert ["env C is not set" in text for text in caplog.messages] == [True]


def test_prefixed_variables_win_in_the_programs_own_view() -> None:
    """CRUSH_X is also X; the environment for others stays as it is."""
    env = {"KEY": "outer", "CRUSH_KEY": "own", "CRUSH_": "x"}
    assert own_view(env) == {"KEY": "own", "CRUSH_KEY": "own", "CRUSH_": "x"}
    assert env["KEY"] == "outer"
