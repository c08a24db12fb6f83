"""When to try a failed request again, and what the error is called when nothing helped.

Pure, so that the waiting is the agent's and counts in virtual time. Synopsis::

    for attempt in itertools.count():
        try:
            return await step()
        except ProviderError as error:
            delay = next_delay(error, attempt)
            if delay is None:
                raise final_error(error, attempt) from error
        await trio.sleep(delay)
"""

from __future__ import annotations

import copy

from crush_trio.errors import ProviderError, RetriesExhaustedError

RETRIES = 3
"""How often a request is tried again (agent contract 1.19)."""

FIRST_DELAY = 5.0
"""Seconds before the first retry; each further one waits twice as long (agent contract 1.19)."""

LONGEST_WISH = 60.0
"""Seconds; a provider's wish to wait this long or longer counts only if it shortens the delay."""


def next_delay(error: ProviderError, attempt: int) -> float | None:
    """Return the seconds to wait before the next try, or None if there is to be none.

    Args:
        error: What the last attempt failed with.
        attempt: How many retries there have been; 0 after the first failure.
    """
    if not error.retryable or attempt >= RETRIES:
        return None
    delay = FIRST_DELAY * 2.0**attempt
    wish = error.retry_after
    if wish is not None and 0 <= wish < max(LONGEST_WISH, delay):
        return wish
    return delay


def final_error(error: ProviderError, attempt: int) -> ProviderError:
    """Return the error that a step ends with after ``attempt`` retries.

    Title and message stay the provider's; only the text of the events says that it was retried
    (wire contract 6.6). Always a new error, so that it can be raised from ``error``.
    """
    return RetriesExhaustedError.of(error) if attempt else copy.copy(error)
