"""The framework's settings, where its own defaults would break a promise."""

from __future__ import annotations

from quart_trio import QuartTrio

from crush_trio.server.body_limit import BodyLimit
from crush_trio.server.hosts import OneHost
from crush_trio.server.keepalive import KeepAliveFix
from crush_trio.server.paths import CleanPaths
from crush_trio.settings import Settings


def configure(app: QuartTrio, settings: Settings) -> None:
    """Set up ``app``. To be called before its routes are added."""
    app.config["RESPONSE_TIMEOUT"] = None  # 60 s would cut event streams and open prompts
    app.config["BODY_TIMEOUT"] = settings.body_timeout
    app.config["MAX_CONTENT_LENGTH"] = settings.body_bytes
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False  # a wrong method (wire contract 1.3)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.url_map.merge_slashes = False  # CleanPaths redirects, with the contract's status
    limited = BodyLimit(app.asgi_app, settings.body_bytes)
    app.asgi_app = KeepAliveFix(CleanPaths(OneHost(limited)))
