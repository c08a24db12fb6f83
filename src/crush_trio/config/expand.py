r"""Expansion of variables and commands in configured values (agent contract 3.11).

A template follows the rules of shell here-documents: ``$VAR``, ``${VAR}``, ``${VAR:-word}``,
``${VAR:+word}``, ``${VAR:?message}`` (and these without the colon, which then do not treat an empty
variable as unset), nested where a word stands; ``$(command)`` and the same in backquotes; a
backslash takes the meaning from a dollar sign, a backquote and a backslash. An unset variable is
empty. There is no globbing and no word splitting.

Rules of this file:

1. An error shows the part of the *template* that failed, never a value, and never the text
   around that part, which may be a key that somebody typed into a file (A2).
2. Nothing is run here. What a command printed is asked of whoever expands, and only of a command
   whose output is used: not of the one in ``${KEY:-$(pass show key)}`` where ``KEY`` is set.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import attrs

from crush_trio.config.commands import command_end
from crush_trio.errors import ConfigError

SHOWN_BYTES = 512
"""Longest piece of a template in an error, in bytes (agent contract 3.11)."""

MAX_DEPTH = 20
"""Deepest nesting of ``${...}``, so that no template exhausts the stack."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-+?]")


@attrs.frozen
class Command:
    """A shell command inside a value, and the environment that it runs with."""

    text: str
    env: Mapping[str, str] = attrs.field(repr=False, hash=False)


@attrs.frozen
class Failed:
    """Something could not be found out; the reason holds no secret and may be shown (A2)."""

    reason: str


Outputs = Callable[[Command], str | Failed]
"""Tells what a command printed, without the line ends behind it, or why it failed."""


def no_commands(_: Command) -> Failed:
    """Refuse every command."""
    return Failed("a command cannot be run here")


def expand(template: str, env: Mapping[str, str], outputs: Outputs = no_commands) -> str:
    r"""Return ``template`` with its variables and commands replaced by their values.

    Args:
        template: The text.
        env: The variables.
        outputs: Is asked for each command whose output is used.

    Raises:
        ConfigError: the template is malformed, is a lone ``$``, says with ``${VAR:?message}`` that
            a variable must be set, or has a command that failed.
    """
    if template == "$":
        raise _error("$", r"a lone dollar sign; write \$ for the character")
    return _Scanner(template, env, outputs).text()


def _error(shown: str, why: str) -> ConfigError:
    printable = "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in shown
    )
    cut = printable.encode("utf-8", "replace")[:SHOWN_BYTES].decode("utf-8", "ignore")
    return ConfigError(f"cannot expand {cut!r}: {why}")


@attrs.define
class _Scanner:
    """Reads a template once, from left to right."""

    template: str
    env: Mapping[str, str]
    outputs: Outputs
    at: int = 0
    depth: int = 0

    def text(self, stop: str = "", *, live: bool = True) -> str:
        """Read up to ``stop`` or the end; when not ``live``, only to find where it ends."""
        found: list[str] = []
        while self.at < len(self.template) and self.template[self.at] != stop:
            found.append(self._piece(stop, live=live))
        return "".join(found)

    def _piece(self, stop: str, *, live: bool) -> str:
        start, char = self.at, self.template[self.at]
        self.at += 1
        following = self.template[self.at : self.at + 1]
        if char == "\\" and following and following in "$`\\" + stop:
            self.at += 1
            return following
        if char == "`":
            return self._command(start, self.at, live=live)
        if char == "$":
            return self._parameter(start, following, live=live)
        return char

    def _parameter(self, start: int, following: str, *, live: bool) -> str:
        if following == "{":
            return self._braced(start, live=live)
        if following == "(":
            return self._command(start, self.at + 1, live=live)
        if name := _NAME.match(self.template, self.at):
            self.at = name.end()
            return self.env.get(name[0], "")
        if following and following in "0123456789$?!#@*-":
            raise self._failed(start, r"no such variable; write \$ for a dollar sign")
        return "$"

    def _command(self, start: int, begin: int, *, live: bool) -> str:
        """Read a command that begins at ``begin``; it is run only if its output is used."""
        if self.template.startswith("$((", start):
            raise self._failed(start, "arithmetic is not supported", end=start + 3)
        quote = "`" if self.template[start] == "`" else ")"
        end = command_end(self.template, begin, quote)
        if end is None:
            raise self._failed(start, f"the command has no end, {quote!r}")
        self.at = end + 1
        text = self.template[begin:end]
        if quote == "`":
            text = re.sub(r"\\([$`\\])", r"\1", text)
        if not live or not text.strip():
            return ""
        output = self.outputs(Command(text, self.env))
        if isinstance(output, Failed):
            raise self._failed(start, output.reason, end=self.at)
        return output

    def _braced(self, start: int, *, live: bool) -> str:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._failed(start, f"nested more than {MAX_DEPTH} deep")
        name = _NAME.match(self.template, self.at + 1)
        if name is None:
            raise self._failed(start, "'${' is not followed by a name")
        self.at = name.end()
        value = self._with_operator(start, name[0], live=live)
        if self.template[self.at : self.at + 1] != "}":
            raise self._failed(start, "'${' and its name are not followed by '}'")
        self.at += 1
        self.depth -= 1
        return value

    def _with_operator(self, start: int, name: str, *, live: bool) -> str:
        operator = _OPERATOR.match(self.template, self.at)
        value = self.env.get(name, "")
        if operator is None:
            return value
        is_set = bool(value) if operator[0].startswith(":") else name in self.env
        self.at = word_start = operator.end()
        kind = operator[0][-1]
        word = self.text("}", live=live and kind != "?" and is_set == (kind == "+"))
        if kind == "+":
            return word if is_set else ""
        if kind == "?" and live and not is_set:
            message = self.template[word_start : self.at]  # as written: it may name other secrets
            raise self._failed(start, message or f"{name} is not set", end=self.at + 1)
        return value if is_set else word

    def _failed(self, start: int, why: str, *, end: int = 0) -> ConfigError:
        return _error(self.template[start : max(end, start + 2)], why)
