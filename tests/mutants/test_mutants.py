"""The mutants as files: each applies, names what is there, and every promise has one."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest
import trio

from crush_trio.testing.disturbances import DISTURBANCES
from crush_trio.testing.scenarios import SCENARIOS
from limits_kit import PROCESS_LIMIT
from patches import ROOT, Mutant, PatchError, all_mutants, parse
from run import judge
from test_promises import MANIFEST, all_named, manifest

MUTANTS = all_mutants()

LISTED = {
    "terminal-event-before-the-last-message",
    "event-dropped-when-a-reader-lags",
    "cancel-lost-between-accept-and-start",
    "cancel-hits-a-later-prompt",
    "no-tool-result-after-a-cancel",
    "queue-stuck-after-an-error",
    "two-terminal-events",
    "wrong-callers-answer",
    "start-before-the-last-has-unwound",
    "remembered-though-it-lost",
    "orphaned-process",
    "unclean-stream-end",
    "publish-after-the-await",
}
"""Faults that other servers of this kind have had."""


def by_name(mutant: Mutant) -> str:
    """Name a case after its mutant."""
    return mutant.name


@pytest.fixture(name="carried", scope="module")
def _carried() -> dict[str, set[str]]:
    """The promises that each test carries, by the node id of its function."""
    found: dict[str, set[str]] = {}
    for promise, tests in all_named().items():
        for test in tests:
            found.setdefault(f"tests/{test}", set()).add(promise)
    return found


@pytest.mark.parametrize("mutant", MUTANTS, ids=by_name)
def test_a_mutant_applies_and_is_still_a_program(mutant: Mutant, tmp_path: Path) -> None:
    """To the source as it is now: one that does not would prove nothing."""
    for hunk in mutant.hunks:
        (tmp_path / hunk.file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / hunk.file, tmp_path / hunk.file)
    mutant.apply(tmp_path)
    for hunk in mutant.hunks:
        changed = (tmp_path / hunk.file).read_text("utf-8")
        assert changed != (ROOT / hunk.file).read_text("utf-8")
        ast.parse(changed)


@pytest.mark.parametrize("mutant", MUTANTS, ids=by_name)
def test_a_mutant_is_mapped_to_tests_that_carry_its_promises(
    mutant: Mutant, carried: dict[str, set[str]]
) -> None:
    """So that whichever of them finds it has kept the promise. Or to a sweep that there is."""
    for test in mutant.tests:
        whole = carried.get(f"{test.partition('::')[0]}::the whole file", set())
        assert set(mutant.promises) <= carried.get(test.partition("[")[0], set()) | whole, test
    for test in mutant.survives:
        assert (ROOT / test.removeprefix("--deselect=").partition("::")[0]).exists()
    if mutant.sweep:
        scenario, disturbance = mutant.sweep
        assert scenario in SCENARIOS
        assert disturbance in DISTURBANCES


def test_every_promise_has_a_mutant_that_a_test_of_it_finds() -> None:
    """A promise whose tests find nothing would be kept by nobody."""
    listed, _ = manifest(MANIFEST.read_text("utf-8"))
    broken = {promise for mutant in MUTANTS if mutant.tests for promise in mutant.promises}
    assert set(listed) - broken == set()
    assert {promise for mutant in MUTANTS for promise in mutant.promises} <= set(listed)


def test_there_are_enough_of_every_kind() -> None:
    """The faults that others have had, and some that only an interleaving shows."""
    names = {mutant.name for mutant in MUTANTS}
    assert names >= LISTED
    assert len(names) >= 50
    assert sum(bool(mutant.sweep) for mutant in MUTANTS) >= 4


DIFF = """\
--- a/src/x.py
+++ b/src/x.py
@@ -1,2 +1,2 @@
 def f():
-    return 1
+    return 2
"""
HEAD = "# fault: wrong\n# promises: R1 R2\n"


def test_a_patch_is_read_as_it_is_written(tmp_path: Path) -> None:
    """Its header, its hunks, and the modules that it changes; it is found by its lines."""
    mutant = parse("x", f"{HEAD}# tests: a b\n{DIFF}")
    assert (mutant.fault, mutant.promises, mutant.tests) == ("wrong", ("R1", "R2"), ("a", "b"))
    assert mutant.modules == ["x"]
    (tmp_path / "src").mkdir()
    (tmp_path / "src/x.py").write_text("# more\n\ndef f():\n    return 1\n")
    mutant.apply(tmp_path)
    assert (tmp_path / "src/x.py").read_text() == "# more\n\ndef f():\n    return 2\n"
    with pytest.raises(PatchError, match="has these lines 0 times"):
        mutant.apply(tmp_path)


def test_a_sweep_is_a_scenario_and_a_disturbance() -> None:
    """Both may be several words."""
    mutant = parse("x", f"{HEAD}# sweep: a run / a kill\n# survives: t\n{DIFF}")
    assert mutant.sweep == ("a run", "a kill")


@pytest.mark.parametrize(
    "text",
    [
        f"{HEAD}{DIFF}",
        f"{HEAD}# tests: a\n# sweep: b / c\n# survives: d\n{DIFF}",
        f"{HEAD}# sweep: b / c\n{DIFF}",
        f"{HEAD}# tests: a\n",
        f"# fault: x\n# tests: a\n{DIFF}",
        f"{HEAD}# by: a\n{DIFF}",
        f"{HEAD}# tests: a\n{DIFF}?",
    ],
)
def test_a_patch_that_makes_no_sense_is_refused(text: str) -> None:
    """By name, before anything is run."""
    with pytest.raises(PatchError, match=r"^x: "):
        parse("x", text)


HARMLESS = """\
--- a/src/crush_trio/runs/results.py
+++ b/src/crush_trio/runs/results.py
@@ -0,0 +1,1 @@
-        oldest = trio.current_time() - self._kept
+        oldest = -self._kept + trio.current_time()
"""
RESULTS = "tests/runs/test_results.py::test_an_ending_is_known_for_ten_minutes"


async def test_the_session_tells_who_found_a_fault_and_which_survives() -> None:
    """In a pytest of its own, over a copy of the source."""
    fault = next(mutant for mutant in MUTANTS if mutant.name == "ending-is-not-kept")
    harmless = parse("x", f"# fault: none\n# promises: R16\n# tests: {RESULTS}\n{HARMLESS}")
    with trio.fail_after(PROCESS_LIMIT):
        killed, survivor = await judge(fault), await judge(harmless)
    assert (killed.good, killed.by, killed.error) == (True, RESULTS, "")
    assert "AssertionError" in killed.why
    assert (survivor.good, survivor.error) == (False, "it survives")


async def test_a_mutant_that_does_not_import_is_an_error() -> None:
    """And no kill, whatever the tests say then."""
    outside = HARMLESS.replace(
        "        oldest = -self._kept + trio.current_time()", "import nowhere"
    )
    unimportable = parse("x", f"# fault: none\n# promises: R16\n# tests: {RESULTS}\n{outside}")
    with trio.fail_after(PROCESS_LIMIT):
        verdict = await judge(unimportable)
    assert not verdict.good
    assert "mutant does not import" in verdict.error
