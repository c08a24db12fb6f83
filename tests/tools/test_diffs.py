"""Unified diffs."""

from __future__ import annotations

import pytest

from crush_trio.tools.diffs import Diff, unified_diff

HEAD = "--- a/f\n+++ b/f\n"


@pytest.mark.parametrize(
    ("old", "new", "diff"),
    [
        ("", "", Diff("", 0, 0)),
        ("a\n", "a\n", Diff("", 0, 0)),
        ("", "a\nb\n", Diff(f"{HEAD}@@ -0,0 +1,2 @@\n+a\n+b\n", 2, 0)),
        ("", "a", Diff(f"{HEAD}@@ -0,0 +1 @@\n+a\n\\ No newline at end of file\n", 1, 0)),
        (
            "a\nb",
            "a\nb\n",
            Diff(f"{HEAD}@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n", 1, 1),
        ),
        ("--\n++\n", "", Diff(f"{HEAD}@@ -1,2 +0,0 @@\n---\n-++\n", 0, 2)),
        ("a\x0cb\n", "a\x0cc\n", Diff(f"{HEAD}@@ -1 +1 @@\n-a\x0cb\n+a\x0cc\n", 1, 1)),
    ],
)
def test_a_diff_is_as_clients_draw_it(old: str, new: str, diff: Diff) -> None:
    """Counted are changed lines, whatever they begin with; only a line feed ends a line."""
    assert unified_diff(old, new, name="f") == diff
