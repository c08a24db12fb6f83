"""A plugin for the pytest of one mutant: it imports what was changed, and writes down who failed.

Given to pytest by ``-p witness``; the environment says which modules, where to write, and what to sweep.
"""

from __future__ import annotations

import importlib
import json
import os
import re
from pathlib import Path

import pytest

MODULES, REPORT, SWEEP = "MUTANT_MODULES", "MUTANT_REPORT", "MUTANT_SWEEP"

_SEEN = re.compile(r"the monitor saw[\s|>E]+([A-Z]\d+): ([^\n(]*)")
_ERROR = re.compile(
    r"^[\sE|+-]*((?:[a-zA-Z_]\w*\.)*[A-Z]\w*(?:Error|Failed|Channel|Group)\b.*)$", re.MULTILINE
)
"""The line of a traceback that says what was raised, also in a group; the innermost is the last."""


def pytest_configure() -> None:
    """Import the changed modules, so that a mutant that cannot be is told from one that is killed."""
    for name in filter(None, os.environ[MODULES].split()):
        try:
            importlib.import_module(name)
        except Exception as error:
            raise pytest.UsageError(f"mutant does not import: {name}: {error!r}") from error


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note the first failure: which test, and what it said."""
    path = Path(os.environ[REPORT])
    if not report.failed or path.exists():
        return
    text = report.longreprtext
    seen = _SEEN.search(text)
    raised = [line for line in _ERROR.findall(text) if "Group" not in line]
    why = f"monitor {seen[1]}: {seen[2]}" if seen else raised[-1] if raised else text[-200:]
    path.write_text(json.dumps({"test": report.nodeid, "when": report.when, "why": why}))
