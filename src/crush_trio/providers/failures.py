"""What a provider's failure is to the rest of the program: one place that makes ``ProviderError``.

Pure: statuses, headers and texts in, errors out. When to try again is ``retry``'s business.
"""

from __future__ import annotations

import email.utils
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast

from crush_trio.errors import ProviderError

STREAM_ERROR = "Stream Error"
"""Title of an error that the provider reports inside its stream (wire contract 6.6)."""

TRANSPORT_ERROR = "Stream transport error"
"""Title of a stream that broke or ended before its end was said (wire contract 6.6)."""

TRANSIENT_TYPES = frozenset(
    {"server_error", "internal_error", "overloaded_error", "api_error", "rate_limit_error"}
)
"""Types of error objects that may be gone at the next try (agent contract 1.19)."""

TEXT_LIMIT = 2000
"""Characters of an error's text that are kept: some gateways answer with a whole web page."""


def status_error(
    status: int, message: str, headers: Mapping[str, str] | None = None, *, now: float = 0.0
) -> ProviderError:
    """Return the error for an HTTP answer.

    Args:
        status: The HTTP status, 400 or more.
        message: What the provider said.
        headers: The answer's headers by lower-case name.
        now: Unix seconds, against which a ``retry-after`` date is held.
    """
    headers = headers or {}
    verdict = headers.get("x-should-retry", "").strip().lower()
    return ProviderError(
        message or f"the provider answered {status} and said no more",
        title=_phrase(status),
        http_status=status,
        retryable=verdict == "true" or (is_transient(status) and verdict != "false"),
        retry_after=retry_after(headers, now),
    )


def stream_error(message: str, *, retryable: bool = False) -> ProviderError:
    """Return the error for an error object inside a stream."""
    return ProviderError(message, title=STREAM_ERROR, retryable=retryable)


def transport_error(message: str) -> ProviderError:
    """Return the error for a stream that ended before its end was said. It may be tried again."""
    return ProviderError(message, title=TRANSPORT_ERROR, retryable=True)


def is_transient(status: int) -> bool:
    """Return whether a request that got this HTTP status may succeed later (agent contract 1.19)."""
    return status in {408, 409, 429} or status >= 500


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that a provider asks to wait, or None. ``now`` is unix seconds.

    Milliseconds outrank seconds, which may be a number or an HTTP date; a date that is past is 0.
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        seconds = _number(headers.get(name, ""))
        if seconds is not None:
            return seconds * scale
    try:
        date = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, date.timestamp() - now)
    except (TypeError, ValueError, OverflowError):
        return None


def message_of(body: object) -> str:
    """Return what the body of an error answer says, in any of the shapes that servers give it."""
    if isinstance(body, list) and body:
        body = cast("list[Any]", body)[0]
    if isinstance(body, Mapping):
        fields = cast("Mapping[str, Any]", body)
        for name in ("error", "message", "detail"):
            text = message_of(fields[name]) if fields.get(name) else ""
            if text:
                return text
        return ""
    return body.strip()[:TEXT_LIMIT] if isinstance(body, str) else ""


def error_in_stream(error: object) -> ProviderError:
    """Return the error for the value of an ``error`` key in a stream."""
    fields: Mapping[str, Any] = {}
    if isinstance(error, Mapping):
        fields = cast("Mapping[str, Any]", error)
    marks = (fields.get("type"), fields.get("code"))
    retryable = any(
        is_transient(mark) if isinstance(mark, int) else str(mark) in TRANSIENT_TYPES
        for mark in marks
    )
    return stream_error(
        message_of(cast("object", error)) or "the provider said no more", retryable=retryable
    )


def reason_of(error: BaseException | None) -> str:
    """Return the most telling text of an error and its causes."""
    text = ""
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            error = cast("BaseException", error.exceptions[0])
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        text = text or str(error) or type(error).__name__
        # httpcore hands the original on as an argument.
        inner: object = error.args[0] if error.args else None
        error = error.__cause__ or (inner if isinstance(inner, BaseException) else None)
    return text


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Provider Error"


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
