"""``crush-trio model-script``."""

from __future__ import annotations

from pathlib import Path

import click

from crush_trio.cli.exits import ExitCode, run_trio


@click.command(name="model-script")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="Where on 127.0.0.1 it listens; 0 is any free port.",
)
def model_script(*, file: Path, port: int) -> ExitCode:
    """Be a model that plays the script in FILE, for any program that speaks to OpenAI's API.

    Prints its base URL and plays until it is interrupted: each request gets the next answer, and
    `ok` once there is none left. FILE is TOML, or JSON if it is called so:

    \b
        answers = [
          [{ say = "Let me look.", pause = 0.05 },
           { call = "bash", arguments = { command = "ls" } }],
          "There are two files.",
        ]

    POST /v1/gates/NAME opens the gate that `{ wait = "NAME" }` waits at.
    """  # noqa: D301  click's mark for text that keeps its lines
    from crush_trio.cli.scripting import play
    from crush_trio.providers.script_file import read_script

    script = read_script(file)

    async def main() -> ExitCode:
        await play(script.model(), port, click.echo)
        return ExitCode.OK

    return run_trio(main)
