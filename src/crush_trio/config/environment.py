"""What the environment says: switches, the ``env`` table, and the program's own view of variables.

The environment is a mapping that the caller hands in; nothing here reads or changes the process's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from crush_trio.config.expand import Outputs, expand, no_commands
from crush_trio.errors import ConfigError

_PREFIX: Final = "CRUSH_"
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})

_log = logging.getLogger(__name__)


def go_bool(text: str) -> bool:
    """Return whether Go's ``ParseBool`` reads ``text`` as true; what it refuses is false."""
    return text in _TRUE


def with_table(
    env: Mapping[str, str], table: Mapping[str, str], outputs: Outputs = no_commands
) -> dict[str, str]:
    """Return ``env`` with the configuration's ``env`` table set in it (agent contract 3.2).

    Names are set in alphabetical order, each expanded with those before it. A value that cannot be
    expanded is left out with a warning.
    """
    result = dict(env)
    for name in sorted(table):
        try:
            result[name] = expand(table[name], dict(result), outputs)
        except ConfigError as error:
            _log.warning("env %s is not set: %s", name, error)
    return result


def own_view(env: Mapping[str, str]) -> dict[str, str]:
    """Return ``env`` with every ``CRUSH_X`` also visible as ``X`` (agent contract 3.1).

    So ``CRUSH_OPENAI_API_KEY`` overrides ``OPENAI_API_KEY`` for this program only.
    """
    own = {name[len(_PREFIX) :]: value for name, value in env.items() if name.startswith(_PREFIX)}
    own.pop("", None)
    return {**env, **own}
