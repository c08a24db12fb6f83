"""``grep``: find lines that match a pattern (agent contract 2.11)."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Annotated

import msgspec
import trio

from crush_trio.errors import BadRequestError
from crush_trio.tools.arguments import required
from crush_trio.tools.base import Surroundings, ToolAnswer, ToolContext
from crush_trio.tools.builtin import Builtin
from crush_trio.tools.files import absolute, exists, is_directory, work_on
from crush_trio.tools.glob import TRUNCATED
from crush_trio.tools.globs import compile_glob
from crush_trio.tools.ripgrep import FAILED, find_ripgrep, run_ripgrep
from crush_trio.tools.ripgrep_rules import EXPLICIT
from crush_trio.tools.searching import Match, Search
from crush_trio.tools.timeouts import bounded

LIMIT = 100
"""Matches that are shown (agent contract 2.11)."""

TIMEOUT = 5.0
"""Seconds if nothing else is configured (agent contract 2.11)."""

WIDTH = 500
"""Columns of a line that are shown (agent contract 9.3)."""

MOST_OUTPUT = 64 * 2**20
"""Bytes that are read of ripgrep; it is stopped then."""

_MATCH = b'{"type":"match"'


class GrepParams(msgspec.Struct, frozen=True):
    """Parameters of ``grep``."""

    pattern: Annotated[str, msgspec.Meta(description="Regular expression to look for in lines")]
    path: Annotated[
        str, msgspec.Meta(description="Directory or file to search; the workspace if not given")
    ] = ""
    include: Annotated[
        str, msgspec.Meta(description="Glob of the files to search, such as *.py or *.{ts,tsx}")
    ] = ""
    literal_text: Annotated[
        bool, msgspec.Meta(description="Take the pattern as plain text, not as an expression")
    ] = False


class Grep(Builtin[GrepParams]):
    """Finds lines by content; never asks."""

    name = "grep"
    params = GrepParams

    async def call(self, params: GrepParams, context: ToolContext) -> ToolAnswer:
        """Answer with the lines, file by file."""
        required(pattern=params.pattern)
        around = context.around
        place = absolute(params.path or ".", around.working_dir)
        if not exists(place):
            raise BadRequestError(f"path does not exist: {place}")
        include = compile_glob(params.include) if params.include else None
        search = Search(params.pattern, place, include, params.literal_text, LIMIT + 1, around.env)
        found = await bounded(
            "grep", around.limits.grep, TIMEOUT, lambda: _search(search, params.include, around)
        )
        truncated = len(found) > LIMIT
        found = found[:LIMIT]
        metadata = {"number_of_matches": len(found), "truncated": truncated}
        return ToolAnswer(_content(found, truncated=truncated), metadata=metadata)


async def _search(search: Search, include: str, around: Surroundings) -> list[Match]:
    program = find_ripgrep(around.env)
    if program is not None:
        found = await _with_ripgrep(program, search, include)
        if found is not None:
            return found
    run = partial(search.run, trio.from_thread.check_cancelled)
    return await trio.to_thread.run_sync(run)


async def _with_ripgrep(program: str, search: Search, include: str) -> list[Match] | None:
    """Return what ripgrep finds; None if it failed."""
    place, is_dir = Path(search.place), is_directory(search.place)
    root = place if is_dir else place.parent
    command = [program, "--json", "-H", "-n", "-0", "--max-count", str(search.most)]
    if search.literal:
        command.append("--fixed-strings")
    if include and is_dir:
        command += ["--glob", include]
    ignores = [name for name in EXPLICIT if is_dir and (root / name).is_file()]
    for name in ignores:
        command += ["--ignore-file", name]
    command += ["-e", search.pattern, "--", "./" if is_dir else f"./{place.name}"]
    output = await run_ripgrep(
        command,
        working_dir=str(root),
        env=search.env,
        enough=lambda data: len(data) > MOST_OUTPUT,
    )
    found = await work_on(len(output.data), lambda: sorted(_read(output.data, root))[: search.most])
    failed = output.status >= FAILED and not output.stopped
    return None if failed and not found else found


# --- ripgrep's JSON ----------------------------------------------------------------------


class _Text(msgspec.Struct, frozen=True):
    """Text, or bytes in base64 where they are none."""

    text: str | None = None
    bytes: str = ""

    def __str__(self) -> str:
        if self.text is not None:
            return self.text
        return base64.b64decode(self.bytes).decode(errors="replace")


class _Place(msgspec.Struct, frozen=True):
    start: int


class _Line(msgspec.Struct, frozen=True):
    path: _Text
    lines: _Text
    line_number: int = 0
    submatches: tuple[_Place, ...] = ()


class _Record(msgspec.Struct, frozen=True):
    data: _Line


def _read(data: bytes, root: Path) -> Iterator[Match]:
    """Yield the matches of ripgrep's output; a last record that was cut off is left out."""
    decoder = msgspec.json.Decoder(_Record)
    ages: dict[str, int] = {}
    for record in data.split(b"\n")[:-1]:
        if record.startswith(_MATCH):
            line = decoder.decode(record).data
            path = str(Path(root, str(line.path)))
            if path not in ages:
                ages[path] = _age(path)
            column = line.submatches[0].start + 1 if line.submatches else 0
            yield Match(ages[path], path, line.line_number, column, str(line.lines))


def _age(path: str) -> int:
    try:
        return -Path(path).stat().st_mtime_ns
    except OSError:  # gone
        return 0


# --- what the model reads ----------------------------------------------------------------


def _content(found: Sequence[Match], *, truncated: bool) -> str:
    if not found:
        return "No files found"
    files = (
        f"{path}:\n" + "".join(f"  {_line(match)}\n" for match in matches)
        for path, matches in groupby(found, key=lambda match: match.path)
    )
    note = f"\n{TRUNCATED}" if truncated else ""
    return f"Found {len(found)} matches\n" + "\n".join(files) + note


def _line(match: Match) -> str:
    text = match.text.strip()
    if len(text) > WIDTH:
        text = f"{text[:WIDTH]}..."
    column = f", Char {match.column}" if match.column else ""
    return f"Line {match.line}{column}: {text}"
