"""What holds for every test: how far Hypothesis searches, and where temporary files are.

Hypothesis draws the same examples in every run of the gate, and new ones on request.
"""

from __future__ import annotations

import os
import tempfile

from hypothesis import settings

ROOM = 30
"""Bytes of a temporary directory's path that leave room for a test's own part of the path of a unix
socket, which is short: 107 bytes on Linux, 103 on macOS."""

settings.register_profile("gate", derandomize=True, database=None, deadline=None)
settings.register_profile("search", max_examples=20_000, deadline=None, print_blob=True)
settings.load_profile("gate")

if len(tempfile.gettempdir()) > ROOM:
    os.environ["TMPDIR"] = tempfile.tempdir = "/tmp"
