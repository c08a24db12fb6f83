"""Edits of texts: where they apply, how loosely, and what a model is told if they do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crush_trio.tools.edits import NOT_FOUND, Edit, EditError, find
from crush_trio.tools.hints import MOST_PAIRS
from crush_trio.tools.line_ends import apply_edit, shown

PYTHON = "class A:\n    def f(self):\n        return  1\n\n    def g(self):\n        return 2\n"


def edited(text: str, old: str, new: str, *, everywhere: bool = False) -> str:
    """Return the text after an edit."""
    return find(text, Edit(old, new, everywhere)).apply(text)


def refusal(text: str, old: str) -> str:
    """Return what a model is told of a text that cannot be replaced."""
    with pytest.raises(EditError) as caught:
        find(text, Edit(old, "x"))
    return caught.value.text


def test_text_that_stands_there_once_is_replaced() -> None:
    """Agent contract 2.8: exactly one occurrence, wherever in a line it is."""
    assert edited("one two three", "two", "2") == "one 2 three"
    assert edited("one two three", " two", "") == "one three"


def test_every_occurrence_is_replaced_if_asked_for() -> None:
    """Also if there is only one; occurrences do not overlap, and what is put there is not searched."""
    assert edited("aXbXc", "X", "XX", everywhere=True) == "aXXbXXc"
    assert edited("aaa", "aa", "b", everywhere=True) == "ba"
    assert edited("abc", "b", "", everywhere=True) == "ac"


def test_several_occurrences_are_refused_unless_all_are_meant() -> None:
    """The model is told how many there are and what it can do."""
    assert "appears 2 times" in refusal("a b a", "a")
    assert "replace_all" in refusal("a b a", "a")


def test_whole_lines_are_found_up_to_whitespace_and_keep_their_indentation() -> None:
    """Two blanks inside of a line, and none in front of it: the place is clear nevertheless."""
    found = find(
        PYTHON, Edit("def f(self):\n    return 1", "def f(self):\n    x = 1\n\n    return x")
    )
    assert found.loosely
    assert found.apply(PYTHON).startswith(
        "class A:\n    def f(self):\n        x = 1\n\n        return x\n\n    def g"
    )


def test_new_text_is_indented_with_the_unit_of_its_place() -> None:
    """Tabs for blanks and the other way round, and levels of other widths."""
    tabs = "if a:\n\tif b:\n\t\tf( 1 )\n"
    assert edited(tabs, "  if b:\n    f( 1 )", "  if b:\n    if c:\n      f(2)") == (
        "if a:\n\tif b:\n\t\tif c:\n\t\t\tf(2)\n"
    )
    blanks = "if a:\n    if b:\n        f( 1 )\n"
    assert edited(blanks, "\tif b:\n\t\tf( 1 )\n", "\tf(2)\n") == "if a:\n    f(2)\n"
    assert edited(blanks, "if b:\n  f( 1 )\n", "if b:\n  g()\n  h()\n") == (
        "if a:\n    if b:\n        g()\n        h()\n"
    )


def test_where_the_indentation_is_right_it_is_not_touched() -> None:
    """Only blanks inside of a line were different: the new text goes in as it is."""
    text = "/**\n * Doc.\n */\nfn f() {\n    let  a = 1;\n}\n"
    new = "    let a = 1;\n      let b = 2;"
    assert edited(text, "    let a = 1;", new) == text.replace("    let  a = 1;", new)


def test_line_feeds_at_the_end_of_the_old_text_belong_to_it() -> None:
    """So that deleting a line leaves no empty one, exactly as without the looseness."""
    assert edited("a\nb  c\nd\n", "b c\n", "") == "a\nd\n"
    assert edited("a\nb  c\nd\n", "b c", "") == "a\n\nd\n"
    assert NOT_FOUND in refusal("a\nb  c", "b c\n")


def test_loosely_only_whole_lines_count() -> None:
    """A part of a line is found exactly or not at all; nothing but white space is never found."""
    assert NOT_FOUND in refusal("xa  b\n", "a b")
    assert NOT_FOUND in refusal("a\n\nb\n", " \n ")


def test_several_loose_places_are_refused_unless_all_are_meant() -> None:
    """The first is shown with its white space made visible."""
    text = "  a  b\nx\n\ta  b\n"
    assert refusal(text, "a b").endswith("at 2 places; the first is:\n     1|··a  b")
    assert edited(text, "a b", "c", everywhere=True) == "  c\nx\n\tc\n"


def test_text_that_is_nearly_there_is_shown() -> None:
    """The window with the most equal lines, from a half on, and a line on each side."""
    text = "zero\none\n\ttwo\nthree\nfour\n"
    assert refusal(text, "one\ntwo!\nthree") == (
        f"{NOT_FOUND}.\nThe closest text is in lines 2-4 (2/3 lines match):\n"
        "     1|zero\n     2|one\n     3|→two\n     4|three\n     5|four"
    )
    assert refusal(text, "nothing") == NOT_FOUND
    assert refusal(text, "one\nX\nY") == NOT_FOUND
    assert "in lines 4-5 (1/2" in refusal("x\n\na\nb\nc", "b\nd")


def test_no_closest_place_is_looked_for_where_it_would_take_seconds() -> None:
    """The same line again and again on both sides; the model gets the plain refusal."""
    lines = int(MOST_PAIRS**0.5) + 1
    assert refusal("a\n" * lines, "a\n" * lines + "b") == NOT_FOUND


def test_lines_keep_their_ends() -> None:
    """Agent contract 2.3: edits see line feeds; the file keeps its carriage returns."""
    assert apply_edit("a\r\nb\r\nc\r\n", Edit("a\nb", "A\nx\nb")) == ("A\r\nx\r\nb\r\nc\r\n", False)
    assert apply_edit("a\r\nb\r\n", Edit("a\r\nb\r\n", "a\r\n")) == ("a\r\n", False)
    assert apply_edit("a\nb\n", Edit("b", "b\r\n")) == ("a\nb\r\n\n", False)


def test_lines_that_are_not_edited_keep_ends_that_others_do_not_have() -> None:
    """A file of two kinds is not made one of one kind; new lines are like most."""
    mixed = "a\r\nb\nc\r\nd\r\n"
    assert apply_edit(mixed, Edit("c", "C\nD"))[0] == "a\r\nb\nC\r\nD\r\nd\r\n"
    assert apply_edit(mixed, Edit("b\nc\n", ""))[0] == "a\r\nd\r\n"
    assert apply_edit("a\r\nb\nc\nd  e\n", Edit("d e", "x\ny"))[0] == "a\r\nb\nc\nx\ny\n"


LINES = st.text(alphabet="ab \t\n", max_size=30)


@given(LINES, LINES.filter(bool), LINES, st.booleans())
def test_line_ends_change_nothing_that_is_shown(
    text: str, old: str, new: str, everywhere: bool
) -> None:
    """An edit of a file with carriage returns shows what the same edit shows without them."""
    edit = Edit(old, new, everywhere)
    raw = text.replace("\n", "\r\n")
    plain, after = outcome(text, edit), outcome(raw, edit)
    assert shown(after) == plain
    if plain.count("\n") and after != plain:
        assert after.count("\n") == after.count("\r\n")


def outcome(text: str, edit: Edit) -> str:
    """Return the text after an edit, or what a model is told."""
    try:
        return apply_edit(text, edit)[0]
    except EditError as error:
        return error.text


@given(LINES, LINES.filter(bool), LINES)
def test_whoever_replaces_everything_replaces_what_python_does(
    text: str, old: str, new: str
) -> None:
    """Exact matches are those of ``str.replace``."""
    if old in text:
        assert edited(text, old, new, everywhere=True) == text.replace(old, new)
