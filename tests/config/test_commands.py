"""Where a command inside a value ends, and what is done with it (agent contract 3.11)."""

from __future__ import annotations

import pytest

from crush_trio.config.commands import command_end
from crush_trio.config.expand import Command, Failed, expand
from crush_trio.errors import ConfigError


class Shell:
    """Answers from a table and remembers what it was asked."""

    def __init__(self, **outputs: str) -> None:
        self.outputs = outputs
        self.asked: list[str] = []

    def __call__(self, command: Command) -> str | Failed:
        self.asked.append(command.text)
        return self.outputs.get(command.text, Failed("the command failed with exit status 1"))


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("$(pass show key)", "pass show key"),
        ("$(a (b) c)d)", "a (b) c"),
        ("$(echo ')' \")\" \\) x)y)", "echo ')' \")\" \\) x"),
        ('$(echo "$(date)" `x )`)z', 'echo "$(date)" `x )`'),
        ("$(echo '\\')z)", "echo '\\'"),
        ("$(unfinished", None),
        ("$(echo ')", None),
        ("$(", None),
    ],
)
def test_a_command_ends_where_its_bracket_is_closed(text: str, command: str | None) -> None:
    """Quotes, backslashes and nested brackets are followed."""
    end = command_end(text, 2, ")")
    assert (None if end is None else text[2:end]) == command


def test_a_command_in_backquotes_ends_at_the_next_one() -> None:
    """But not at one with a backslash in front of it."""
    assert command_end(r"a \`b\` c`", 0, "`") == 9
    assert command_end("never", 0, "`") is None


def test_the_output_of_a_command_stands_where_the_command_was() -> None:
    """In both notations, inside other text, and as the word of a variable that is not set."""
    shell = Shell(key="s3cret", **{"echo `x`": "y"})
    assert expand("Bearer $(key)!", {}, shell) == "Bearer s3cret!"
    assert expand("`key`", {}, shell) == "s3cret"
    assert expand(r"`echo \`x\``", {}, shell) == "y"
    assert expand("${TOKEN:-$(key)}", {}, shell) == "s3cret"
    assert expand("$( )", {}, shell) == ""


def test_a_command_is_run_only_if_its_output_is_used() -> None:
    """A password prompt for a value that is not needed would be a nuisance."""
    shell = Shell()
    assert expand("${TOKEN:-$(key)}", {"TOKEN": "t"}, shell) == "t"
    assert expand("${NONE:+$(key)}", {}, shell) == ""
    assert expand(r"\$(key)", {}, shell) == "$(key)"
    assert shell.asked == []


@pytest.mark.promise("A2")
@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("sk-abc$(key)def", "cannot expand '$(key)': the command failed with exit status 1"),
        ("$((1 + 1))", "cannot expand '$((': arithmetic"),
        ("sk-abc$(key", "cannot expand '$(': the command has no end"),
        ("sk-abc`key", "cannot expand '`k': the command has no end"),
    ],
)
def test_a_command_that_fails_is_an_error_that_shows_only_itself(template: str, shown: str) -> None:
    """What stands around it may be a key."""
    with pytest.raises(ConfigError) as caught:
        expand(template, {}, Shell())
    assert shown in str(caught.value)
    assert "sk-abc" not in str(caught.value)
