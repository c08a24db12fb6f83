"""Prompts, their answers, cancels and the agent's state on the wire (wire contract 3.7 and 8.9)."""

from __future__ import annotations

from typing import Literal

import msgspec

from crush_trio.wire.config import Model, SelectedModel

Outcome = Literal["completed", "cancelled", "failed"]


class Attachment(msgspec.Struct, frozen=True):
    """A file that comes with a prompt; ``content`` is base64 on the wire."""

    content: bytes = b""
    file_path: str = ""
    file_name: str = ""
    mime_type: str = ""


class AgentMessage(msgspec.Struct, frozen=True):
    """Body of ``POST .../agent``. The last three keys are ours (wire contract 0).

    ``model`` is the one that answers this prompt and no other, as ``model`` or ``provider/model``.
    """

    session_id: str = ""
    run_id: str = ""
    prompt: str = ""
    attachments: tuple[Attachment, ...] | None = ()
    local_model: bool = False
    interactive: bool | None = None
    model: str = ""


class RunAccepted(msgspec.Struct, frozen=True):
    """The 202 of a prompt whose caller asked not to wait."""

    run_id: str
    session_id: str


class RunResult(msgspec.Struct, frozen=True):
    """The 200 of a prompt whose run has settled without failing (R4, R14)."""

    run_id: str
    session_id: str
    outcome: Outcome
    cancelled: bool
    message_id: str
    text: str
    error: str | msgspec.UnsetType = msgspec.UNSET
    folded_into: str | msgspec.UnsetType = msgspec.UNSET


class CoveredRun(msgspec.Struct, frozen=True):
    """One line of a cancel's receipt; ``outcome`` is null until the run has settled."""

    run_id: str
    outcome: Outcome | None


class CancelReceipt(msgspec.Struct, frozen=True):
    """Which runs a cancel covered, and whether all of them have settled (R15)."""

    runs: tuple[CoveredRun, ...]
    settled: bool


class AgentInit(msgspec.Struct, frozen=True):
    """Body of ``POST .../agent/init``."""

    interactive: bool = False


class AgentInfo(msgspec.Struct, frozen=True):
    """State and model of a workspace's agent; all zero where there is none."""

    is_busy: bool = False
    is_ready: bool = False
    model: Model = Model()
    model_cfg: SelectedModel = SelectedModel("", "")


class AgentSession(msgspec.Struct, frozen=True):
    """A session as the agent route answers it: three fields are filled (wire contract 3.9)."""

    id: str
    parent_session_id: str = ""
    title: str = ""
    message_count: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    summary_message_id: str = ""
    cost: float = 0
    created_at: int = 0
    updated_at: int = 0
    attached_clients: int = 0
    is_busy: bool = False


class ShellRequest(msgspec.Struct, frozen=True):
    """Body of ``POST .../shell``; the session is the path's, and the width has no effect."""

    session_id: str = ""
    command: str = ""
    term_width: int = 0


class ShellResult(msgspec.Struct, frozen=True):
    """What a user's command wrote, standard output first, and how it ended."""

    output: str
    exit_code: int
