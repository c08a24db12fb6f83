"""Request methods as the router may see them."""

from __future__ import annotations

UNKNOWN = b"UNKNOWN"
"""A method that no route has."""


def safe_method(method: bytes) -> bytes:
    """Return a method as it came, if its letters are upper-case, else one that no route has.

    Methods are case-sensitive (RFC 9110, 9.1). Hypercorn raises them all, so that ``head`` is a HEAD
    to the application, which sends no body, but not to h11, which then fails for want of one.
    """
    return method if method.isupper() else UNKNOWN
