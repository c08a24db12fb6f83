"""The embedded model's process: llama.cpp's server, alone, for as long as its owner lives.

It is run as a file, not as a part of the package, so that it starts without importing the rest of
it; it knows the standard library and xllamacpp. ``local_process`` is the other end. The owner
writes one line of JSON to its standard input::

    {"weights": path, "model": id, "key": key, "port": 0, "window": tokens, "slots": count}

and reads one line from its standard output once requests are answered::

    {"address": "http://127.0.0.1:PORT"}

The key comes by the pipe because arguments and environments can be read by others (A2). The end
of the same pipe ends the process: only the owner holds its other end, so it comes however the
owner died. PR_SET_PDEATHSIG would not do: it follows the thread that started the process, and
Trio's threads end. SIGTERM keeps its default effect, which needs no cooperation.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

MISSING = 69
"""Exit status when xllamacpp is not installed (EX_UNAVAILABLE of sysexits.h)."""

MOST_THREADS = 4
"""A model of this size gets hardly faster with more."""

HTTP_THREADS = 8
"""Requests that may be open at once; those beyond the slots wait their turn."""

NICENESS = 5
"""The server and its clients come first."""

PROMPT_CACHE_MIB = 256
"""Memory for prompts that have been read already, beside the slots. llama.cpp would take 8192."""


def main() -> None:
    """Answer requests until the standard input ends."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever the library prints is not our answer
    line = sys.stdin.buffer.readline()
    if not line:
        return
    os.nice(NICENESS)
    server = _open_server(json.loads(line))
    answer.write(json.dumps({"address": server.listening_address}) + "\n")
    answer.flush()
    while os.read(0, 4096):
        pass
    os._exit(0)  # nothing here needs an orderly end, and running threads would spoil it


def _open_server(question: dict[str, Any]) -> Any:
    """Load the model and return the server, which answers requests already."""
    try:
        llama = importlib.import_module("xllamacpp")
    except ModuleNotFoundError as error:
        if error.name != "xllamacpp":
            raise
        sys.exit(MISSING)
    params = llama.CommonParams()
    params.model.path = question["weights"]
    params.model_alias = {question["model"]}
    params.hostnames = ["127.0.0.1"]
    params.port = question["port"]
    params.api_keys = [question["key"]]
    params.n_parallel = question["slots"]
    params.n_ctx = question["window"] * question["slots"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = _threads()
    params.n_threads_http = HTTP_THREADS
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.fit_params = False  # what we say is what it gets
    params.ui = params.endpoint_slots = False
    params.verbosity = 1  # errors only
    try:
        return llama.Server(params)
    except RuntimeError as error:
        sys.exit(str(error))


def _threads() -> int:
    """Return how many threads are to generate: one core less than there are.

    They wait for each other at every step, so one that must share its core holds up all: on two
    busy cores two threads make 3 tokens a second and one makes 32; on idle ones 98 and 85.
    """
    cpus = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return max(1, min(cpus - 1, MOST_THREADS))


if __name__ == "__main__":
    main()
