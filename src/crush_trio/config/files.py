"""Reading configuration files: which there are, whose they are, and what is wrong with one.

Every error names the file, and where it can the line and the key. A file that a project brings
along counts only if it belongs to the owner of the working directory, since anybody may put files
above it (agent contract 3.1).
"""

from __future__ import annotations

import json
import logging
import os
import re
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import attrs
import msgspec

from crush_trio.config.durations import with_nanoseconds
from crush_trio.config.paths import Project, global_config_dir, global_data_dir
from crush_trio.config.positions import Step, line_of, shown
from crush_trio.errors import ConfigError
from crush_trio.wire.config import Config

SYSTEM_FILE = Path("/etc/crush/crush.json")
"""The configuration of a whole machine (agent contract 3.1)."""

FILE_NAME = "crush.json"
"""Name of a configuration file; in a project also with a dot in front of it."""

_ANY_KEY = "[...]"
_STEP = re.compile(r"\.[^.\[`]+|\[\d+\]|\[\.\.\.\]")

_OPAQUE = frozenset({"extra_body", "provider_options", "init_options"})
"""Keys whose values are passed on as they are, ``null`` included."""

_log = logging.getLogger(__name__)


@attrs.frozen
class Source:
    """A place where a configuration file may be, and who must own it if that matters."""

    path: Path
    owner: int | None = None


def sources(project: Project, env: Mapping[str, str]) -> list[Source]:
    """Return the files to merge, lowest priority first (agent contract 3.1).

    The last one, in the data directory, is not among them: the others say where that is. Scripts
    (``crushrc``) are not read.
    """
    found = [
        Source(SYSTEM_FILE),
        Source(global_config_dir(env) / FILE_NAME),
        Source(global_data_dir(env) / FILE_NAME),
    ]
    taken = {source.path for source in found}  # a project may contain the global directories
    names = (FILE_NAME, f".{FILE_NAME}")
    paths = [place / name for place in reversed(project.upwards) for name in names]
    return found + [Source(path, project.owner) for path in paths if path not in taken]


def read(source: Source) -> dict[str, Any]:
    """Return the document in a file; nothing if it is absent, empty or somebody else's.

    Raises:
        ConfigError: the file cannot be read, is not JSON or does not fit the configuration.
    """
    raw = _read_bytes(source)
    if not raw.strip():
        return {}
    try:
        document = _parse(raw)
        decode(document)
    except RecursionError:
        raise ConfigError(f"{source.path}: nested too deeply") from None
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source.path}: {_invalid(raw, error)}") from error
    except ValueError as error:
        raise ConfigError(f"{source.path}: not valid JSON: {_place(error, raw)}") from error
    return document or {}


def read_document(source: Source) -> tuple[dict[str, Any], str]:
    """Return the document in a file and its text, for a change; what it says is not looked at.

    Raises:
        ConfigError: the file cannot be read, or is no JSON object.
    """
    raw = _read_bytes(source)
    if not raw.strip():
        return {}, ""
    try:
        text = raw.decode()
        document = json.loads(text)
    except RecursionError:
        raise ConfigError(f"{source.path}: nested too deeply") from None
    except ValueError as error:
        raise ConfigError(f"{source.path}: not valid JSON: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{source.path}: not a JSON object")
    return cast("dict[str, Any]", document), text


def _parse(raw: bytes) -> Any:
    """Return the JSON value in a file.

    Raises:
        ValueError: it is not JSON, or has a number that is too large.
    """
    try:
        return msgspec.json.decode(raw)
    except msgspec.ValidationError as error:
        raise ValueError(str(error).partition(" - at ")[0]) from error


def decode(document: Any) -> Config:
    """Return a JSON document as a configuration; ``null`` counts as absent, ``10s`` as a time-out.

    Raises:
        msgspec.ValidationError: a value has the wrong type.
    """
    document = {} if document is None else _without_nulls(document)
    if isinstance(document, dict):
        document = with_nanoseconds(cast("dict[str, Any]", document))
    return msgspec.convert(document, Config)


def line_in(path: Path, key: Sequence[Step]) -> str:
    """Return ``line N: `` for a key of a file, or nothing if that cannot be said."""
    with suppress(OSError, ValueError, RecursionError):
        line = line_of(path.read_text("utf-8"), key)
        return "" if line is None else f"line {line}: "
    return ""


def _invalid(raw: bytes, error: msgspec.ValidationError) -> str:
    """Return what is wrong with a file, with the line and the key of it."""
    what, _, where = str(error).partition(" - at ")
    what = what[:1].lower() + what[1:]
    document: Any = msgspec.json.decode(raw)
    if not isinstance(document, dict):
        return what
    key = _full_key(cast("dict[str, Any]", document), _STEP.findall(where))
    line = line_of(raw.decode("utf-8", "replace"), key)
    place = "" if line is None else f"line {line}: "
    return f"{place}{shown(key)}: {what}"


def _full_key(document: dict[str, Any], found: list[str]) -> list[Step]:
    """Return the way to the value that does not fit; the decoder does not tell the keys of tables."""
    path: list[Step] = []
    for text in found:
        if text != _ANY_KEY:
            path.append(int(text[1:-1]) if text[0] == "[" else text[1:])
            continue
        table: Any = document
        for step in path:
            table = table[step]
        wrong = (key for key in table if not _fits(_alone([*path, key], table[key])))
        if (key := next(wrong, None)) is None:
            break
        path.append(key)
    return path


def _fits(document: Any) -> bool:
    try:
        decode(document)
    except msgspec.ValidationError:
        return False
    return True


def _alone(path: Sequence[Step], value: Any) -> Any:
    """Return a document that holds one value only, at ``path``."""
    for step in reversed(path):
        value = [value] if isinstance(step, int) else {step: value}
    return value


def _read_bytes(source: Source) -> bytes:
    """Read a regular file of the right owner, judged by what was opened and not by its name."""
    try:
        # Non-blocking, since somebody may have put a pipe there.
        descriptor = os.open(source.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return _read_checked(descriptor, source)
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        return b""
    except OSError as error:
        raise ConfigError(f"{source.path}: cannot be read: {error.strerror}") from error


def _read_checked(descriptor: int, source: Source) -> bytes:
    found = os.fstat(descriptor)
    if source.owner is not None and found.st_uid != source.owner:
        _log.warning("ignored %s: it belongs to another user", source.path)
        return b""
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{source.path}: not a regular file")
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return file.read()


def _place(error: Exception, raw: bytes) -> str:
    """Return a syntax error with its line instead of its byte."""
    text = str(error).removeprefix("JSON is malformed: ")
    if found := re.search(r" \(byte (\d+)\)$", text):
        line = raw.count(b"\n", 0, int(found[1])) + 1
        return f"{text[: found.start()]} in line {line}"
    return text[:1].lower() + text[1:]


def _without_nulls(value: Any) -> Any:
    """Return a document without members that are ``null``, which Go takes for absent."""
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return {
            key: member if key in _OPAQUE else _without_nulls(member)
            for key, member in members.items()
            if member is not None
        }
    if isinstance(value, list):
        return [_without_nulls(element) for element in cast("list[Any]", value)]
    return value
