"""What a server imports to start, by ``-X importtime``: which is most of its start-up.

The times are those of an interpreter that takes notes, so they are more than what a start costs.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from processes import HERE, Kind, environment, free_port
from sockets import Client
from table import Row

SHOWN = 8
"""Packages with a row of their own: those whose modules take most."""

_LINE = re.compile(r"^import time: +(\d+) \| +\d+ \| +([\w.]+)$", re.MULTILINE)


def measure(rounds: int) -> list[Row]:
    taken: dict[Kind, list[Counter[str]]] = {"ours": [], "bare": []}
    modules = Row("modules imported until the first healthy answer", "")
    total = Row("... all of them", "ms")
    for _ in range(min(rounds, 5)):
        for kind, samples in taken.items():
            found = _imported(kind)
            modules.add(kind, len(found))
            total.add(kind, sum(found.values()))
            samples.append(_by_package(found))
    packages = _medians(taken["ours"]).most_common(SHOWN)
    rows = [Row(f"... {name}", "ms") for name, _ in packages]
    for row, (name, _) in zip(rows, packages, strict=True):
        for kind, samples in taken.items():
            for sample in samples:
                row.add(kind, sample[name])
    return [modules, total, *rows]


def _imported(kind: Kind) -> Counter[str]:
    """Start a server; return the seconds that each of its modules took by itself."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        command = [sys.executable, "-X", "importtime"]
        if kind == "bare":
            command += [str(HERE / "bare.py"), str(port), "1"]
        else:
            address = f"tcp://127.0.0.1:{port}"
            command += ["-m", "crush_trio", "serve", "--host", address, "--no-token"]
        log = Path(home) / "log"
        with log.open("wb") as errors:
            running = subprocess.Popen(command, stderr=errors, env=environment(Path(home)))
            try:
                with Client.patient(port, lambda: None) as client:
                    assert client.ask("GET", "/v1/health")[0] == 200
            finally:
                running.terminate()
                running.wait(20)
        text = log.read_text("utf-8", "replace")
    return Counter({name: int(micros) / 1e6 for micros, name in _LINE.findall(text)})


def _by_package(found: Counter[str]) -> Counter[str]:
    packages: Counter[str] = Counter()
    for name, seconds in found.items():
        top = name.partition(".")[0].lstrip("_")
        packages["the standard library" if top in sys.stdlib_module_names else top] += seconds
    return packages


def _medians(samples: list[Counter[str]]) -> Counter[str]:
    return Counter(
        {name: statistics.median(sample[name] for sample in samples) for name in samples[0]}
    )
