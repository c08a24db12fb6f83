"""Defaults: what a client is told of options that nobody set (agent contract 1.5, 3.8 and 7.3).

The result is complete: it holds what clients break without (``providers``, ``options``,
``options.tui``, ``options.data_directory``), and leaves out what is empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec.structs import fields, replace

from crush_trio.config.environment import go_bool
from crush_trio.config.paths import Project, config_home, global_config_dir, home
from crush_trio.wire.config import Attribution, Completions, Config, LsLimits, Tui

CONTEXT_PATHS = (
    ".cursor/rules/",
    ".cursorrules",
    ".github/copilot-instructions.md",
    "AGENTS.md",
    "Agents.md",
    "CLAUDE.local.md",
    "CLAUDE.md",
    "CRUSH.local.md",
    "CRUSH.md",
    "Crush.local.md",
    "Crush.md",
    "GEMINI.md",
    "agents.md",
    "crush.local.md",
    "crush.md",
    "gemini.md",
)
"""Project context files that are always looked for (agent contract 1.5)."""

SKILLS_DIRECTORIES = (".agents/skills", ".crush/skills", ".claude/skills", ".cursor/skills")
"""Where a project keeps skills (agent contract 7.3)."""

DEPTH_OUTSIDE_GIT = 2
"""Levels that listings and completions go down without a git work tree (agent contract 2.12)."""

ITEMS_OUTSIDE_GIT = 100
"""Entries that listings and completions show without a git work tree (agent contract 2.12)."""

_SWITCHES = {
    "CRUSH_DISABLE_PROVIDER_AUTO_UPDATE": "disable_provider_auto_update",
    "CRUSH_DISABLE_DEFAULT_PROVIDERS": "disable_default_providers",
}

S = TypeVar("S", bound=msgspec.Struct)


def with_defaults(
    config: Config,
    project: Project,
    env: Mapping[str, str],
    *,
    data_dir: Path,
    debug: bool = False,
    limits_completions: bool = True,
) -> Config:
    """Return a merged configuration with every default that a client is told.

    Args:
        config: What the files say.
        project: Where the working directory is.
        env: Names the user's directories.
        data_dir: The data directory, absolute.
        debug: Turn ``options.debug`` on.
        limits_completions: Limit completions outside a git work tree.
    """
    options = config.given_options
    options = replace(
        options,
        debug=options.debug or debug,
        data_directory=str(data_dir),
        context_paths=_sorted(CONTEXT_PATHS, options.context_paths),
        global_context_paths=_sorted(options.global_context_paths or _global_context(env)),
        skills_paths=tuple(dict.fromkeys((*options.skills_paths, *_skills(project, env)))),
        attribution=_attribution(options.attribution),
        initialize_as=options.initialize_as or "AGENTS.md",
        tui=_tui(
            Tui() if options.tui is msgspec.UNSET else options.tui,
            env,
            limited=limits_completions and not project.in_git,
        ),
        **{name: go_bool(env[var]) for var, name in _SWITCHES.items() if var in env},
    )
    tools = config.tools
    if not project.in_git:
        depth, items = _limits(tools.ls)
        tools = replace(tools, ls=LsLimits(depth, items))
    providers = {} if config.providers is msgspec.UNSET else config.providers
    return compact(replace(config, options=options, tools=tools, providers=providers))


def compact(struct: S) -> S:
    """Return a struct in which every empty member is the default, so that it is left out."""
    changes: dict[str, object] = {}
    for field in fields(struct):
        value = getattr(struct, field.name)
        if isinstance(value, msgspec.Struct):
            value = compact(value)
        if value == field.default or (field.default is None and value == {}):
            value = field.default
        changes[field.name] = value
    return replace(struct, **changes)


def _sorted(*groups: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({path for group in groups for path in group}))


def _global_context(env: Mapping[str, str]) -> tuple[str, str]:
    directory = global_config_dir(env)
    return str(directory / "CRUSH.md"), str(directory.parent / "AGENTS.md")


def _skills(project: Project, env: Mapping[str, str]) -> Iterable[str]:
    """Return the directories of skills: everybody's, the working directory's, the project's."""
    if named := env.get("CRUSH_SKILLS_DIR"):
        yield named
    else:
        yield str(config_home(env) / "crush" / "skills")
        yield str(config_home(env) / "agents" / "skills")
        yield str(home(env) / ".agents" / "skills")
        yield str(home(env) / ".claude" / "skills")
    for place in (project.directory, project.root):
        yield from (str(place / name) for name in SKILLS_DIRECTORIES)


def _attribution(given: Attribution | None) -> Attribution:
    """Return the attribution with the style that it stands for (agent contract 3.8)."""
    if given is None:
        return Attribution(trailer_style="assisted-by", generated_with=True)
    if given.trailer_style:
        return given
    styles = {None: "assisted-by", True: "co-authored-by", False: "none"}
    return replace(given, trailer_style=styles[given.co_authored_by])


def _tui(tui: Tui, env: Mapping[str, str], *, limited: bool) -> Tui:
    if limited:
        tui = replace(tui, completions=Completions(*_limits(tui.completions)))
    if tui.transparent is None and env.get("TERM_PROGRAM") == "Apple_Terminal":
        tui = replace(tui, transparent=True)
    return tui


def _limits(given: LsLimits | Completions) -> tuple[int, int]:
    """Return depth and items as configured, else those that hold outside a git work tree."""
    return (
        DEPTH_OUTSIDE_GIT if given.max_depth is None else given.max_depth,
        ITEMS_OUTSIDE_GIT if given.max_items is None else given.max_items,
    )
