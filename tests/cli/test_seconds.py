"""Life times that the environment gives a server (wire contract 7.1)."""

from __future__ import annotations

import pytest

from crush_trio.cli.seconds import IDLE_VARIABLE, settings_of, whole_seconds
from crush_trio.settings import Settings


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("90", 90),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("60s", None),
        ("soon", None),
        ("\u0661", None),
        ("9" * 5000, None),
    ],
)
def test_only_whole_seconds_count(text: str, seconds: int | None) -> None:
    """Anything else means the default, as with Crush."""
    assert whole_seconds({IDLE_VARIABLE: text}, IDLE_VARIABLE) == seconds


def test_a_claim_outlives_its_last_stream_as_long_as_the_environment_says() -> None:
    """Not at all, if it says so."""
    assert settings_of({"CRUSH_SERVER_DETACH_GRACE": "0"}).detach_grace == 0
    assert settings_of({"CRUSH_SERVER_DETACH_GRACE": "25"}).detach_grace == 25
    assert settings_of({"CRUSH_SERVER_DETACH_GRACE": "soon"}) == Settings()
    assert settings_of({}) == Settings()
