"""How long a prompt's POST stays open: one rule for both generations of clients (wire contract 8.9).

Pure. ``Prefer`` (RFC 7240) decides where it is given. Else a caller that sent a run id waits for
``run_complete`` itself and is let go at once, and so is a terminal client of Crush from 0.76 on,
whose queue display waits for the return. Everybody else gets the answer when the run has settled.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import attrs

FIRST_202 = (0, 76, 0)
"""The version of Crush from which on its terminal client expects 202 (wire contract 8.9)."""

LONGEST_WAIT = 86_400.0
"""A ``wait`` of more seconds than a day means this; it keeps the arithmetic finite."""

_VERSION = re.compile(r"v?(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?!\d)")


@attrs.frozen
class Answering:
    """How a POST is answered.

    Attributes:
        seconds: How long to wait for the settlement; 0 answers 202 on acceptance.
        applied: What ``Preference-Applied`` says; empty without a preference.
        named: Whether the 202 names the run; Crush's own clients get an empty one.
    """

    seconds: float
    applied: str = ""
    named: bool = True


@attrs.frozen
class Preferences:
    """What a caller asked for in ``Prefer``; what is malformed counts as not said."""

    respond_async: bool = False
    wait: float | None = None


def parse_prefer(values: Sequence[str]) -> Preferences:
    """Return the preferences of all ``Prefer`` headers of a request; the first of each kind counts."""
    tokens = [token.strip() for value in values for token in value.split(",")]
    pairs = [token.partition("=") for token in tokens]
    numbers = [value.strip(' "') for name, _, value in pairs if name.strip().lower() == "wait"]
    waits = [float(number) for number in numbers if number.isdecimal()]
    wait = min(waits[0], LONGEST_WAIT) if waits else None
    return Preferences(any(token.lower() == "respond-async" for token in tokens), wait)


def answering(
    prefer: Preferences, *, has_run_id: bool, user_agent: str, versions: Sequence[str]
) -> Answering:
    """Return how to answer a prompt.

    Args:
        prefer: What the caller asked for.
        has_run_id: Whether the caller gave a run id.
        user_agent: The request's ``User-Agent``.
        versions: What the workspace's present clients called themselves.
    """
    if prefer.wait is not None:
        return Answering(prefer.wait, f"wait={prefer.wait:.0f}")
    if prefer.respond_async:
        return Answering(0, "respond-async")
    if has_run_id:
        return Answering(0, named=False)
    if user_agent.startswith("Go-http-client/") and any(map(_is_new, versions)):
        return Answering(0, named=False)
    return Answering(math.inf)


def _is_new(version: str) -> bool:
    """Whether a version of Crush knows 202; one that cannot be read counts as later."""
    found = _VERSION.match(version)
    return found is None or tuple(map(int, found.groups())) >= FIRST_202
