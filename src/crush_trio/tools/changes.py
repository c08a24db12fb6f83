"""Changing files: asking for it, doing it and recording it (agent contract 2.3, 4.6).

Above it are the tools that change files; below it the store, which remembers. Preparing a change
may take a thread and may be cancelled. What makes it happen is one step without a checkpoint,
together with the posting of what the store must know of it: a cancel finds the old file or the
new one, and never a change that nobody remembers.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import attrs

from crush_trio.errors import BadRequestError
from crush_trio.messages import encodable
from crush_trio.tools.base import ToolContext
from crush_trio.tools.diffs import Diff, count_changes, unified_diff
from crush_trio.tools.files import Snapshot, is_inside, look_at, record_read, stamp, work_on
from crush_trio.tools.staging import stage


@attrs.frozen
class Proposal:
    """A change of one file, before anybody has said yes to it.

    Attributes:
        tool_name: Which tool wants it.
        description: What the person reads.
        before: The file as it is.
        content: All that the file shall contain.
        old: The text before, as clients see it.
        new: The text after, as clients see it.
    """

    tool_name: str
    description: str
    before: Snapshot
    content: str
    old: str
    new: str

    @property
    def texts(self) -> dict[str, str]:
        """Both texts as requests and metadata carry them: empty ones are left out."""
        both = {"old_content": encodable(self.old), "new_content": encodable(self.new)}
        return {key: text for key, text in both.items() if text}

    async def counts(self) -> dict[str, int]:
        """Return how many lines come and go. Always a checkpoint."""
        count = partial(count_changes, self.old, self.new)
        additions, removals = await work_on(_effort(self.old, self.new), count)
        return {"additions": additions, "removals": removals}

    async def metadata(self) -> dict[str, Any]:
        """Return what the client draws for an edit (agent contract 2.29). Always a checkpoint."""
        return await self.counts() | self.texts


async def ask(context: ToolContext, proposal: Proposal) -> bool:
    """Ask for a change; inside of the workspace the grant is for all of it (agent contract 2.7)."""
    around, path = context.around, proposal.before.path
    return await around.permissions.ask(
        session_id=context.session_id,
        tool_call_id=context.tool_call_id,
        tool_name=proposal.tool_name,
        action="write",
        description=proposal.description,
        params={"file_path": path} | proposal.texts,
        path=around.working_dir if is_inside(path, around.working_dir) else path,
    )


async def change(context: ToolContext, proposal: Proposal) -> None:
    """Write a file and record it: its versions in the history, and that it is known as it is now.

    The old content becomes a version when the session's history does not end with it: before
    its first change, or when somebody else wrote in between.

    Raises:
        BadRequestError: the file is no longer as it was, for example because somebody saved it
            while the permission was open.
        OSError: it cannot be written.
    """
    store, session, before = context.around.store, context.session_id, proposal.before
    path, old, new = before.path, encodable(before.content), encodable(proposal.content)
    latest = await store.latest_file(session, path)
    data = proposal.content.encode(errors="surrogateescape")
    _check_unchanged(before)
    staged = await work_on(len(data), partial(stage, path, data))
    try:
        _check_unchanged(before)
        staged.put()
    finally:
        staged.discard()
    if latest is None or latest.content != old:
        store.add_file_version(session, path, old)
    store.add_file_version(session, path, new)
    await record_read(context, path, look_at(path)).wait()


def _check_unchanged(before: Snapshot) -> None:
    found = look_at(before.path)
    if (found and stamp(found)) != before.stamp:
        raise BadRequestError(f"file {before.path} has just been changed; view it and try again")


async def diff(before: Snapshot, content: str, working_dir: str) -> Diff:
    """Return what writing ``content`` changes; clients name files relative to the workspace."""
    name = before.path
    if Path(name).is_relative_to(working_dir):
        name = str(Path(name).relative_to(working_dir))
    old, new = encodable(before.content), encodable(content)
    compare = partial(unified_diff, old, new, name=name.lstrip("/"))
    return await work_on(_effort(old, new), compare)


def _effort(old: str, new: str) -> int:
    """Return what comparing is worth in bytes read: it costs more than reading."""
    return 8 * (len(old) + len(new))
