"""Sections of text files: some lines, read in bounded memory (agent contract 2.6).

Below the tool ``view``. Blocking; whoever calls decides in which thread.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import attrs

from crush_trio.errors import BadRequestError

MAX_LINE = 2000
"""Bytes of a line that are shown (agent contract 2.6)."""


@attrs.frozen
class Section:
    """Lines of a file.

    Attributes:
        offset: How many lines come before it.
        lines: Without their line ends. After a final line end comes one more, empty line.
        more: Whether the file has lines after it.
    """

    offset: int
    lines: tuple[str, ...]
    more: bool

    @property
    def text(self) -> str:
        """The section as it stands in the file, but for long lines."""
        return "\n".join(self.lines)

    def numbered(self) -> str:
        """Return the lines with their numbers, and a note if the file goes on."""
        numbers = range(self.offset + 1, self.offset + 1 + len(self.lines))
        shown = "\n".join(
            f"{number:6}|{line.removesuffix(chr(13))}"
            for number, line in zip(numbers, self.lines, strict=True)
        )
        if not self.more:
            return shown
        last = self.offset + len(self.lines)
        return (
            f"{shown}\n\n(File has more lines. Use 'offset' parameter to read beyond line {last})"
        )


def read_section(path: str, offset: int, limit: int, max_bytes: int | None) -> Section:
    """Read up to ``limit`` lines after the first ``offset`` ones.

    Raises:
        BadRequestError: the section has more than ``max_bytes`` bytes or begins after the end of
            the file, or the file is not UTF-8.
    """
    lines: list[str] = []
    size, more, number = 0, False, 0
    try:
        with Path(path).open("rb") as file:
            for number, line in enumerate(_lines(file)):
                if number < offset:
                    continue
                if len(lines) == limit:
                    more = line is not None
                    break
                lines.append(_decode(line or b""))
                size += len(lines[-1].encode()) + 1
                if max_bytes is not None and size - 1 > max_bytes:
                    raise BadRequestError(
                        f"section is larger than {max_bytes} bytes, of a file with "
                        f"{Path(path).stat().st_size}; show fewer lines with offset and limit"
                    )
    except UnicodeDecodeError:
        raise BadRequestError(f"file is not valid UTF-8 text: {path}") from None
    if not lines:
        raise BadRequestError(f"offset {offset} is after the last line of {path}: {number + 1}")
    return Section(offset, tuple(lines), more)


def _lines(file: BinaryIO) -> Iterator[bytes | None]:
    """Yield lines without their ends, long ones cut, and None for the place after the last end."""
    while True:
        line = file.readline(MAX_LINE + 3)  # with room to see that it is longer, even with CR LF
        if not line:
            yield None
            return
        yield line.removesuffix(b"\n")
        rest = line
        while not rest.endswith(b"\n"):
            rest = file.readline(2**16)
            if not rest:
                return


def _decode(line: bytes) -> str:
    if len(line.removesuffix(b"\r")) <= MAX_LINE:
        return line.decode()
    return codecs.getincrementaldecoder("utf-8")().decode(line[:MAX_LINE]) + "..."
