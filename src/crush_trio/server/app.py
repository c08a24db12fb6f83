"""The application: the framework with our routes, our answers and the event streams in front."""

from __future__ import annotations

from quart_trio import QuartTrio

from crush_trio.server.defaults import configure
from crush_trio.server.events import EventStreams
from crush_trio.server.identity import Identity, own_identity
from crush_trio.server.problems import install_problems
from crush_trio.server.routes import blueprints
from crush_trio.settings import Settings
from crush_trio.workspaces import WorkspaceHost


def make_app(
    host: WorkspaceHost, settings: Settings, identity: Identity = own_identity
) -> QuartTrio:
    """Return the ASGI application over a workspace host. It owns no task and no state."""
    app = QuartTrio("crush_trio", static_folder=None)
    app.asgi_app = EventStreams(app.asgi_app, host, settings.heartbeat)
    configure(app, settings)
    install_problems(app)
    for routes in blueprints(host, identity):
        app.register_blueprint(routes)
    return app
