"""Request bodies, read as Go's decoder reads them (wire contract 2.1), with better messages (C4)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from crush_trio.errors import BadRequestError
from crush_trio.server.body import decode_body
from crush_trio.wire.runs import AgentMessage, Attachment
from serving_kit import serving


class Value(msgspec.Struct, frozen=True):
    key: str = ""
    value: Any = "none given"
    table: dict[str, Attachment] = {}


class Outer(msgspec.Struct, frozen=True):
    inner: Value = Value()
    name: str = ""


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{}", AgentMessage()),
        (b"null", AgentMessage()),
        (b" \n null \n", AgentMessage()),
        (b'{"prompt":"a","unknown":[1,{"x":null}]}', AgentMessage(prompt="a")),
        (b'{"prompt":"a","prompt":"b"}', AgentMessage(prompt="b")),
        (b'{"prompt":"a"}{"prompt":"b"}', AgentMessage(prompt="a")),
        (b'{"prompt":"a"} trailing', AgentMessage(prompt="a")),
        (b'{"prompt":"\xc3\xa9"}\xff', AgentMessage(prompt="é")),
        (b'{"prompt":"\xff"}', AgentMessage(prompt="\ufffd")),
        (rb'{"prompt":"a\ud800"}', AgentMessage(prompt="a\ufffd")),
        (rb'{"prompt":"\udc00\ud83d"}', AgentMessage(prompt="\ufffd\ufffd")),
        (rb'{"prompt":"\ud83d\ude00\ud83d"}', AgentMessage(prompt="\U0001f600\ufffd")),
        (rb'{"prompt":"\\ud800 \"\ud800"}', AgentMessage(prompt=r"\ud800" + ' "\ufffd')),
        (b"null{", AgentMessage()),
        (b'{"prompt":null,"session_id":"s"}', AgentMessage(session_id="s")),
        (b'{"prompt":null,"prompt":"b"}', AgentMessage(prompt="b")),
        (b'{"attachments":null}', AgentMessage(attachments=None)),
        (b'{"interactive":null,"run_id":null}', AgentMessage(interactive=None)),
        (
            b'{"attachments":[{"content":"aGk=","file_name":null},{"content":null}]}',
            AgentMessage(attachments=(Attachment(content=b"hi"), Attachment())),
        ),
    ],
)
def test_bodies_are_read_as_go_reads_them(body: bytes, expected: AgentMessage) -> None:
    """Unknown fields, nulls, doubles, half characters and what follows do no harm."""
    assert decode_body(body, AgentMessage) == expected


def test_null_objects_are_empty_objects() -> None:
    """Go makes empty structs of them."""
    assert decode_body(b'{"inner":null}', Outer) == Outer()
    assert decode_body(b'{"inner":{"key":null},"name":null}', Outer) == Outer()


def test_null_is_kept_where_it_is_a_value() -> None:
    """Anything includes null, also beside a field that has no use for it."""
    assert decode_body(b'{"key":null,"value":null}', Value) == Value("", None)
    assert decode_body(b'{"key":"k","value":{"a":null}}', Value).value == {"a": None}
    table = decode_body(b'{"key":null,"table":{"a":{"file_name":null},"b":null}}', Value).table
    assert table == {"a": Attachment(), "b": Attachment()}


@pytest.mark.promise("C4")
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "body: it is empty"),
        (b"  ", "body: it is empty"),
        (b'{"prompt":', "body: it is not JSON: "),
        (b"{'prompt':1}", "body: it is not JSON: "),
        (b"nul", "body: it is not JSON: "),
        (b"\xff\xfe", "body: it is not JSON: "),
        (b'{"prompt":NaN}', "body: it is not JSON: "),
        (b'{"a":' * 100_000, "body: it is nested too deeply"),
        (b'{"prompt":' + b"[" * 100_000 + b"]" * 100_000, "prompt: expected str, got array"),
        (b"[]", "body: expected object, got array"),
        (b'"text"', "body: expected object, got str"),
        (b'{"prompt":1}', "prompt: expected str, got int"),
        (b'{"prompt":1}{', "prompt: expected str, got int"),
        (b'{"local_model":"yes"}', "local_model: expected bool, got str"),
        (b'{"prompt":null,"run_id":3}', "run_id: expected str, got int"),
        (b'{"attachments":{}}', "attachments: expected array | null, got object"),
        (b'{"attachments":[{"content":"?"}]}', "attachments[0].content: invalid base64"),
        (b'{"attachments":[{"content":"aGk"}]}', "attachments[0].content: invalid base64"),
        (b'{"attachments":[{},{"content":7}]}', "attachments[1].content: expected bytes, got int"),
        (b'{"attachments":[null]}', "attachments[0]: expected object, got null"),
        (b'{"attachments":[{"content":null},null]}', "attachments[1]: expected object, got null"),
    ],
    ids=range(21),
)
def test_a_bad_body_is_refused_by_name(body: bytes, message: str) -> None:
    """The message says which field, and what is wrong with it."""
    with pytest.raises(BadRequestError) as caught:
        decode_body(body, AgentMessage)
    assert caught.value.status == 400
    assert str(caught.value).startswith(f"failed to decode request: {message}")


async def test_the_content_type_is_not_looked_at() -> None:
    """Crush's client labels one of its bodies as text."""
    async with serving() as server:
        for label in ("text/plain", "application/x-www-form-urlencoded", "nonsense"):
            reply = await server.request(
                "PUT", "/v1/note", body=b'{"text":"a"}', headers=(("Content-Type", label),)
            )
            assert reply.json == {"text": "a"}


@pytest.mark.promise("C4")
async def test_a_bad_body_is_answered_with_400() -> None:
    """And changes nothing about the connection."""
    async with serving() as server:
        reply = await server.request("PUT", "/v1/note", body=b'{"text":[]}')
        assert reply.status == 400
        assert (
            reply.body == b'{"message":"failed to decode request: text: expected str, got array"}\n'
        )
