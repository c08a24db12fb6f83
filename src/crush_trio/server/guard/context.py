"""What all connections of one server share."""

from __future__ import annotations

import math

from hypercorn.trio.worker_context import WorkerContext

from crush_trio.server.guard.deadlines import SendDeadlines


class ServerContext(WorkerContext):
    """Hypercorn's context, with the deadlines of writes and of heads.

    ``terminated`` is hypercorn's event: once it is set, idle connections close and no connection
    takes another request.
    """

    def __init__(self, send_deadline: float, head_timeout: float = math.inf) -> None:
        super().__init__(max_requests=None)
        self.deadlines = SendDeadlines(send_deadline)
        self.head_timeout = head_timeout
