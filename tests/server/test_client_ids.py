"""Client ids: what counts as one, and what is said of what does not."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crush_trio.errors import BadRequestError
from crush_trio.server.client_ids import body_client, query_client

PLAIN = "0b9c2a3e-1f4d-4c5b-8a7e-6d5c4b3a2f10"


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.upper(),
        PLAIN.replace("-", ""),
        f"{{{PLAIN}}}",
        f"urn:uuid:{PLAIN}",
        f"URN:UUID:{PLAIN}",
    ],
)
def test_every_form_that_crush_takes_is_an_id(text: str) -> None:
    """As it came: two spellings are two clients (wire contract 2.4)."""
    assert body_client(text) == text
    assert query_client(text) == text


@pytest.mark.promise("C4")
@pytest.mark.parametrize(
    ("text", "in_body", "in_query"),
    [
        ("", "invalid client_id", "client_id is required"),
        ("abc", "invalid client_id: invalid UUID length: 3", "client_id is not a valid UUID"),
        ("é", "invalid client_id: invalid UUID length: 2", "client_id is not a valid UUID"),
        ("x" * 36, "invalid client_id: invalid UUID format", "client_id is not a valid UUID"),
        (
            PLAIN[:-1] + "\n",
            "invalid client_id: invalid UUID format",
            "client_id is not a valid UUID",
        ),
        (f"({PLAIN})", "invalid client_id: invalid UUID format", "client_id is not a valid UUID"),
    ],
)
def test_what_is_no_id_is_refused_with_the_field(text: str, in_body: str, in_query: str) -> None:
    """The texts are the wire contract's, which differ between a body and a query."""
    with pytest.raises(BadRequestError) as body:
        body_client(text)
    with pytest.raises(BadRequestError) as query:
        query_client(text)
    assert (str(body.value), str(query.value)) == (in_body, in_query)


@pytest.mark.promise("C4")
@given(st.text(max_size=50))
def test_no_text_is_too_odd(text: str) -> None:
    """It is an id or a 400, never anything else."""
    with suppress(BadRequestError):
        assert body_client(text) == text
