"""Serving a scripted model until a signal comes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import trio

from crush_trio.errors import ConfigError
from crush_trio.providers.scripted import ScriptedModel
from crush_trio.server.model_script import open_model_server


async def play(model: ScriptedModel, port: int, tell: Callable[[str], object]) -> None:
    """Serve a model on loopback until SIGINT or SIGTERM.

    Args:
        model: What answers.
        port: Where it listens; 0 for any.
        tell: Given the base URL, once requests are taken.

    Raises:
        ConfigError: it cannot listen at the port.
    """
    try:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with open_model_server(model, port=port) as base_url:
                tell(base_url)
                await anext(signals)
    except* OSError as group:
        reason = os.strerror(_first(group).errno or 0).lower()
        raise ConfigError(
            f"cannot listen at 127.0.0.1:{port}: {reason}; choose another port"
        ) from group


def _first(group: BaseExceptionGroup[OSError]) -> OSError:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, OSError)
    return error
