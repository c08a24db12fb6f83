"""Globs as ripgrep reads them: those of git, and alternatives in braces (agent contract 2.10). Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import attrs

from crush_trio.errors import BadRequestError

if TYPE_CHECKING:
    from regex import Pattern

PATIENCE = 0.1
"""Seconds that matching one path may take; globs can be made that take years."""

_SPECIAL = re.compile(r"[*?\[{\\]")

_TOKEN = re.compile(
    r"""(?P<tree>(?<![^/{,])\*\*(?:/|$))
    |(?P<stars>\*+)
    |(?P<any>\?)
    |(?P<set>\[[!^]?\]?[^\]]*\])
    |(?P<braces>[{,}])
    |(?P<escaped>\\.)
    |(?P<plain>[^\\\[])""",
    re.DOTALL | re.VERBOSE,
)
_BRACES = {"{": "(?:", ",": "|", "}": ")"}


@attrs.frozen
class Globs:
    """Which paths a glob means; one that begins with ``!`` means those that it does not match."""

    negative: bool
    directories: bool
    _pattern: Pattern[str]

    def matches(self, path: str, *, is_dir: bool) -> bool:
        """Whether the glob without its ``!`` matches a relative path itself, not what it is in.

        Raises:
            BadRequestError: it takes too long.
        """
        if self.directories and not is_dir:
            return False
        try:
            return self._pattern.fullmatch(path, timeout=PATIENCE, concurrent=True) is not None
        except TimeoutError:
            raise BadRequestError("the glob takes too long to match; make it simpler") from None


def compile_glob(glob: str) -> Globs:
    """Return a glob ready for use; one without a slash means names at any depth.

    Raises:
        BadRequestError: it makes no sense.
    """
    import regex  # noqa: PLC0415 - at first use: imports cost start-up time

    plain = glob.removeprefix("!")
    inner = plain.removesuffix("/")
    try:
        expression = _translate(inner if "/" in inner else f"**/{inner}")
        compiled = regex.compile(expression, flags=regex.DOTALL)
    except (ValueError, regex.error):
        raise BadRequestError(f"glob {glob!r} makes no sense") from None
    return Globs(plain != glob, inner != plain, compiled)


def split_glob(pattern: str) -> tuple[str, str]:
    """Return the directory that a pattern begins with, and the pattern below it."""
    *directories, name = pattern.split("/")
    literal = 0
    while literal < len(directories) and not _SPECIAL.search(directories[literal]):
        literal += 1
    prefix = "/".join(directories[:literal])
    if literal and not prefix:  # the top of the file system
        prefix = "/"
    return prefix, "/".join((*directories[literal:], name))


def _translate(glob: str) -> str:
    """Return the expression for a glob that is anchored.

    Raises:
        ValueError: brackets or braces are not closed, or a backslash stands at the end.
    """
    pieces: list[str] = []
    depth = 0
    for token in _TOKEN.finditer(glob.removeprefix("/")):
        kind, text = token.lastgroup, token[0]
        if kind == "braces":
            depth += {"{": 1, "}": -1}.get(text, 0)
            inside = depth > 0 or text == "}"
            pieces.append(_BRACES[text] if inside and depth >= 0 else re.escape(text))
            depth = max(depth, 0)
        elif kind == "set":
            pieces.append(_set(text[1:-1]))
        elif kind == "escaped":
            pieces.append(re.escape(text[1]))
        elif kind == "tree":
            pieces.append("(?:[^/]+/)*" if text.endswith("/") else ".+")
        else:
            pieces.append({"stars": "[^/]*", "any": "[^/]"}.get(str(kind)) or re.escape(text))
    if depth or sum(token.end() - token.start() for token in _TOKEN.finditer(glob)) != len(glob):
        raise ValueError(glob)
    return "".join(pieces)


def _set(text: str) -> str:
    """Return the expression for a set of characters; none of them is a slash."""
    negative = text[:1] in ("!", "^")
    chars = re.sub(r"([\\\[\]^&|~])", r"\\\1", text[negative:])
    return f"(?!/)[{'^' * negative}{chars}]"
