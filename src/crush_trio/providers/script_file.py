"""A model's script as a file: TOML for people, or the same in JSON where the name ends so.

It reads as :mod:`.script` does: a list of answers, each a text or a list of operations::

    title = "Two files"
    answers = [
      [{ think = "They want a list." },
       { say = "Let me look.", pause = 0.05 },
       { call = "bash", arguments = { command = "ls" } }],
      "There are two files.",
      { fail = "rate_limited", retry_after = 3 },
    ]

An operation is named by its first word, which the others belong to. What is wrong is said with its
place, such as ``answers[1][2]``. Nothing is guessed and nothing is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Protocol, cast

import attrs
import msgspec

from crush_trio.errors import BadRequestError
from crush_trio.messages import FinishReason
from crush_trio.providers.base import Usage
from crush_trio.providers.script import (
    Answer,
    Call,
    Cut,
    Fail,
    Finish,
    Hang,
    Op,
    Pause,
    Report,
    Say,
    Think,
    WaitFor,
    failing,
    inside,
)
from crush_trio.providers.scripted import ScriptedModel

Seconds = Annotated[float, msgspec.Meta(ge=0)]
Characters = Annotated[int, msgspec.Meta(ge=1)]


@attrs.frozen
class Script:
    """What a file says: the answers in order, and what requests for titles get."""

    answers: tuple[Answer, ...]
    title: Answer = "Scripted title"

    def model(self) -> ScriptedModel:
        """Return a model that plays it from the beginning."""
        return ScriptedModel(*self.answers, title=self.title)


class _Line(Protocol):
    """One operation as it is written."""

    def op(self) -> Op:
        """Return what is written; what makes no sense raises ``msgspec.ValidationError``."""
        ...


class _Strict(msgspec.Struct, forbid_unknown_fields=True):
    """A table in which nothing is ignored."""


class _Say(_Strict):
    say: str
    chunk: Characters | None = None
    pause: Seconds = 0.0

    def op(self) -> Op:
        return Say(self.say, chunk=self.chunk, pause=self.pause)


class _Think(_Strict):
    think: str
    chunk: Characters | None = None
    pause: Seconds = 0.0

    def op(self) -> Op:
        return Think(self.think, chunk=self.chunk, pause=self.pause)


class _Call(_Strict):
    call: str
    arguments: dict[str, Any] | str = {}
    id: str = ""
    chunk: Characters | None = None
    pause: Seconds = 0.0

    def op(self) -> Op:
        return Call(self.call, self.arguments, id=self.id, chunk=self.chunk, pause=self.pause)


class _Pause(_Strict):
    pause: Seconds

    def op(self) -> Op:
        return Pause(self.pause)


class _Wait(_Strict):
    wait: str

    def op(self) -> Op:
        return WaitFor(self.wait)


class _Hang(_Strict):
    hang: bool

    def op(self) -> Op:
        return _only_true(self.hang, Hang())


class _Cut(_Strict):
    cut: bool

    def op(self) -> Op:
        return _only_true(self.cut, Cut())


class _Fail(_Strict):
    fail: str | int
    message: str = ""
    retry_after: Seconds | None = None
    retryable: bool | None = None

    def op(self) -> Fail:
        try:
            return failing(
                self.fail, self.message, retry_after=self.retry_after, retryable=self.retryable
            )
        except ValueError as error:
            raise msgspec.ValidationError(str(error)) from None


class _Tokens(_Strict):
    input: int = 0
    output: int = 0
    cache_read: int = 0
    reasoning: int = 0
    cost: float | None = None


class _Usage(_Strict):
    usage: _Tokens | bool

    def op(self) -> Op:
        if isinstance(self.usage, bool):
            if self.usage:
                raise msgspec.ValidationError("usage is a table of tokens, or false for none")
            return Report(None)
        return Report(Usage(**msgspec.structs.asdict(self.usage)))


class _Finish(_Strict):
    finish: FinishReason

    def op(self) -> Op:
        return Finish(self.finish)


_VERBS: Mapping[str, type[_Line]] = {
    "say": _Say,
    "think": _Think,
    "call": _Call,
    "wait": _Wait,
    "hang": _Hang,
    "cut": _Cut,
    "fail": _Fail,
    "usage": _Usage,
    "finish": _Finish,
    "pause": _Pause,  # last: others have a pause too
}


class _File(_Strict):
    answers: list[Any]
    title: Any = "Scripted title"


def read_script(path: Path) -> Script:
    """Read a script's file. Not a checkpoint.

    Raises:
        BadRequestError: it cannot be read, or something in it makes no sense; says what and where.
    """
    decode: Callable[..., Any] = msgspec.toml.decode
    if path.suffix == ".json":
        decode = msgspec.json.decode
    try:
        return parse_script(decode(path.read_bytes(), type=_File))
    except OSError as error:
        raise BadRequestError(f"cannot read {str(path)!r}: {_reason(error)}") from None
    except msgspec.MsgspecError as error:
        raise BadRequestError(f"{str(path)!r} is no script: {error}") from None


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def parse_script(read: _File) -> Script:
    """Return what a decoded file says.

    Raises:
        msgspec.ValidationError: something in it makes no sense; says what and where.
    """
    answers = [_answer(each, f"answers[{number}]") for number, each in enumerate(read.answers)]
    return Script(tuple(answers), _answer(read.title, "title"))


def _answer(written: object, place: str) -> Answer:
    if isinstance(written, str):
        return written
    if isinstance(written, list):
        lines = cast("list[object]", written)
        return _honest([_op(line, f"{place}[{number}]") for number, line in enumerate(lines)])
    return _op(written, place)


def _honest(ops: list[Op]) -> list[Op]:
    """Return operations whose failures are what they can be: no status behind what was said."""
    begun = [False, *accumulate((isinstance(op, Say | Think | Call) for op in ops), max)]
    return [
        inside(op) if isinstance(op, Fail) and said else op
        for op, said in zip(ops, begun, strict=False)
    ]


def _op(written: object, place: str) -> Op:
    if isinstance(written, str):
        return Say(written)
    if not isinstance(written, dict):
        raise msgspec.ValidationError(
            f"{place} is neither a text nor an operation such as {{ say = 'Hello' }}"
        )
    line = cast("dict[str, object]", written)
    verb = next((verb for verb in _VERBS if verb in line), None)
    if verb is None:
        raise msgspec.ValidationError(
            f"{place} has none of the operations {', '.join(_VERBS)}: it has {', '.join(line)}"
        )
    try:
        return msgspec.convert(line, _VERBS[verb]).op()
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(f"{place} ({verb}): {_lower(str(error))}") from None


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _only_true(written: bool, op: Op) -> Op:
    if not written:
        raise msgspec.ValidationError("it can only be true: leave the line out instead")
    return op
