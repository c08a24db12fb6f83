"""Configuration: discover, merge, expand, choose models. Above it store and agent, below it the wire.

Synopsis::

    configuration = load(directory, env=os.environ)
    if configuration.problem is None and configuration.large is not None:
        endpoint = configuration.endpoint(configuration.large.provider_id)
        options = configuration.call_options(configuration.large)
"""

from crush_trio.config.calls import CallOptions, call_options
from crush_trio.config.configuration import Configuration
from crush_trio.config.endpoint import Endpoint
from crush_trio.config.environment import go_bool
from crush_trio.config.load import load
from crush_trio.config.models import Chosen
from crush_trio.config.paths import global_config_dir, global_data_dir

__all__ = [
    "CallOptions",
    "Chosen",
    "Configuration",
    "Endpoint",
    "call_options",
    "global_config_dir",
    "global_data_dir",
    "go_bool",
    "load",
]
