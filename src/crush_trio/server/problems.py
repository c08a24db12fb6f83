"""What is answered: values, nothing, and every way in which a request can go wrong.

Routes return :func:`answer` and :func:`empty`, and raise. :func:`install_problems` turns what they
raise, and what the router finds, into the bytes that the wire contract lists (1.3, 2.3, 2.4).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import trio
from quart import Response, request
from quart_trio import QuartTrio
from quart_trio.wrappers import TrioResponse
from werkzeug.exceptions import (
    HTTPException,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    RequestTimeout,
)

from crush_trio.errors import CrushTrioError
from crush_trio.wire.workspaces import ErrorBody

logger = logging.getLogger(__name__)


def answer(value: object, status: int = 200) -> Response:
    """Return a response whose body is ``value`` as one JSON value and a newline."""
    body = msgspec.json.encode(value) + b"\n"
    return TrioResponse(body, status, content_type="application/json")


def empty(status: int = 200) -> Response:
    """Return a response with no body and no content type."""
    response = TrioResponse(b"", status)
    del response.headers["Content-Type"]
    return response


def install_problems(app: QuartTrio) -> None:
    """Make ``app`` answer errors as the wire contract says, and log those that are ours."""
    answers: tuple[tuple[type[Exception], Callable[[Any], Response]], ...] = (
        (CrushTrioError, _on_our_error),
        (NotFound, _on_unknown_path),
        (MethodNotAllowed, _on_wrong_method),
        (RequestEntityTooLarge, _on_large_body),
        (RequestTimeout, _on_late_body),
        (HTTPException, _on_http_error),
        (Exception, _on_bug),
    )
    for error, respond in answers:
        app.register_error_handler(error, _async(respond))


def _async(respond: Callable[[Any], Response]) -> Callable[[Any], Awaitable[Response]]:
    """Return ``respond`` as the framework wants it: it would call a sync function in a thread."""

    async def handle(error: Exception) -> Response:
        response = respond(error)
        await trio.lowlevel.checkpoint()
        return response

    return handle


def _problem(status: int, message: str) -> Response:
    return answer(ErrorBody(message), status)


def _text(status: int, text: str) -> Response:
    response = TrioResponse(text, status, content_type="text/plain; charset=utf-8")
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _on_our_error(error: CrushTrioError) -> Response:
    if error.status >= 500:
        logger.warning("%s %s: %s", request.method, request.path, error)
    return _problem(error.status, str(error))


def _on_unknown_path(_: NotFound) -> Response:
    return _text(404, "404 page not found\n")


def _on_wrong_method(error: MethodNotAllowed) -> Response:
    response = _text(405, "Method Not Allowed\n")
    response.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return response


def _on_large_body(_: RequestEntityTooLarge) -> Response:
    limit = (request.max_content_length or 0) / 2**20
    return _problem(413, f"request body is larger than {limit:g} MiB")


def _on_late_body(_: RequestTimeout) -> Response:
    return _problem(408, f"request body did not arrive within {request.body_timeout} s")


def _on_http_error(error: HTTPException) -> Response:
    return _problem(error.code or 500, (error.description or error.name).lower())


def _on_bug(error: Exception) -> Response:
    """Answer 500 for what nobody foresaw.

    Also called when the request is being cancelled already, and then the answer goes nowhere;
    without this the framework would drop such an error and not even log it.
    """
    logger.error("error while answering %s %s", request.method, request.path, exc_info=error)
    return _problem(500, "internal server error")
