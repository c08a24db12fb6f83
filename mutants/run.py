"""Plant each fault, and demand that the tests mapped to it find it.

    python mutants/run.py [NAME ...] [--jobs 2]

Every mutant gets a copy of ``src`` of its own and a pytest with its mapped tests only. The session
fails if one survives, no longer applies or does not import, and if one that only the sweep can find
is found by the tests that it must survive, or not by the sweep.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import attrs
import trio

from patches import ROOT, Mutant, PatchError, all_mutants
from witness import MODULES, REPORT, SWEEP

LIMIT = 180.0
"""Seconds that one mutant may take; one that hangs the tests beyond that counts as an error."""

FAILED = 1
"""pytest's exit status when tests have failed."""


@attrs.define
class Verdict:
    """What became of a mutant."""

    mutant: Mutant
    killed: bool = False
    by: str = ""
    why: str = ""
    error: str = ""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return self.killed and not self.error


async def judge(mutant: Mutant) -> Verdict:
    """Plant one fault and run what must find it."""
    verdict, began = Verdict(mutant), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutant-") as scratch:
        place = Path(scratch)
        shutil.copytree(ROOT / "src", place / "src", ignore=shutil.ignore_patterns("__pycache__"))
        try:
            mutant.apply(place)
            with trio.fail_after(LIMIT):
                await (_sweep if mutant.sweep else _test)(verdict, place)
        except PatchError as error:
            verdict.error = str(error)
        except trio.TooSlowError:
            verdict.error = f"it took longer than {LIMIT:.0f} s"
    verdict.seconds = time.monotonic() - began
    return verdict


async def _pytest(
    verdict: Verdict, place: Path, *arguments: str, env: dict[str, str] | None = None
) -> tuple[int, dict[str, str], str]:
    """Run pytest over a mutant; return its status, who failed first, and what it said."""
    report = place / "report.json"
    environ = {
        **os.environ,
        **(env or {}),
        "PYTHONPATH": f"{place / 'src'}:{ROOT / 'mutants'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        MODULES: " ".join(verdict.mutant.modules),
        REPORT: str(report),
    }
    options = ["-x", "-q", "-p", "witness", "-p", "no:cacheprovider", f"--basetemp={place / 't'}"]
    done = await trio.run_process(
        [sys.executable, "-m", "pytest", *options, *arguments],
        cwd=ROOT,
        env=environ,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    said = (done.stdout + done.stderr).decode(errors="replace")
    failed: dict[str, str] = json.loads(report.read_text()) if report.exists() else {}
    return done.returncode, failed, said


async def _test(verdict: Verdict, place: Path) -> None:
    """Demand that a mapped test fails, and not something before it."""
    status, failed, said = await _pytest(verdict, place, *verdict.mutant.tests)
    if status == FAILED and failed.get("when") in {"call", "teardown"}:
        verdict.killed = True
        verdict.by, verdict.why = failed["test"], failed["why"]
    elif status == 0:
        verdict.error = "it survives"
    else:
        verdict.error = f"pytest ended with {status}: {said[-600:]}"


async def _sweep(verdict: Verdict, place: Path) -> None:
    """Demand that the ordinary tests pass, and that the sweep of a scenario finds the fault."""
    mutant = verdict.mutant
    status, failed, said = await _pytest(verdict, place, *mutant.survives)
    if status != 0:
        verdict.error = f"an ordinary test finds it: {failed.get('test', said[-600:])}"
        return
    swept = {SWEEP: " / ".join(mutant.sweep)}
    status, failed, said = await _pytest(verdict, place, "mutants/sweep_one.py", env=swept)
    if status == FAILED and failed.get("when") == "call":
        verdict.killed, verdict.by = True, f"sweep of {' / '.join(mutant.sweep)}"
        verdict.why = failed["why"]
    else:
        verdict.error = "it survives the sweep" if status == 0 else said[-600:]


async def judge_all(mutants: list[Mutant], jobs: int) -> list[Verdict]:
    """Judge mutants side by side; print each verdict as it comes."""
    verdicts: list[Verdict] = []
    limiter = trio.CapacityLimiter(jobs)

    async def one(mutant: Mutant) -> None:
        async with limiter:
            verdict = await judge(mutant)
        verdicts.append(verdict)
        print(_row(verdict), flush=True)

    async with trio.open_nursery() as nursery:
        for mutant in mutants:
            nursery.start_soon(one, mutant)
    return verdicts


def _row(verdict: Verdict) -> str:
    mutant = verdict.mutant
    head = f"{'killed' if verdict.good else 'ERROR':<7}{mutant.name:<38}"
    head += f"{','.join(mutant.promises):<9}{verdict.seconds:5.1f} s  "
    if not verdict.good:
        return head + verdict.error
    test = verdict.by.rpartition("::")[2] if "::" in verdict.by else verdict.by
    return head + f"{test}: {verdict.why}"[:200].replace("\n", " ")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="only these")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    mutants = all_mutants()
    if unknown := set(options.names) - {mutant.name for mutant in mutants}:
        parser.error(f"there is no mutant {', '.join(sorted(unknown))}")
    chosen = [mutant for mutant in mutants if not options.names or mutant.name in options.names]
    began = time.monotonic()
    verdicts = trio.run(judge_all, chosen, options.jobs)
    bad = [verdict for verdict in verdicts if not verdict.good]
    swept = sum(bool(verdict.mutant.sweep) for verdict in verdicts if verdict.good)
    seconds = time.monotonic() - began
    print(
        f"{len(verdicts) - len(bad)} of {len(verdicts)} mutants killed, "
        f"{swept} of them by the sweep alone, in {seconds:.0f} s"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
