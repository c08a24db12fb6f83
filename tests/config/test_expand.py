"""Expansion of variables in configured values (agent contract 3.11)."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crush_trio.config.expand import MAX_DEPTH, SHOWN_BYTES, expand
from crush_trio.errors import ConfigError

ENV = {"KEY": "s3cret", "OTHER": "o", "EMPTY": "", "_1": "under"}


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("", ""),
        ("plain", "plain"),
        ("$KEY", "s3cret"),
        ("${KEY}", "s3cret"),
        ("Bearer $KEY!", "Bearer s3cret!"),
        ("$KEY$OTHER", "s3creto"),
        ("${KEY}2", "s3cret2"),
        ("$KEY2", ""),
        ("$_1", "under"),
        ("$UNSET", ""),
        ("a${UNSET}b", "ab"),
        ("${UNSET:-x}", "x"),
        ("${EMPTY:-x}", "x"),
        ("${EMPTY-x}", ""),
        ("${UNSET-x}", "x"),
        ("${KEY:-x}", "s3cret"),
        ("${KEY:+x}", "x"),
        ("${EMPTY:+x}", ""),
        ("${EMPTY+x}", "x"),
        ("${UNSET+x}", ""),
        ("${KEY:?must be set}", "s3cret"),
        ("${EMPTY?must be set}", ""),
        ("${UNSET:-}", ""),
        ("${UNSET:-a b}c", "a bc"),
        ("${UNSET:-$OTHER}", "o"),
        ("${UNSET:-${EMPTY:-${OTHER}}}", "o"),
        ("${KEY:-${UNSET:?never asked}}", "s3cret"),
        ("${UNSET:+${UNSET:?never asked}}x", "x"),
        (r"${UNSET:-\}}", "}"),
        ("${UNSET:-{}", "{"),
        (r"\$KEY", "$KEY"),
        (r"\\$OTHER", "\\o"),
        (r"\`", "`"),
        (r"\n\}", r"\n\}"),
        ("end\\", "end\\"),
        ("100$", "100$"),
        ("a $ b", "a $ b"),
        ("$.", "$."),
        ("}", "}"),
        ("*?~", "*?~"),
    ],
)
def test_a_template_expands_like_a_here_document(template: str, value: str) -> None:
    """Each form gives what a shell would give, without globbing and splitting."""
    assert expand(template, ENV) == value


@pytest.mark.parametrize(
    ("template", "shown", "why"),
    [
        ("$", "'$'", "lone dollar sign"),
        ("sk-abc-$(pass show key)-x", "'$(pass show key)'", "command"),
        ("sk-abc-$(pass", "'$('", "command"),
        ("sk-abc-`pass`-x", "'`pass`'", "command"),
        ("${UNSET:-$(pass)}", "'$(pass)'", "command"),
        ("sk-abc-${UNSET:?set it first}-x", "'${UNSET:?set it first}'", ": set it first"),
        ("${EMPTY:?}", "'${EMPTY:?}'", "EMPTY is not set"),
        ("${UNSET?$KEY}", "'${UNSET?$KEY}'", ": $KEY"),
        ("sk-${KEY-abc", "'${'", "not followed by '}'"),
        ("sk-${KEY!x}", "'${'", "not followed by '}'"),
        ("${}", "'${'", "not followed by a name"),
        ("${1}", "'${'", "not followed by a name"),
        ("sk-$5abc", "'$5'", r"write \$"),
        ("sk-$$abc", "'$$'", r"write \$"),
        ("${A:-" * (MAX_DEPTH + 1), "'${'", "deep"),
        ("${UNSET:?\x1b[31m}", "'${UNSET:?\N{REPLACEMENT CHARACTER}[31m}'", "cannot expand"),
    ],
)
@pytest.mark.promise("A2")
def test_an_error_shows_the_part_that_failed_and_no_value(
    template: str, shown: str, why: str
) -> None:
    """The text has the failing part of the template; neither a value nor the text around it."""
    with pytest.raises(ConfigError) as caught:
        expand(template, ENV)
    text = str(caught.value)
    assert shown in text
    assert why in text
    assert "s3cret" not in text
    assert "sk-" not in text


def test_a_long_template_is_cut_in_an_error() -> None:
    """An error stays readable, whatever somebody wrote."""
    with pytest.raises(ConfigError) as caught:
        expand("${UNSET:?" + "é" * 2000 + "}", {})
    shown = str(caught.value).split("'")[1]
    assert len(shown.encode()) <= SHOWN_BYTES


@given(st.text(st.characters(exclude_characters="$\\`")))
def test_text_without_special_characters_is_unchanged(text: str) -> None:
    """Only dollar signs, backslashes and backquotes mean anything."""
    assert expand(text, ENV) == text


@given(st.text())
def test_escaped_text_is_its_own_value(text: str) -> None:
    """Whatever a value is, it can be written as a template."""
    escaped = "".join(f"\\{char}" if char in "$\\`" else char for char in text)
    assert expand(escaped, ENV) == text


@given(st.text("$\\`{}:-+?()A1 ", max_size=20), st.text(max_size=5))
def test_any_template_gives_a_value_or_a_config_error(template: str, value: str) -> None:
    """No template breaks the scanner."""
    with suppress(ConfigError):
        assert isinstance(expand(template, {"A": value}), str)
