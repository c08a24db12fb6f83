"""Where a shell command inside a text ends: just enough of the shell's grammar for that.

Quotes, backslashes and brackets are followed, so ``$(jq '.a[")"]' f)`` is one command. A bracket
that closes without having been opened ends the command, also that of a ``case`` pattern: write
``(pattern)`` there.
"""

from __future__ import annotations


def command_end(text: str, begin: int, quote: str) -> int | None:
    """Return where the command from ``begin`` on ends, by position of its end mark; None if nowhere.

    Args:
        text: What the command is in.
        begin: The command's first character.
        quote: The end mark: a round bracket or a backquote.
    """
    return _backquote(text, begin) if quote == "`" else _bracket(text, begin)


def _backquote(text: str, at: int) -> int | None:
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == "`":
            return at
        at += 1
    return None


def _bracket(text: str, at: int) -> int | None:
    """Follow the nesting on a stack of what closes each level."""
    closing = [")"]
    while at < len(text):
        char, inside = text[at], closing[-1]
        if char == inside:
            closing.pop()
            if not closing:
                return at
        elif inside == "'":
            pass
        elif char == "\\":
            at += 1
        elif inside == '"':
            if char == "`" or text.startswith("$(", at):
                closing.append("`" if char == "`" else ")")
                at += char == "$"
        elif char in "'\"`(":
            closing.append(")" if char == "(" else char)
        at += 1
    return None
