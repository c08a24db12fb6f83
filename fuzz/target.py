"""The server that is fuzzed: the real one, with short times, that tells what it holds when asked.

A line on stdin is answered with a line of JSON on stdout. The end of stdin stops the server.

    python fuzz/target.py unix:///PATH
"""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
from functools import partial
from pathlib import Path

import trio

from crush_trio.addresses import parse_address
from crush_trio.server import ServeOptions, serve_forever
from crush_trio.settings import Settings

SETTINGS = Settings(
    create_hold=5.0,
    detach_grace=0.2,
    result_kept=2.0,
    title_claim=1.0,
    kill_grace=0.3,
    send_deadline=2.0,
    head_timeout=2.0,
    body_timeout=2.0,
    keep_alive_timeout=30.0,
)
"""So that what a client leaves behind is gone before the next count."""


def held() -> dict[str, int]:
    """Return what the process holds: tasks, file descriptors, blocks and kilobytes of memory."""
    gc.collect()
    status = Path("/proc/self/status").read_text("ascii")
    (resident,) = (line for line in status.splitlines() if line.startswith("VmRSS:"))
    return {
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208  as quick as can be
        "blocks": sys.getallocatedblocks(),
        "kilobytes": int(resident.split()[1]),
    }


async def main() -> None:
    """Serve until stdin ends."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level="INFO")
    options = ServeOptions(parse_address(sys.argv[1]), settings=SETTINGS)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_forever, options))
        print(json.dumps(held()), flush=True)
        async for _ in trio.lowlevel.FdStream(os.dup(0)):
            print(json.dumps(held()), flush=True)
        nursery.cancel_scope.cancel("stdin has ended")


if __name__ == "__main__":
    trio.run(main)
