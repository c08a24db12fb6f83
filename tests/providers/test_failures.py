"""What a provider's answers mean as errors."""

from __future__ import annotations

import pytest

from crush_trio.providers.failures import (
    error_in_stream,
    message_of,
    retry_after,
    status_error,
    transport_error,
)

NOON = 1_754_000_000.0  # 2025-07-31 22:13:20 GMT


@pytest.mark.parametrize(
    ("status", "message", "text"),
    [
        (401, "bad key", "unauthorized: bad key"),
        (400, "no such model", "bad request: no such model"),
        (404, "gone", "not found: gone"),
        (500, "broken", "internal server error: broken"),
        (529, "overloaded", "overloaded"),
    ],
)
def test_a_status_becomes_a_title(status: int, message: str, text: str) -> None:
    """Title and text as the reference shows them (wire contract 6.6)."""
    assert status_error(status, message).text == text


def test_an_error_without_a_message_still_says_something() -> None:
    """Nobody is shown an empty error."""
    assert "502" in str(status_error(502, ""))


@pytest.mark.parametrize(
    ("status", "retryable"),
    [(400, False), (401, False), (404, False), (408, True), (409, True), (429, True), (503, True)],
)
def test_only_some_statuses_are_worth_another_try(status: int, retryable: bool) -> None:
    """The list of agent contract 1.19."""
    assert status_error(status, "x").retryable is retryable


def test_the_provider_has_the_last_word_on_retries() -> None:
    """``x-should-retry`` outranks the status."""
    assert status_error(400, "x", {"x-should-retry": "true"}).retryable
    assert not status_error(500, "x", {"x-should-retry": "false"}).retryable


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "20", "retry-after": "9"}, 0.02),
        ({"retry-after": "Thu, 31 Jul 2025 22:13:50 GMT"}, 30),
        ({"retry-after": "Thu, 31 Jul 2025 22:13:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-4"}, None),
        ({"retry-after": "inf"}, None),
    ],
)
def test_a_wish_to_wait_is_understood(headers: dict[str, str], seconds: float | None) -> None:
    """Milliseconds, seconds or a date; nonsense is no wish."""
    assert retry_after(headers, NOON) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "no"}},
        {"message": "no"},
        {"error": "no"},
        {"detail": "no"},
        [{"error": {"message": "no"}}],
        " no\n",
    ],
)
def test_a_message_is_found_in_every_shape(body: object) -> None:
    """Servers disagree about the form of an error."""
    assert message_of(body) == "no"


@pytest.mark.parametrize("body", [None, {}, [], 7, {"error": {"message": None}}])
def test_a_body_without_a_message_has_none(body: object) -> None:
    """No shape is a crash."""
    assert message_of(body) == ""


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        ({"message": "overloaded", "type": "scripted", "code": None}, False),
        ({"message": "overloaded", "type": "server_error"}, True),
        ({"message": "overloaded", "code": "rate_limit_error"}, True),
        ({"message": "overloaded", "code": 502}, True),
        ({"message": "overloaded", "code": 400}, False),
        ("overloaded", False),
    ],
)
def test_an_error_in_the_stream_has_its_own_title(error: object, retryable: bool) -> None:
    """Some types of it may be gone at the next try (agent contract 1.19)."""
    failure = error_in_stream(error)
    assert (failure.title, failure.text) == ("Stream Error", "stream error: overloaded")
    assert failure.retryable is retryable


def test_a_broken_stream_may_be_tried_again() -> None:
    """A stream without its end is a transport error (wire contract 6.6)."""
    error = transport_error("cut")
    assert (error.title, error.retryable) == ("Stream transport error", True)
