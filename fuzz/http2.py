"""Frames at HTTP/2: conversations with mistakes in them."""

from __future__ import annotations

import random
import struct
from collections.abc import Generator

from hpack import Decoder, Encoder, HPACKError

from mutation import cut, mutate

GLANCES = 0.7
"""How often an answer is waited for, before the end of our half cancels what is under way."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING = range(7)
GOAWAY, WINDOW_UPDATE, CONTINUATION, UNKNOWN = 7, 8, 9, 0xFA

HOW_OFTEN = {
    HEADERS: 30,
    DATA: 15,
    RST_STREAM: 8,
    SETTINGS: 8,
    WINDOW_UPDATE: 8,
    PRIORITY: 4,
    PING: 4,
    CONTINUATION: 1,
    GOAWAY: 1,
    PUSH_PROMISE: 0.2,
    UNKNOWN: 2,
}

FLAGS = {HEADERS: (5, 5, 5, 4), DATA: (0, 1), CONTINUATION: (0, 4), SETTINGS: (0, 0, 0, 1)}
"""Flags of frames as they should be."""

FIELDS = (
    [(":method", "GET"), (":scheme", "http"), (":path", "/v1/version"), (":authority", "t")],
    [(":method", "POST"), (":scheme", "http"), (":path", "/v1/control"), (":authority", "t")],
    [(":method", "GET"), (":scheme", "http"), (":path", "/v1//x/../y?z"), ("host", "t")],
    [(":method", "PUT"), (":scheme", "https"), (":path", "/v1/workspaces/x/sessions/y")],
    [(":method", "GET"), (":scheme", "http"), (":path", "/v1/workspaces/x/events?client_id=1")],
    [(":method", "CONNECT"), (":authority", "t")],
    [(":method", "OPTIONS"), (":scheme", "http"), (":path", "*")],
    [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/")],
    [("trailer", "t")],
)

ODD_FIELDS = (
    (":path", ""),
    (":path", "/\x00"),
    (":path", "/é"),
    (":path", "x" * 5_000),
    (":method", "gét"),
    (":status", "500"),
    (":unknown", "x"),
    ("", ""),
    ("Upper", "x"),
    ("connection", "close"),
    ("te", "gzip"),
    ("content-length", "7"),
    ("content-length", "-1"),
    ("transfer-encoding", "chunked"),
    ("cookie", "a=b"),
    ("expect", "100-continue"),
    ("x", "y" * 20_000),
    ("x\n", "y\r\n"),
)

IDS = (0, 1, 1, 1, 1, 3, 3, 5, 7, 2, 4, 99, 2**31 - 1)


def frame(
    kind: int, flags: int, stream_id: int, payload: bytes, length: int | None = None
) -> bytes:
    """Return one frame, which may lie about its length."""
    said = len(payload) if length is None else length
    return (
        struct.pack(">I", said)[1:] + bytes((kind, flags)) + struct.pack(">I", stream_id) + payload
    )


def make(dice: random.Random) -> list[bytes]:
    """Return the pieces of one input."""
    rudeness = dice.choice((0.0, 0.02, 0.1, 0.3))
    encoder, newest = Encoder(), -1
    parts = [PREFACE, frame(SETTINGS, 0, 0, b"")]
    for kind in dice.choices(list(HOW_OFTEN), list(HOW_OFTEN.values()), k=dice.randrange(1, 12)):
        if kind == HEADERS and dice.random() >= rudeness:
            newest += 2
        stream_id = max(newest, 1) if dice.random() >= rudeness else dice.choice(IDS)
        parts.append(_frame(dice, kind, stream_id, encoder, rudeness))
    data = b"".join(parts)
    if dice.random() < rudeness:
        data = data[:33] + mutate(dice, data[33:], (frame(PING, 0, 0, bytes(8)) * 300, b"\0" * 9))
    if dice.random() < rudeness / 10:
        data = mutate(dice, data, (b"\r\n",))
    return cut(dice, data)


def _frame(
    dice: random.Random, kind: int, stream_id: int, encoder: Encoder, rudeness: float
) -> bytes:
    payload = _payload(dice, kind, encoder, rudeness)
    flags = FLAGS.get(kind, (0,))[dice.randrange(len(FLAGS.get(kind, (0,))))]
    if kind in {SETTINGS, PING, GOAWAY}:
        stream_id = 0
    if dice.random() < rudeness:
        flags = dice.choice((0, 1, 4, 5, 8, 0x0C, 0x25, dice.randrange(256)))
        stream_id = dice.choice((stream_id, *IDS))
    if dice.random() < rudeness:
        payload = mutate(dice, payload or b"x", (b"\xff" * 5, b"\0" * 5, b"\x80" * 300))
    if dice.random() < rudeness / 5:
        return frame(
            kind, flags, stream_id, payload, dice.choice((0, 1, 16_384, 16_385, 2**24 - 1))
        )
    return frame(kind, flags, stream_id, payload)


def _payload(dice: random.Random, kind: int, encoder: Encoder, rudeness: float) -> bytes:
    rude = dice.random() < rudeness
    match kind:
        case 1 | 9:
            fields = list(dice.choice(FIELDS if rude else FIELDS[:4]))
            if dice.random() < rudeness:
                fields.insert(dice.randrange(len(fields) + 1), dice.choice(ODD_FIELDS))
            payload = encoder.encode(fields, huffman=dice.random() < 0.5)
        case 0:
            payload = dice.choice((b"", b"{}", b'{"command":"x"}', b"x" * 16_384, b"\5" + bytes(9)))
        case 2:
            payload = struct.pack(">IB", dice.choice((0, 1, 3, 2**31 + 1)), dice.randrange(256))
        case 3:
            payload = struct.pack(">I", dice.choice((0, 8, 2**32 - 1)))
        case 4:
            names = [dice.randrange(10) if rude else dice.choice((1, 3, 4, 6, 9))]
            values = (0, 1, 2**31, 2**32 - 1) if rude else (0, 1, 100, 65_535, 2**20)
            payload = b"".join(struct.pack(">HI", name, dice.choice(values)) for name in names)
        case 7:
            payload = (
                struct.pack(">II", dice.choice((0, 1, 2**31 - 1)), dice.randrange(16)) + b"bye"
            )
        case 8:
            values = (0, 2**31 - 1, 2**31) if rude else (1, 65_535, 2**20)
            payload = struct.pack(">I", dice.choice(values))
        case 5:
            payload = struct.pack(">I", 2) + encoder.encode(list(dice.choice(FIELDS)))
        case _:
            payload = dice.randbytes(8)
    return payload


def frames(data: bytes) -> Generator[tuple[int, bytes]]:
    """Yield kind and payload of all whole frames."""
    place = 0
    while len(data) >= place + 9:
        length = int.from_bytes(data[place : place + 3])
        yield data[place + 3], data[place + 9 : place + 9 + length]
        place += 9 + length


def statuses(answer: bytes) -> list[int]:
    """Return the statuses of all that was answered."""
    if answer.startswith(b"HTTP/1.1 "):
        return [int(answer[9:12])]
    decoder, found = Decoder(), list[int]()
    decoder.max_allowed_table_size = 2**16  # the input may have allowed for more than the default
    try:
        for kind, payload in frames(answer):
            if kind == HEADERS:
                found += [
                    int(value)
                    for name, value in decoder.decode(payload, raw=True)
                    if name == b":status"
                ]
    except HPACKError:
        pass  # the input may have made the table too small to follow
    return found
