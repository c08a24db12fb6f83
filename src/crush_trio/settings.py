"""Timeouts and limits: every number that decides how long or how much, in one frozen object.

Durations are seconds, sizes are bytes. A test or an embedding program passes its own
:class:`Settings`; nothing reads these from a global.
"""

from __future__ import annotations

import attrs


@attrs.frozen
class Settings:
    """How long things may take and how large they may grow."""

    create_hold: float = 30.0
    """A claim made by creating a workspace lives this long without a stream (wire contract 7.1)."""

    detach_grace: float = 10.0
    """A claim outlives its last stream by this long (wire contract 7.1)."""

    save_pause: float = 0.1
    """Shortest pause between two writes of what a restart must know of the open workspaces."""

    saved_kept: float = 7 * 86400.0
    """A saved workspace that nobody has come back for is forgotten this long after the restart."""

    finish_timeout: float = 5.0
    """A run that ends may spend this long writing its last state (agent contract 1.17)."""

    snapshot_pause: float = 0.033
    """Shortest pause between two snapshots of a streaming message (agent contract 4.5)."""

    snapshot_rate: float = 200_000.0
    """Bytes a second that the snapshots of one message may cost a reader; longer messages pause longer."""

    journal_pause: float = 0.033
    """Longest time that streamed text stays out of the journal; a crash loses less than 50 ms (C1)."""

    log_bytes: int = 32 * 2**20
    """The event log of a workspace keeps at most this much for readers that lag."""

    log_entries: int = 65_536
    """The event log of a workspace keeps at most this many slots, compacted ones included."""

    chunk_bytes: int = 256 * 2**10
    """One write to an event stream carries at most this much, or one event if that is larger."""

    heartbeat: float = 30.0
    """A stream that was sent nothing for this long is sent a newline: proxies and address translators
    drop what is silent for a minute, and the reader's side learns that the way still works."""

    result_kept: float = 600.0
    """A settled run can be joined again by its run id for this long (R16)."""

    title_claim: float = 30.0
    """A title that is being made keeps its workspace open for at most this long (wire contract 0)."""

    close_timeout: float = 5.0
    """A closing workspace waits at most this long for its cancelled runs to store their ends."""

    kill_grace: float = 2.0
    """A process group gets SIGINT, and SIGKILL this much later (agent contract 2.4)."""

    send_deadline: float = 5.0
    """A peer that reads nothing for this long is given up; event streams only once the server stops."""

    drain_timeout: float = 3.0
    """A stopped server that has settled its runs gives open connections this long to finish."""

    keep_alive_timeout: float = 120.0
    """An idle connection is closed after this long; Go's clients keep theirs 90 s (wire contract 1.1)."""

    token_failures: int = 20
    """Wrong tokens that a peer may show at once before it is answered 429 (A1)."""

    token_pause: float = 1.0
    """One of its wrong tokens is forgiven after this long."""

    head_timeout: float = 30.0
    """The head of a request may take this long from its first byte on."""

    head_bytes: int = 64 * 2**10
    """The head of a request may be about this large: one piece that was read may go beyond."""

    body_timeout: float = 60.0
    """A request body may take this long to arrive."""

    body_bytes: int = 64 * 2**20
    """A request body may be this large; attachments are base64 in JSON."""

    history_bytes: int = 64 * 2**20
    """Decoded history that all sessions of a data directory may keep in memory together."""
