"""Telling event streams from other responses."""

from __future__ import annotations

from collections.abc import Iterable


def is_event_stream(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether these headers of a response announce an event stream."""
    return any(
        name.lower() == b"content-type" and value.lower().startswith(b"text/event-stream")
        for name, value in headers
    )
