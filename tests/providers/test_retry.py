"""When a request is tried again."""

from __future__ import annotations

import pytest

from crush_trio.errors import ProviderError
from crush_trio.providers.retry import final_error, next_delay


def failure(retry_after: float | None = None, *, retryable: bool = True) -> ProviderError:
    return ProviderError(
        "broken",
        title="Internal Server Error",
        http_status=500,
        retryable=retryable,
        retry_after=retry_after,
    )


def test_a_request_is_tried_again_three_times_with_growing_delays() -> None:
    """5, 10, 20 seconds, then no more (agent contract 1.19)."""
    assert [next_delay(failure(), attempt) for attempt in range(4)] == [5, 10, 20, None]


def test_a_failure_that_will_not_go_away_is_not_tried_again() -> None:
    """Whatever a header says: no retry means no retry."""
    assert next_delay(failure(1, retryable=False), 0) is None


@pytest.mark.parametrize(
    ("wish", "delay"), [(0, 0), (0.02, 0.02), (59, 59), (60, 5), (3600, 5), (-1, 5)]
)
def test_the_providers_wish_counts_when_it_is_reasonable(wish: float, delay: float) -> None:
    """Below a minute it replaces the delay; the reference does so at random, we always."""
    assert next_delay(failure(wish), 0) == delay


def test_an_error_after_retries_says_so_only_in_its_text() -> None:
    """The finish part has the provider's own title and message (wire contract 6.6)."""
    error = final_error(failure(), 3)
    assert (error.title, str(error)) == ("Internal Server Error", "broken")
    assert error.text == "retry error: internal server error: broken"
    assert error.http_status == 500


def test_an_error_without_retries_is_not_called_one() -> None:
    """It is the same in all but identity: no error may be its own cause."""
    error = failure(2)
    final = final_error(error, 0)
    assert final is not error
    assert (type(final), final.text, final.retry_after) == (ProviderError, error.text, 2)
