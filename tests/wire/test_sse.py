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
