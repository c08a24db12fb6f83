"""The server as a whole: its parts, who owns whom, and how it stops.

Everything that the process holds is opened here, in nested ``with`` blocks whose reversed order is
the order of the end (wire contract 7.10): stop accepting; settle every run as cancelled, so that
its POST is answered; end the streams; close the workspaces; exit.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import trio

from crush_trio.addresses import TOKEN_VARIABLE, Address
from crush_trio.agent.home import EmbeddedModel
from crush_trio.config import Chosen, Endpoint
from crush_trio.config.projects import remember_project
from crush_trio.providers.anthropic import open_anthropic_provider
from crush_trio.providers.base import Provider
from crush_trio.providers.local import (
    LOCAL_CONTEXT_WINDOW,
    LOCAL_MAX_TOKENS,
    LOCAL_MODEL_ID,
    LOCAL_MODEL_NAME,
    LOCAL_PROVIDER_ID,
    open_local_model,
)
from crush_trio.providers.local_weights import default_cache_dir, weights_path
from crush_trio.providers.openai import open_openai_provider
from crush_trio.server.app import make_app
from crush_trio.server.doors import Doors, choose_doors
from crush_trio.server.identity import Identity, PretendedCrush, own_identity
from crush_trio.server.listen import serve
from crush_trio.server.options import ServeOptions
from crush_trio.server.watching import watching
from crush_trio.store import open_store
from crush_trio.wire.config import Model, SelectedModel
from crush_trio.workspaces import (
    Equipment,
    StateFile,
    WorkspaceHost,
    open_register,
    open_workspace_host,
)

logger = logging.getLogger(__name__)


def open_provider(endpoint: Endpoint) -> AbstractAsyncContextManager[Provider]:
    """Open the provider for a configured endpoint; all types but Anthropic's speak one protocol."""
    if endpoint.type == "anthropic":
        return open_anthropic_provider(
            name=endpoint.provider_id,
            base_url=endpoint.base_url,
            api_key=endpoint.api_key,
            headers=endpoint.headers,
            extra_body=endpoint.extra_body,
            cache=endpoint.cache_markers,
        )
    return open_openai_provider(
        name=endpoint.provider_id,
        base_url=endpoint.base_url,
        api_key=endpoint.api_key,
        headers=endpoint.headers,
        extra_body=endpoint.extra_body,
        replay_reasoning=endpoint.type != "openai",
    )


@asynccontextmanager
async def open_embedded_model() -> AsyncGenerator[EmbeddedModel]:
    """Open the embedded model; its process starts at the first use and ends with the block."""
    model = Model(
        id=LOCAL_MODEL_ID,
        name=LOCAL_MODEL_NAME,
        context_window=LOCAL_CONTEXT_WINDOW,
        default_max_tokens=LOCAL_MAX_TOKENS,
    )
    selected = SelectedModel(LOCAL_MODEL_ID, LOCAL_PROVIDER_ID)
    async with open_local_model(weights=weights_path(default_cache_dir())) as provider:
        yield EmbeddedModel(Chosen(selected, model, LOCAL_PROVIDER_ID), provider)


async def _remember(env: Mapping[str, str], directory: Path, data_dir: Path) -> None:
    await remember_project(env, directory, data_dir, time.time())


async def serve_forever(
    options: ServeOptions,
    *,
    task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until a signal or the idle exit. With ``nursery.start``, returns the address.

    The signals are SIGINT and SIGTERM, of which a second one leaves at once, without settling
    anything; and SIGHUP, unless it is ignored (``nohup``).

    Raises:
        AddressInUseError: somebody else listens at the address.
        ConfigError: listening there is not possible, or not safe.
    """
    stop = trio.Event()
    settings = options.settings
    doors = choose_doors(options)
    # Without the token, which a tool's sub-process could print (A2).
    env = {name: value for name, value in options.env.items() if name != TOKEN_VARIABLE}
    with trio.open_signal_receiver(*_ending_signals()) as signals:
        async with open_embedded_model() as embedded:
            with watching(asked=options.monitor) as observer:
                equipment = Equipment(
                    open_provider,
                    embedded,
                    settings,
                    observer=observer,
                    remember=partial(_remember, env),
                )
                async with (
                    open_register(_state_file(options), settings, equipment.now) as register,
                    open_workspace_host(equipment, open_store, env, register) as host,
                    trio.open_nursery() as nursery,
                ):
                    nursery.start_soon(_watch_signals, signals, stop)
                    if options.idle_exit is not None:
                        nursery.start_soon(_watch_idle, host, options.idle_exit, stop)
                    await _serve_host(host, options, doors, stop, task_status)
                    nursery.cancel_scope.cancel("the server has stopped")


def _state_file(options: ServeOptions) -> StateFile | None:
    """Return where the open workspaces are saved; nobody comes back to a port that is ever new."""
    address = options.address
    lasting = address.network == "unix" or address.port != 0
    return StateFile.at(address, options.env) if lasting else None


async def _identity(options: ServeOptions) -> Identity:
    """Return what the server says it is, once it is certain that it can.

    Raises:
        ConfigError: the program that it pretends to be is not there, or says no version.
    """
    if options.pretend_crush is None:
        return own_identity
    pretended = PretendedCrush(options.pretend_crush)
    await pretended()
    return pretended


async def _serve_host(
    host: WorkspaceHost,
    options: ServeOptions,
    doors: Doors,
    stop: trio.Event,
    task_status: trio.TaskStatus[Address],
) -> None:
    identity = await _identity(options)

    async def shutdown() -> None:
        host.begin_closing()
        await host.wait_closed()

    with ExitStack() as files:
        async with trio.open_nursery() as nursery:
            listening = partial(
                serve,
                doors.guard(make_app(host, options.settings, identity)),
                options.address,
                settings=options.settings,
                stop=stop,
                shutdown=shutdown,
                tls=None if doors.encryption is None else doors.encryption.context,
            )
            bound: Address = await nursery.start(listening)
            files.enter_context(doors.shown(bound))
            logger.info("listening at %s", bound)
            task_status.started(bound)


def _ending_signals() -> list[signal.Signals]:
    """Return the signals that end the server. A terminal that is closed is no crash."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM] + [signal.SIGHUP] * (not ignored)


async def _watch_signals(signals: AsyncIterator[int], stop: trio.Event) -> None:
    async for number in signals:
        if not stop.is_set():
            logger.info("%s: shutting down", signal.Signals(number).name)
            stop.set()
        elif number != signal.SIGHUP:  # that one comes from the terminal and from its shell
            logger.warning("a second signal: leaving at once")
            os._exit(128 + number)


async def _watch_idle(host: WorkspaceHost, linger: float, stop: trio.Event) -> None:
    await host.wait_idle(linger)
    logger.info("no workspace for %s s: shutting down", linger)
    host.begin_closing()  # in the same step: no create slips in
    stop.set()
