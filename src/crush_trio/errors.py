"""Every exception that this package raises on purpose, by whose doing it was.

Each carries the HTTP status that tells the truth about it, so that the server needs no table.
Messages are lower case and name the thing and its value; they are shown to users as they are.
"""

from __future__ import annotations


class CrushTrioError(Exception):
    """Base of all errors of this package."""

    status: int = 500
    """The HTTP status that fits, as a hint for whoever answers a request."""

    @property
    def text(self) -> str:
        """The error as events and answers tell it."""
        return str(self)


def sole(error: BaseException) -> BaseException:
    """Return the one error that groups around it hold, with its context; else the group itself."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        error = error.exceptions[0]  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return error  # pyright: ignore[reportUnknownVariableType]


def error_text(error: BaseException) -> str:
    """Return what to tell a client of an error: never empty, never a traceback, always encodable."""
    if isinstance(error, BaseExceptionGroup):
        return error_text(error.exceptions[0])  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    try:
        text = error.text if isinstance(error, CrushTrioError) else str(error)
        text = f"exit({text}) was called" if isinstance(error, SystemExit) else text
    except Exception:  # noqa: BLE001 -- somebody's error that cannot even say what it is (C3)
        text = ""
    return (text or type(error).__name__).encode("utf-8", "replace").decode()


# --- the caller's doing ---------------------------------------------------------


class BadRequestError(CrushTrioError):
    """The caller sent something that cannot be carried out; nothing has changed."""

    status = 400


class ConfigError(BadRequestError):
    """A configuration cannot be read or does not make sense."""


class DataDirectoryError(BadRequestError):
    """The place that was named as a data directory cannot be one: a file, a device, a read-only disk."""


class UnknownSessionError(BadRequestError):
    """No session has this id. 400, since 404 would mean a lost workspace to a client (C4)."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"session {session_id!r} is not in this workspace")


class SessionNotFoundError(BadRequestError):
    """A run was accepted for a session that does not exist; the text is Crush's (wire contract 8.3)."""

    def __init__(self) -> None:
        super().__init__("failed to get session: sql: no rows in result set")


class AgentMissingError(BadRequestError):
    """The workspace has no usable model, so it has no agent."""

    def __init__(self) -> None:
        super().__init__("agent coordinator not initialized")


class UnattendedError(CrushTrioError):
    """A tool needs a permission in a run of which nobody can be asked, and the rule is to deny."""

    status = 403

    def __init__(self, tool: str) -> None:
        super().__init__(
            f"permission denied: nobody attends to this run, and permissions.unattended is 'deny'; "
            f"permissions.allowed_tools would have to name {tool!r}"
        )


class UnauthorizedError(CrushTrioError):
    """The caller showed no token, or a wrong one."""

    status = 401


class ForbiddenError(CrushTrioError):
    """The request is a foreign web page's, or for a host name that this server does not go by (A1)."""

    status = 403


class ContentTypeError(CrushTrioError):
    """A browser sent a body that is not said to be JSON, as forms and foreign pages can (A1)."""

    status = 415


class TooManyAttemptsError(CrushTrioError):
    """The caller has shown too many wrong tokens of late (A1)."""

    status = 429


class WorkspaceNotFoundError(CrushTrioError):
    """No open workspace has this id. Clients take a 404 for this (wire contract 1.3)."""

    status = 404

    def __init__(self) -> None:
        super().__init__("workspace not found")


class LSPClientNotFoundError(CrushTrioError):
    """No language server has this name. 404 here is harmless to clients (wire contract R-27)."""

    status = 404

    def __init__(self) -> None:
        super().__init__("LSP client not found")


# --- the state's doing ------------------------------------------------------------


class ConflictError(CrushTrioError):
    """What was asked does not fit the present state."""

    status = 409


class WorkspaceClosingError(ConflictError):
    """The workspace takes no new prompts, because it is closing."""

    def __init__(self) -> None:
        super().__init__("workspace closing")


class RunIDConflictError(ConflictError):
    """The run id belongs to a run with another prompt (R16)."""

    def __init__(self) -> None:
        super().__init__("run id already used for another prompt")


class SessionBusyError(ConflictError):
    """The session has a run or a summary that has not ended; the text is Crush's (wire contract 2.4)."""

    def __init__(self) -> None:
        super().__init__("session is currently processing another request")


class ClientRetiredError(ConflictError):
    """The client has said goodbye for ever."""

    def __init__(self) -> None:
        super().__init__("client has been retired")


class ClientNotAttachedError(ConflictError):
    """The client has no open event stream on the workspace."""

    def __init__(self) -> None:
        super().__init__("client not attached")


class DataDirectoryInUseError(ConflictError):
    """Another process holds the data directory."""


class AddressInUseError(ConflictError):
    """Something else listens at the address already."""


class ServerClosingError(CrushTrioError):
    """The server is shutting down and opens nothing any more."""

    status = 503

    def __init__(self) -> None:
        super().__init__("server is shutting down")


# --- our own doing ------------------------------------------------------------------


class NotSupportedError(CrushTrioError):
    """What was asked is a part of the protocol that this server does not have yet."""


# --- the world's doing --------------------------------------------------------------


class StoreError(CrushTrioError):
    """The database refused or failed a read or a write."""


class StoreClosedError(StoreError):
    """The database has been closed, because its last workspace has (W4)."""

    status = 409

    def __init__(self) -> None:
        super().__init__("the store is closed, because its last workspace has closed")


class ProviderError(CrushTrioError):
    """A model provider failed a request.

    Attributes:
        title: What happened in a word or two, such as ``Too Many Requests``.
        http_status: The provider's HTTP status, or None where there was none.
        retryable: Whether the same request may succeed later (agent contract 1.19).
        retry_after: Seconds that the provider asked to wait, if it did.
    """

    def __init__(
        self,
        message: str,
        *,
        title: str = "Provider Error",
        http_status: int | None = None,
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.title = title
        self.http_status = http_status
        self.retryable = retryable
        self.retry_after = retry_after

    @property
    def text(self) -> str:
        """The error as events tell it: the lower-case title and the provider's message."""
        return f"{self.title.lower()}: {self}" if self.title != "Provider Error" else str(self)


class RetriesExhaustedError(ProviderError):
    """A model provider failed a request and the retries of it."""

    @classmethod
    def of(cls, error: ProviderError) -> RetriesExhaustedError:
        """Return the last attempt's ``error`` as the end of all attempts."""
        return cls(
            str(error),
            title=error.title,
            http_status=error.http_status,
            retryable=error.retryable,
            retry_after=error.retry_after,
        )

    @property
    def text(self) -> str:
        """The error as events tell it (wire contract 6.6)."""
        return f"retry error: {super().text}"


class LocalModelError(CrushTrioError):
    """The embedded model cannot be fetched, unpacked or started."""


class ServerUnavailableError(CrushTrioError):
    """No server answers at the address, or it stopped in the middle of an answer."""


class CertificateError(CrushTrioError):
    """A server's certificate is not trusted, so nothing was sent to it."""


class ResponseError(CrushTrioError):
    """A server answered a request with an error status.

    Attributes:
        status: The HTTP status of the answer.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
