"""How many files a server process may have open, and with them how many connections.

Shells and service managers start programs with a soft limit of 1,024 for the sake of those that use
``select``, and leave it to all others to raise it. Only a command may: it is the whole process's
business, and the tools that it starts inherit it.
"""

from __future__ import annotations

import logging
import resource

logger = logging.getLogger(__name__)

WANTED = 16_384
"""Files for 10,000 event streams, 1,000 open prompts with a model connection each, and the runs'
own. Not the hard limit: some programs that tools run look at every number up to the soft one."""


def raise_limit(wanted: int = WANTED) -> None:
    """Let this process open ``wanted`` files, or as many as the hard limit allows, which is said."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if _at_least(soft, wanted):
        return
    allowed = wanted if _at_least(hard, wanted) else hard
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (OSError, ValueError):  # macOS has a lower limit of its own beside an endless one
        allowed = soft
    if allowed < wanted:
        logger.warning(
            "this process may have %d files open, %d are better for many clients:"
            " raise the hard limit (ulimit -Hn, or LimitNOFILE of systemd)",
            allowed,
            wanted,
        )


def _at_least(limit: int, wanted: int) -> bool:
    return limit == resource.RLIM_INFINITY or limit >= wanted
