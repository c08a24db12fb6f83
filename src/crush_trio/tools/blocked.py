"""Commands that are refused whatever people answer (agent contract 2.4).

What this is: a rail. It reads a script with a real grammar, finds every simple command that is
written out in it (in pipelines, sub-shells, functions, substitutions, here-documents) and refuses
the script, before anything of it has run, if one of them is on the lists below. It keeps a model
from reaching for the network, the package manager or root out of habit.

What it is not: a sandbox. ``$x``, ``eval``, ``bash -c`` and a script file hide a command from it,
and a script that the grammar cannot read is not judged at all. The boundary is the permission
that people give.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    import tree_sitter

_BANNED = (
    "alias aria2c axel chrome curl curlie firefox http-prompt httpie links lynx nc safari scp ssh "
    "telnet w3m wget xh doas su sudo apk apt apt-cache apt-get dnf dpkg emerge home-manager "
    "makepkg opkg pacman paru pkg pkg_add pkg_delete portage rpm yay yum zypper at batch chkconfig "
    "crontab fdisk mkfs mount parted service systemctl umount firewall-cmd ifconfig ip iptables "
    "netstat pfctl route ufw"
)
BANNED = frozenset(_BANNED.split())
"""Programs that are never run (agent contract 2.4)."""

_WRAPPERS = frozenset(("builtin", "command", "env", "exec", "nohup", "time"))
"""Programs whose first word that is no option and no assignment is the real command."""


@attrs.frozen
class _Pattern:
    """A program with the words that follow its name and the options that make it blocked."""

    program: str
    words: tuple[str, ...] = ()
    options: frozenset[str] = frozenset()

    def fits(self, program: str, arguments: Sequence[str]) -> bool:
        """Whether a command is of this kind; an option counts up to its ``=``."""
        words = tuple(word for word in arguments if not word.startswith("-"))
        options = {word.partition("=")[0] for word in arguments if word.startswith("-")}
        same = program == self.program and words[: len(self.words)] == self.words
        return same and self.options <= options


def _pattern(text: str) -> _Pattern:
    program, *rest = text.split()
    options = frozenset(word for word in rest if word.startswith("-"))
    return _Pattern(program, tuple(word for word in rest if word not in options), options)


_BLOCKED = tuple(
    _pattern(text)
    for text in (
        "brew install",
        "cargo install",
        "gem install",
        "go install",
        "go test -exec",
        "npm install --global",
        "npm install -g",
        "pip install --user",
        "pip3 install --user",
        "pnpm add --global",
        "pnpm add -g",
        "yarn global add",
    )
)  # those of the contract whose program is not banned altogether


class Rail:
    """Finds blocked commands in scripts; holds the parser."""

    def __init__(self) -> None:
        self._parser: tree_sitter.Parser | None = None

    def blocked(self, script: str) -> str | None:
        """Return the first blocked command of a script, or None if none was found."""
        for words in self._commands(script):
            program, *arguments = _unwrapped(words) or [""]
            program = program.rpartition("/")[2]
            if program in BANNED:
                return program
            for pattern in _BLOCKED:
                if pattern.fits(program, arguments):
                    return " ".join((program, *pattern.words, *sorted(pattern.options)))
        return None

    def _commands(self, script: str) -> Iterator[list[str]]:
        """Yield the words of every simple command; nothing for a script that is not understood."""
        if self._parser is None:
            self._parser = _new_parser()
        root = self._parser.parse(script.encode(errors="replace")).root_node
        if root.has_error:
            return
        waiting = [root]
        while waiting:
            node = waiting.pop()
            waiting.extend(reversed(node.named_children))
            if node.type == "command":
                yield [_literal(word) for word in node.named_children if word.type in _WORDS]


_WORDS = frozenset(("command_name", "word", "string", "raw_string", "concatenation", "number"))


def _new_parser() -> tree_sitter.Parser:
    import tree_sitter  # noqa: PLC0415 - at first use: imports cost start-up time
    import tree_sitter_bash  # noqa: PLC0415

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))


def _literal(node: tree_sitter.Node) -> str:
    """Return what a word says without its quotes; what is only known at run time stays as it is."""
    text = (node.text or b"").decode(errors="replace")
    return re.sub(r"\\(.)|[\"']", r"\1", text)


def _unwrapped(words: Sequence[str]) -> list[str]:
    """Return a command's words without the wrappers in front, such as ``env A=1``."""
    rest = list(words)
    while rest and rest[0].rpartition("/")[2] in _WRAPPERS:
        if rest[0] == "command" and rest[1:2] in (["-v"], ["-V"]):  # only says what it is
            return rest
        rest = rest[1:]
        while rest and (rest[0].startswith("-") or "=" in rest[0]):
            rest = rest[1:]
    return rest
