"""Globs: what they match, as ripgrep reads them."""

from __future__ import annotations

import pytest

from crush_trio.errors import BadRequestError
from crush_trio.tools.globs import compile_glob, split_glob


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("*.py", "a.py d/e/a.py .py", "a.pyc d.py/e a.py/"),
        ("/*.py", "a.py", "d/a.py"),
        ("d/*.py", "d/a.py", "a.py x/d/a.py d/e/a.py"),
        ("**/a", "a d/a d/e/a", "ab a/b"),
        ("d/**", "d/a d/e/f", "d"),
        ("d/**/a", "d/a d/e/a d/e/f/a", "a da"),
        ("**", "a d/a", ""),
        ("a**b", "ab axb", "a/b"),
        ("?.[ch]", "a.c b.h d/a.c", "ab.c a.x"),
        ("[!a-c]", "d", "a b c"),
        ("[^a]b", "bb", "ab"),
        ("[]]", "]", "a"),
        ("x[!a]y", "xby", "x/y"),
        ("*.{ts,tsx}", "a.ts d/a.tsx", "a.t a.{ts,tsx}"),
        ("{a,b{c,d}}", "a bc bd", "b ac"),
        ("{a/b,c}", "a/b c", "x/a/b"),
        ("a,b", "a,b", "a b"),
        (r"\*", "*", "a"),
        (r"[a&&b]", "& a b", "c"),
        ("a.b+(c)", "a.b+(c)", "axb"),
        ("#a", "#a", "a"),
    ],
)
def test_a_glob_matches_whole_paths(glob: str, yes: str, no: str) -> None:
    """Without a slash at any depth, else from the root."""
    globs = compile_glob(glob)
    assert [path for path in yes.split() if not globs.matches(path, is_dir=False)] == []
    assert [path for path in no.split() if globs.matches(path, is_dir=False)] == []


def test_a_slash_at_the_end_means_directories() -> None:
    """And only them; without it both are meant."""
    assert compile_glob("d/").matches("x/d", is_dir=True)
    assert not compile_glob("d/").matches("x/d", is_dir=False)
    assert compile_glob("d").matches("x/d", is_dir=True)


def test_an_exclamation_mark_turns_it_round() -> None:
    """Whoever asks decides what that means."""
    globs = compile_glob("!*.py")
    assert globs.negative
    assert globs.matches("a.py", is_dir=False)


@pytest.mark.parametrize("glob", ["[a", "{a", "a\\", "[z-a]"])
def test_a_glob_that_makes_no_sense_is_refused(glob: str) -> None:
    """With its text."""
    with pytest.raises(BadRequestError, match="makes no sense"):
        compile_glob(glob)


def test_a_glob_of_years_is_given_up() -> None:
    """Each path has its bound."""
    globs = compile_glob("{a,aa,aaa}" * 40 + "b?")
    with pytest.raises(BadRequestError, match="too long"):
        globs.matches("a" * 60 + "bcd", is_dir=False)


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        ("*.py", ("", "*.py")),
        ("src/a/*.py", ("src/a", "*.py")),
        ("src/**/a/b", ("src", "**/a/b")),
        ("src/a.py", ("src", "a.py")),
        ("/p/*", ("/p", "*")),
        ("/*", ("/", "*")),
        ("/a", ("/", "a")),
        ("{a,b}/c", ("", "{a,b}/c")),
        ("d/", ("d", "")),
        ("../x/?", ("../x", "?")),
    ],
)
def test_the_literal_directories_are_split_off(pattern: str, parts: tuple[str, str]) -> None:
    """Agent contract 2.10: they are where the search begins."""
    assert split_glob(pattern) == parts
