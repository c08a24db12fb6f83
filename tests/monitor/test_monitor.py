"""What a monitor does with what it finds, and what it forgets."""

from __future__ import annotations

import pytest

from crush_trio.monitor import Monitor, Violation
from crush_trio.monitor.ledger import KEPT, RECENT
from story_kit import FINISH, Reader, Story


def test_a_violation_is_reported_with_what_happened_before() -> None:
    """At once, and with ids only: nobody's text is in it (A2)."""
    reports: list[tuple[Violation, list[str]]] = []
    story = Story(Monitor(lambda violation, recent: reports.append((violation, list(recent)))))
    story.begin()
    for number in range(2 * RECENT):
        story.snapshot("m", f"secret {number}")
    story.begin("second")
    violation, recent = reports[-1]
    assert violation.promise == "R12"
    assert "second" in str(violation)
    assert len(recent) == RECENT
    assert "secret" not in "".join(recent) + str(violation)


def test_what_is_kept_is_bounded() -> None:
    """A defect that shows all the time fills no memory; the number goes on."""
    story = Story()
    run = story.begin()
    story.end(run)
    for _ in range(2 * KEPT):
        story.monitor.settled(run)
    assert story.monitor.count == 2 * KEPT
    assert len(story.monitor.violations) == KEPT


def test_what_has_settled_is_forgotten() -> None:
    """A program that runs for ever: nothing grows with the runs that are over."""
    story = Story()
    for number in range(3000):
        run = story.begin(f"r{number}")
        story.say(f"m{number}", FINISH)
        story.say(f"n{number}", FINISH)
        story.end(run, message_id=f"m{number}")
    assert story.monitor.violations == ()
    assert len(story.monitor._runs._open) == len(story.monitor._runs._lanes) == 0
    assert len(story.monitor._runs._settled) == 1024
    voice = story.monitor._messages._voices[story.hub]
    assert (len(voice.said), len(voice.of_run), len(voice.over)) == (0, 0, 4096)
    assert len(story.monitor._streams._logs[story.hub].events) == 4096


def test_an_error_of_the_monitor_stays_in_it(caplog: pytest.LogCaptureFixture) -> None:
    """What it watches goes on; the first error is logged, and all are counted."""
    monitor = Monitor()
    monitor.delivered(Reader(), 1, b"")
    for _ in range(2):
        monitor.settled(object())  # pyright: ignore[reportArgumentType]
    assert monitor.faults == 2
    assert len(caplog.records) == 1
