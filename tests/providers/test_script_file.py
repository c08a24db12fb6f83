"""A script's file says what the script in Python would, and what is wrong with it is said clearly."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from crush_trio.errors import BadRequestError
from crush_trio.providers.base import Usage
from crush_trio.providers.script_file import Script, read_script
from crush_trio.providers.scripted import (
    Call,
    Cut,
    Finish,
    Hang,
    Pause,
    Report,
    Say,
    Think,
    WaitFor,
    failing,
)

WHOLE = """
title = "Two files"
answers = [
  [{ think = "They want a list.", chunk = 3 },
   { say = "Let me look.", pause = 0.05 },
   { call = "bash", arguments = { command = "ls" }, id = "c1" },
   { usage = { input = 7, output = 2, cost = 0.5 } }],
  "There are two files.",
  [{ pause = 1 }, { wait = "door" }, "And then:", { call = "view", arguments = "{" }],
  { fail = "rate_limited", retry_after = 3 },
  ["a", { fail = "in_stream", message = "lost my thread", retryable = true }],
  [{ say = "a" }, { cut = true }],
  { hang = true },
  [{ say = "b" }, { finish = "max_tokens" }, { usage = false }],
]
"""

MEANT = Script(
    (
        [
            Think("They want a list.", chunk=3),
            Say("Let me look.", pause=0.05),
            Call("bash", {"command": "ls"}, id="c1"),
            Report(Usage(input=7, output=2, cost=0.5)),
        ],
        "There are two files.",
        [Pause(1.0), WaitFor("door"), Say("And then:"), Call("view", "{")],
        failing("rate_limited", retry_after=3),
        [Say("a"), failing("in_stream", "lost my thread", retryable=True)],
        [Say("a"), Cut()],
        Hang(),
        [Say("b"), Finish("max_tokens"), Report(None)],
    ),
    title="Two files",
)


def script(tmp_path: Path, text: str, name: str = "script.toml") -> Script:
    path = tmp_path / name
    path.write_text(text)
    return read_script(path)


def test_every_operation_can_be_written(tmp_path: Path) -> None:
    """Each as its name and what belongs to it; a text alone is said."""
    assert repr(script(tmp_path, WHOLE)) == repr(MEANT)  # errors compare by identity


def test_the_same_can_be_written_as_json(tmp_path: Path) -> None:
    """In a file that is called so."""
    text = msgspec.json.encode(msgspec.toml.decode(WHOLE)).decode()
    assert repr(script(tmp_path, text, "script.json")) == repr(MEANT)


@pytest.mark.promise("C4")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("answers = 3", "array"),
        ("", "answers"),
        ("answer = []", "answer"),
        ("answers = [3]", "answers[0] is neither a text nor an operation"),
        ('answers = ["a", [{ sing = "la" }]]', "answers[1][0] has none of the operations say,"),
        ('answers = [{ say = "a", pauses = 1 }]', "answers[0] (say): object contains unknown"),
        ("answers = [{ say = 1 }]", "answers[0] (say): expected `str`, got `int`"),
        ('answers = [[{ say = "a", pause = -1 }]]', "answers[0][0] (say): expected `float` >= 0"),
        ('answers = [{ fail = "badly" }]', "answers[0] (fail): no such failure: 'badly'; there"),
        ("answers = [{ fail = 200 }]", "a failure's status is 400 to 599, not 200"),
        ("answers = [{ hang = false }]", "answers[0] (hang): it can only be true"),
        ("answers = [{ usage = true }]", "usage is a table of tokens, or false"),
        ('answers = [{ finish = "well" }]', "answers[0] (finish): invalid enum value 'well'"),
        ('answers = []\ntitle = { say = "a", chunk = 0 }', "title (say): expected `int` >= 1"),
        ("answers = [", "is no script"),
    ],
)
def test_what_makes_no_sense_is_named_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    """Nothing is guessed, and nothing is ignored."""
    with pytest.raises(BadRequestError) as caught:
        script(tmp_path, text)
    assert told in str(caught.value)
    assert "script.toml" in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """With the system's reason."""
    with pytest.raises(BadRequestError, match="is a directory"):
        read_script(tmp_path)
