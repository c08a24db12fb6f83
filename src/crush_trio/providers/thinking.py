"""Reasoning that a vendor has signed, in the one text and one signature that a message stores.

A signature belongs to its block, and a server refuses a block that was changed. One block is the
usual case and is stored as it came, as Crush does it. Several blocks of one answer, or an encrypted
one without text, become one text with a joined signature that says where each begins. That is
nothing for Crush, which sends a signature back as it finds it; so it is stored beside the vendor's
own, of which there is one only if one block holds all of the text. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

_MARK = "blocks:"
"""Begins a signature that stands for several; a vendor's own is base64, which holds no colon."""


class ThinkingBlock(msgspec.Struct, frozen=True, array_like=True):
    """One block of an answer's reasoning.

    Attributes:
        size: Characters of its text.
        signature: What the vendor signed it with, or empty.
        redacted: The whole block in encrypted form, or empty.
    """

    size: int
    signature: str = ""
    redacted: str = ""


def joined_signature(blocks: Sequence[ThinkingBlock]) -> str:
    """Return the one signature to store for the blocks of an answer."""
    match blocks:
        case [ThinkingBlock(signature=signature, redacted="")]:
            return signature
        case _:
            return _MARK + msgspec.json.encode(blocks).decode()


def is_joined(signature: str) -> bool:
    """Whether this is a signature of :func:`joined_signature` that no vendor knows."""
    return signature.startswith(_MARK)


def plain_signature(signature: str) -> str:
    """Return a vendor's own signature for the whole text; empty if there is no such one."""
    if not is_joined(signature):
        return signature
    told = [block for block in _blocks(signature) if block.size]
    return told[0].signature if len(told) == 1 else ""


def _blocks(signature: str) -> list[ThinkingBlock]:
    try:
        return msgspec.json.decode(signature.removeprefix(_MARK), type=list[ThinkingBlock])
    except msgspec.MsgspecError:
        return []


def signed_blocks(text: str, signature: str) -> list[tuple[str, ThinkingBlock]]:
    """Return the blocks that a stored reasoning was, each with its text; none without a signature."""
    if not signature:
        return []
    if not is_joined(signature):
        return [(text, ThinkingBlock(len(text), signature))]
    found: list[tuple[str, ThinkingBlock]] = []
    start = 0
    for block in _blocks(signature):
        found.append((text[start : start + block.size], block))
        start += block.size
    return found
