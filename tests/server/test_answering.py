"""How long a prompt's POST stays open: one rule for both generations of clients."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crush_trio.server.answering import (
    LONGEST_WAIT,
    Answering,
    Preferences,
    answering,
    parse_prefer,
)

GO = "Go-http-client/1.1"
PLAIN = Preferences()


# --- what is preferred ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], PLAIN),
        (["wait=5"], Preferences(wait=5)),
        (["Wait = 5"], Preferences(wait=5)),
        (['wait="5"'], Preferences(wait=5)),
        (["wait=0"], Preferences(wait=0)),
        (["respond-async"], Preferences(respond_async=True)),
        (["Respond-Async, wait=10"], Preferences(respond_async=True, wait=10)),
        (["respond-async", "wait=10, wait=20"], Preferences(respond_async=True, wait=10)),
        (["handling=lenient, wait=3"], Preferences(wait=3)),
    ],
)
def test_preferences_are_read_as_the_standard_says(
    headers: list[str], expected: Preferences
) -> None:
    """RFC 7240: tokens in any case, over several headers, the first of each kind counts."""
    assert parse_prefer(headers) == expected


@pytest.mark.promise("C4")
@pytest.mark.parametrize(
    "value", ["wait", "wait=", "wait=-1", "wait=1.5", "wait=soon", "wait=²", ",,"]
)
def test_a_preference_that_makes_no_sense_was_not_said(value: str) -> None:
    """The standard says that an unknown preference is ignored."""
    assert parse_prefer([value]) == PLAIN


@pytest.mark.promise("C4")
@pytest.mark.parametrize("digits", [6, 400, 5000])
def test_nobody_waits_longer_than_a_day(digits: int) -> None:
    """However large the number is."""
    assert parse_prefer([f"wait={'9' * digits}"]) == Preferences(wait=LONGEST_WAIT)


@given(st.lists(st.text(max_size=30), max_size=3))
def test_no_header_is_too_odd(values: list[str]) -> None:
    """Whatever is sent, there is an answer, and its arithmetic is finite."""
    prefer = parse_prefer(values)
    assert prefer.wait is None or 0 <= prefer.wait <= LONGEST_WAIT


# --- who is let go when ---------------------------------------------------------------------------


def test_who_says_nothing_gets_the_answer_when_the_run_has_settled() -> None:
    """The POST stays open however long that takes."""
    assert answering(PLAIN, has_run_id=False, user_agent="", versions=[]) == Answering(math.inf)


def test_a_caller_with_a_run_id_is_let_go_at_once() -> None:
    """It waits for ``run_complete`` itself; its 202 is empty (wire contract 8.9)."""
    how = answering(PLAIN, has_run_id=True, user_agent="", versions=[])
    assert how == Answering(0, named=False)


@pytest.mark.parametrize(
    ("versions", "is_let_go"),
    [
        ([], False),
        (["0.75.9"], False),
        (["v0.75.0-rc1"], False),
        (["v0.76.0"], True),
        (["0.90.0"], True),
        (["1.0.0"], True),
        (["devel"], True),
        (["0.70.0", "0.90.0"], True),
        (["9" * 5000 + ".0.0"], True),
    ],
)
def test_a_terminal_client_of_a_later_crush_is_let_go_at_once(
    versions: list[str], is_let_go: bool
) -> None:
    """By the versions of the clients that are there; one that cannot be read counts as later."""
    how = answering(PLAIN, has_run_id=False, user_agent=GO, versions=versions)
    assert how == (Answering(0, named=False) if is_let_go else Answering(math.inf))


def test_another_program_beside_a_terminal_client_gets_its_answer() -> None:
    """Only Go's client is taken for one of Crush's."""
    how = answering(PLAIN, has_run_id=False, user_agent="curl/8", versions=["0.90.0"])
    assert how == Answering(math.inf)


@pytest.mark.parametrize("has_run_id", [True, False])
@pytest.mark.parametrize("agent", [GO, ""])
def test_a_preference_decides_before_all_else(has_run_id: bool, agent: str) -> None:
    """A wait before ``respond-async``; the answer says which was applied, and its 202 names the run."""
    rest = {"has_run_id": has_run_id, "user_agent": agent, "versions": ["0.90.0"]}
    assert answering(Preferences(wait=5), **rest) == Answering(5, "wait=5")  # pyright: ignore[reportArgumentType]
    both = Preferences(respond_async=True, wait=5)
    assert answering(both, **rest) == Answering(5, "wait=5")  # pyright: ignore[reportArgumentType]
    at_once = Preferences(respond_async=True)
    assert answering(at_once, **rest) == Answering(0, "respond-async")  # pyright: ignore[reportArgumentType]
