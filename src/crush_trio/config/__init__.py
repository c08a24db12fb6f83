"""Configuration: discover, merge, expand, choose models, write back. Above it store and agent.

Synopsis::

    configuration = await resolve(outside, directory, env=os.environ)
    if configuration.problem is None and configuration.large is not None:
        endpoint = configuration.endpoint(configuration.large.provider_id)
        options = configuration.call_options(configuration.large)

``load`` is the same without waiting, for values that need no command and no endpoint.
"""

from crush_trio.config.calls import CallOptions, call_options
from crush_trio.config.configuration import Configuration
from crush_trio.config.endpoint import Endpoint
from crush_trio.config.environment import go_bool
from crush_trio.config.load import find_data_directory, load
from crush_trio.config.models import Chosen
from crush_trio.config.paths import global_config_dir, global_data_dir
from crush_trio.config.resolving import ConfigReader, Outside, renew_endpoint, resolve

__all__ = [
    "CallOptions",
    "Chosen",
    "ConfigReader",
    "Configuration",
    "Endpoint",
    "Outside",
    "call_options",
    "find_data_directory",
    "global_config_dir",
    "global_data_dir",
    "go_bool",
    "load",
    "renew_endpoint",
    "resolve",
]
