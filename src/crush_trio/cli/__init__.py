"""The command line. Apart from ``serve`` and ``models`` it knows nothing but the client.

The modules in ``commands`` are the surface: options and help, one command each, quick to import.
What a command does is in the modules beside it, imported when the command runs.
"""

from __future__ import annotations

from crush_trio.cli.app import main

__all__ = ["main"]
