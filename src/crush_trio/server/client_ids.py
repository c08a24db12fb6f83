"""Client ids in requests: what counts as a UUID, and what is said of what does not (wire contract 2.4).

Ids are checked and then compared as they came: two spellings of one UUID are two clients.
"""

from __future__ import annotations

import re

from crush_trio.errors import BadRequestError
from crush_trio.ids import ClientID

_DASHED = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_FORMS = {
    36: re.compile(_DASHED),
    32: re.compile(r"[0-9a-fA-F]{32}"),
    38: re.compile(rf"\{{{_DASHED}\}}"),
    45: re.compile(rf"[uU][rR][nN]:[uU][uU][iI][dD]:{_DASHED}"),
}
"""The forms that Go's ``uuid.Parse`` takes, by length."""


def body_client(text: str) -> ClientID:
    """Return the client id of a body or a path.

    Raises:
        BadRequestError: it is missing or no UUID.
    """
    if not text:
        raise BadRequestError("invalid client_id")
    form = _FORMS.get(len(text.encode()))
    if form is None:
        raise BadRequestError(f"invalid client_id: invalid UUID length: {len(text.encode())}")
    if form.fullmatch(text) is None:
        raise BadRequestError("invalid client_id: invalid UUID format")
    return ClientID(text)


def query_client(text: str) -> ClientID:
    """Return the client id of a query parameter.

    Raises:
        BadRequestError: it is missing or no UUID.
    """
    if not text:
        raise BadRequestError("client_id is required")
    try:
        return body_client(text)
    except BadRequestError:
        raise BadRequestError("client_id is not a valid UUID") from None
