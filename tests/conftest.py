"""How far Hypothesis searches: the same examples in every run of the gate, new ones on request."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("gate", derandomize=True, database=None, deadline=None)
settings.register_profile("search", max_examples=20_000, deadline=None, print_blob=True)
settings.load_profile("gate")
