"""What every route takes and answers, as one OpenAPI 3.1 document made of what serves.

Routes say what they speak with :func:`operation`, beside the handler; :func:`make_document` walks
the application's own table of routes, so a route that is served is a route that is described.
"""

from __future__ import annotations

from crush_trio.server.openapi.document import make_document, undescribed
from crush_trio.server.openapi.operations import Operation, operation

__all__ = ["Operation", "make_document", "operation", "undescribed"]
