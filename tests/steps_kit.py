"""The steps of every story of the core world, as text; as a program it prints them."""

from __future__ import annotations

import sys
from pathlib import Path

from crush_trio.testing.place import make_place
from crush_trio.testing.scenarios import SCENARIOS
from crush_trio.testing.sweeping import baseline


def steps(root: Path, seed: int) -> str:
    """Return the names of the tasks in the order in which they ran, story by story."""
    place = make_place(root)
    found: list[str] = []
    for name, scenario in SCENARIOS.items():
        first = baseline(scenario, place, seed)
        found += [f"# {name}: {len(first.places)} steps", *first.trace]
    return "\n".join(found)


if __name__ == "__main__":
    print(steps(Path(sys.argv[1]), int(sys.argv[2])))  # noqa: T201
