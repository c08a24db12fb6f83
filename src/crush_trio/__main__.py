"""``python -m crush_trio``: the command line."""

from __future__ import annotations

from crush_trio.cli import main

if __name__ == "__main__":
    main()
