"""Reading an event stream, however its bytes were cut on their way."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from crush_trio.wire.sse import SSEReader


def read(*chunks: bytes) -> list[bytes]:
    reader = SSEReader()
    return [line for chunk in chunks for line in reader.feed(chunk)]


def test_only_data_lines_count() -> None:
    """Empty lines, comments and other fields are nothing; a line without its end is not there yet."""
    stream = b": hello\n\nid: 5\ndata: one\n\nevent: x\ndata:two\r\n\ndata: unfinished"
    assert read(stream) == [b"one", b"two"]
    assert read(stream, b" now\n") == [b"one", b"two", b"unfinished now"]


@settings(deadline=None)
@given(
    st.lists(st.binary(max_size=20).map(lambda b: b.replace(b"\n", b"").strip())),
    st.lists(st.integers(1, 7), min_size=1),
)
def test_it_does_not_matter_where_the_bytes_were_cut(lines: list[bytes], sizes: list[int]) -> None:
    """Every line comes whole and once."""
    stream = b"".join(b"data: " + line + b"\n\n" for line in lines)
    chunks: list[bytes] = []
    for number in range(len(stream)):
        if not stream:
            break
        size = sizes[number % len(sizes)]
        chunks.append(stream[:size])
        stream = stream[size:]
    assert read(*chunks) == lines


def numbered(*chunks: bytes) -> list[tuple[int | None, bytes]]:
    reader = SSEReader()
    return [each for chunk in chunks for each in reader.feed_numbered(chunk)]


def test_an_id_belongs_to_the_data_line_behind_it() -> None:
    """Or to nothing, where an empty line comes first: then the reader has passed that event."""
    stream = b"data: a\n\nid: 5\ndata: b\n\nid: 6\n\n\nid:7\r\n\r\ndata: c\n\nid: 8\ndata: d"
    told = [(None, b"a"), (5, b"b"), (6, b""), (7, b""), (None, b"c")]
    assert numbered(stream) == told
    assert numbered(*(stream[n : n + 1] for n in range(len(stream)))) == told


def test_an_id_that_is_no_number_is_none() -> None:
    """Somebody else's server may have such."""
    assert numbered(b"id: x1\ndata: a\n\nid:\n\nid: -3\ndata: b\n\n") == [
        (None, b"a"),
        (None, b"b"),
    ]
