"""The built-in tools together: names, schemas, descriptions, and the containment of errors."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import msgspec
import pytest
import trio

from crush_trio.tools.arguments import NOT_JSON
from crush_trio.tools.attribution import attribution_rules
from crush_trio.tools.base import ToolAnswer, ToolContext
from crush_trio.tools.builtin import Builtin
from crush_trio.tools.registry import builtin_tools
from crush_trio.wire.config import Attribution
from tools_kit import open_toolbox

PARAMETERS = {
    "bash": ("description* command* working_dir run_in_background auto_background_after"),
    "edit": "file_path* old_string* new_string* replace_all",
    "glob": "pattern* path",
    "grep": "pattern* path include literal_text",
    "job_kill": "shell_id*",
    "job_output": "shell_id* wait*",
    "ls": "path ignore depth",
    "multiedit": "file_path* edits*",
    "question": "questions* confirm_title confirm_description",
    "todos": "todos*",
    "view": "file_path* offset limit",
    "write": "file_path* content*",
}


def test_tools_are_sorted_by_name_and_can_be_disabled() -> None:
    """``options.disabled_tools`` takes some away."""
    assert [tool.name for tool in builtin_tools()] == sorted(PARAMETERS)
    left = builtin_tools(disabled=["bash", "view", "unknown"])
    assert [tool.name for tool in left] == [
        name for name in sorted(PARAMETERS) if name not in ("bash", "view")
    ]


def test_parameters_are_those_of_the_contract() -> None:
    """Names, types and which are required; each has a description (agent contract 2.1)."""
    types = {"string", "integer", "boolean", "array"}
    for tool in builtin_tools():
        names = PARAMETERS[tool.name].split()
        assert tool.parameters["type"] == "object"
        assert list(tool.parameters["properties"]) == [name.rstrip("*") for name in names]
        assert tool.parameters["required"] == [n.rstrip("*") for n in names if n.endswith("*")]
        assert set(tool.parameters) == {"type", "properties", "required"}
        for described in tool.parameters["properties"].values():
            assert described["type"] in types
            assert described["description"]


def test_every_tool_has_a_description_without_gaps() -> None:
    """What is to be filled in is filled in; none of these runs beside others."""
    for tool in builtin_tools(model_id="model-1"):
        assert len(tool.description) > 100
        assert not re.search(r"\{[a-z]+\}", tool.description)
        assert not tool.parallel
    bash = builtin_tools(model_id="model-1")[0].description
    assert " sudo " in bash
    assert bash.endswith("💘 Generated with Crush\n    Assisted-by: Crush:model-1")


@pytest.mark.parametrize(
    ("attribution", "lines"),
    [
        (None, ["💘 Generated with Crush", "Assisted-by: Crush:m"]),
        (Attribution(), ["Assisted-by: Crush:m"]),
        (Attribution(trailer_style="none", generated_with=True), ["💘 Generated with Crush"]),
        (Attribution(co_authored_by=True), ["Co-Authored-By: Crush <crush@charm.land>"]),
        (Attribution(co_authored_by=False), []),
        (Attribution(trailer_style="assisted-by", co_authored_by=True), ["Assisted-by: Crush:m"]),
    ],
)
def test_commits_are_signed_as_configured(
    attribution: Attribution | None, lines: list[str]
) -> None:
    """Agent contract 3.8, the older key included."""
    text = attribution_rules(attribution, "m")
    assert [line.strip() for line in text.splitlines() if line.startswith("    ")] == lines


async def test_arguments_that_do_not_fit_are_an_error_answer(tmp_path: Path) -> None:
    """Recorded cases ``tool/arguments-not-json`` and ``tool/arguments-cut-off``."""
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            broken = await box.call_text("view", "open the pod bay doors")
            cut = await box.call_text("view", '{"file_path": ""}')
            typed = await box.call("view", file_path=[])
    assert broken == ToolAnswer(NOT_JSON, is_error=True)
    assert cut == ToolAnswer("file_path is required", is_error=True)
    assert typed == ToolAnswer("file_path: expected `str`, got `array`", is_error=True)


class NoParams(msgspec.Struct, frozen=True):
    """Nothing."""


class Broken(Builtin[NoParams]):
    """A tool with a mistake in it."""

    name = "view"  # for its description
    params = NoParams

    async def call(self, params: NoParams, context: ToolContext) -> ToolAnswer:
        await trio.lowlevel.checkpoint()
        raise KeyError(params, context.tool_call_id)


@pytest.mark.promise("C3")
async def test_a_broken_tool_breaks_only_its_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An error of any kind becomes an answer and is logged; a cancel passes."""
    with trio.fail_after(5):
        async with open_toolbox(tmp_path) as box:
            with caplog.at_level(logging.ERROR):
                answer = await Broken().run("{}", box.context)
            with trio.CancelScope() as scope:
                scope.cancel("test")
                await Broken().run("{}", box.context)
    assert answer == ToolAnswer("view failed: (NoParams(), 'call_1')", is_error=True)
    assert "tool view failed" in caplog.text
    assert scope.cancelled_caught
