"""The stories that are swept over the network, as plain data."""

from __future__ import annotations

from collections.abc import Mapping

from crush_trio.providers.scripted import Call, Hang, Say, Think, failing
from crush_trio.testing.network_story import Story
from crush_trio.tools.scripted import Script

_ALL = (
    Story(
        "a prompt",
        [(0.0, "hello")],
        {"hello": [[Think("hm"), Say("one two three", pause=0.3)]]},
    ),
    Story(
        "a queue",
        [(0.0, "first"), (0.2, "second")],
        {"first": [[Say("one two", pause=0.5)]]},
    ),
    Story(
        "a tool that asks",
        [(0.0, "build")],
        {"build": [[Say("I build."), Call("bash", {"command": "make", "description": "b"})], "Ok"]},
        commands={"make": Script(stdout="done\n", seconds=2)},
    ),
    Story(
        "a provider that fails",
        [(0.0, "try")],
        {
            "try": [
                failing("overloaded"),
                [Say("Half"), failing("in_stream", "lost", retryable=True)],
                "Whole.",
            ]
        },
    ),
    Story(
        "a cancel",
        [(0.0, "hang"), (0.2, "wait")],
        {"hang": [[Say("I begin", pause=0.2), Hang()]]},
        cancel_after=1.0,
    ),
)

STORIES: Mapping[str, Story] = {story.name: story for story in _ALL}
"""Every story by its name."""
