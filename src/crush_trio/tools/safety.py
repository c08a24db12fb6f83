"""Which commands need nobody's permission: plain, read-only ones (agent contract 2.4, tightened).

Pure. A command is safe when it is one simple command, written without anything that a shell
would expand or chain, whose words are on the list below. Whatever this file does not know is not
safe: it only decides whether somebody is asked, so a wrong "no" costs a question and a wrong
"yes" costs trust. Rules:

1. No character that chains, redirects, substitutes or expands, quoted or not (:data:`_SPECIAL`).
2. Programs that run other programs or end them are not on the list (``env CMD``, ``nohup``,
   ``time``, ``timeout``, ``nice``, ``kill``), nor options that write, execute, set something, or
   read files from elsewhere.
3. Options may be abbreviated (``--outp=x``) and bundled (``-nO``): an option is refused when it
   *could* mean a forbidden one.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

Rule: TypeAlias = "Callable[[Sequence[str]], bool]"

_SPECIAL = re.compile(r"[;|&$`()<>{}\n\r\0!#]")


def is_safe(command: str) -> bool:
    """Whether ``command`` may run without asking."""
    if _SPECIAL.search(command):
        return False
    try:
        words = shlex.split(command)
    except ValueError:  # an open quotation
        return False
    if words[:1] == ["git"]:
        globs = any(sign in command for sign in "*?[")  # may expand to a file named --output=x
        rule = _GIT.get(words[1]) if len(words) > 1 and not globs else None
        return rule is not None and rule(words[2:])
    rule = _COMMANDS.get(words[0]) if words else None
    return rule is not None and rule(words[1:])


# --- rules: what the words after the name may be ------------------------------------


def _anything(_words: Sequence[str]) -> bool:
    return True


def _nothing(words: Sequence[str]) -> bool:
    return not words


def _only(*patterns: str) -> Rule:
    """Every word fits one of the patterns."""
    allowed = re.compile("|".join(f"(?:{pattern})" for pattern in patterns))
    return lambda words: all(allowed.fullmatch(word) for word in words)


_FORBIDDEN = (
    "--contents",
    "--exec",
    "--ext-diff",
    "--no-index",
    "--open-files-in-pager",
    "--output",
    "--upload-pack",
)


def _reads(words: Sequence[str]) -> bool:
    """No option that writes or executes, no path that leads out of the repository."""
    return not any(_may_mean_forbidden(word) or _leads_out(word) for word in words)


def _may_mean_forbidden(word: str) -> bool:
    option = word.partition("=")[0]
    return len(option) > 2 and any(forbidden.startswith(option) for forbidden in _FORBIDDEN)


def _leads_out(word: str) -> bool:
    return word.startswith(("/", "~")) or ".." in word.split("/")


def _greps(words: Sequence[str]) -> bool:
    """As :func:`_reads`, and no ``-O``, which opens a pager of one's choice."""
    return _reads(words) and not any(re.match(r"-[^-]*O", word) for word in words)


_LISTING = re.compile(r"-l|--(list|contains|no-contains|merged|no-merged|points-at)(=.*)?")
_LIST_OPTIONS = _only(
    r"-[alirv]+|-n\d*",
    r"--(all|remotes|verbose|show-current|ignore-case|omit-empty|no-color|no-column)",
    r"--(color|column|abbrev|sort|format)(=.*)?",
    _LISTING.pattern,
)


def _lists(words: Sequence[str]) -> bool:
    """Options that list; names only where an option makes patterns of them."""
    names = [word for word in words if not word.startswith("-")]
    options = [word for word in words if word.startswith("-")]
    return _LIST_OPTIONS(options) and (not names or any(map(_LISTING.fullmatch, options)))


def _asks_remote(words: Sequence[str]) -> bool:
    """A configured remote by its name: an address may name a program to run."""
    return _only(r"--(heads|branches|tags|refs|quiet|symref)|-[bhtq]|\w[\w-]*")(words)


def _shows_config(words: Sequence[str]) -> bool:
    scope = r"--(global|local|system|worktree|show-origin|show-scope|name-only|null)|-z"
    if words[:1] == ["--get"]:
        return len(words) == 2 and not words[1].startswith("-")
    return words[:1] == ["--list"] and _only(scope)(words[1:])


def _shows_remotes(words: Sequence[str]) -> bool:
    if words[:1] == ["get-url"]:
        return _only(r"--all|--push|\w[\w.-]*")(words[1:])
    return _only("-v|--verbose")(words)


_SHOWING = (
    "cal df du echo free groups id ls printenv ps pwd top type uname uptime whatis whereis which "
    "whoami"
)
_GIT_SHOWING = "blame describe diff log ls-files rev-parse shortlog show status"

_COMMANDS: Mapping[str, Rule] = {
    **dict.fromkeys(_SHOWING.split(), _anything),
    "date": _only(r"\+.*|-u|--utc|-R|-I\w*|--iso-8601(=\w+)?|--rfc-3339=\w+|--date=.*"),
    "env": _nothing,
    "hostname": _only("-[dfiIsA]"),
    "set": _nothing,
    "unset": _only(r"\w+"),
}

_GIT: Mapping[str, Rule] = {
    **dict.fromkeys(_GIT_SHOWING.split(), _reads),
    "branch": _lists,
    "config": _shows_config,
    "grep": _greps,
    "ls-remote": _asks_remote,
    "remote": _shows_remotes,
    "tag": _lists,
}
