"""Loading a whole configuration, and what clients are told of it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import attrs
import msgspec
import pytest

from crush_trio.config import Chosen, Configuration, load
from crush_trio.errors import ConfigError
from crush_trio.wire.config import Model, Options, SelectedModel, Token

PROBE: dict[str, Any] = {
    "options": {
        "disable_default_providers": True,
        "disable_provider_auto_update": True,
        "disable_metrics": True,
        "auto_lsp": False,
    },
    "models": {
        "large": {"provider": "probe", "model": "probe-large"},
        "small": {"provider": "probe", "model": "probe-small"},
    },
    "providers": {
        "probe": {
            "name": "Probe",
            "type": "openai-compat",
            "base_url": "http://127.0.0.1:18180/v1",
            "api_key": "probe-key",
            "models": [
                {
                    "id": "probe-large",
                    "name": "Probe Large",
                    "context_window": 100000,
                    "default_max_tokens": 4096,
                    "cost_per_1m_in": 2,
                    "cost_per_1m_out": 8,
                },
                {
                    "id": "probe-small",
                    "name": "Probe Small",
                    "context_window": 50000,
                    "default_max_tokens": 1024,
                },
            ],
        }
    },
}
"""A project that uses one local provider."""

LOCAL: dict[str, Any] = {
    "type": "ollama",
    "base_url": "http://localhost/v1",
    "models": [{"id": "m"}],
}
"""The least that a provider needs."""


@attrs.frozen
class World:
    """A home directory and a project outside git."""

    home: Path
    project: Path

    @property
    def env(self) -> dict[str, str]:
        return {"HOME": str(self.home)}

    def user(self, document: Any) -> None:
        self._write(self.home / ".config/crush/crush.json", document)

    def program(self, document: Any) -> None:
        self._write(self.home / ".local/share/crush/crush.json", document)

    def write(self, document: Any, name: str = "crush.json") -> None:
        self._write(self.project / name, document)

    def load(self, **env: str) -> Configuration:
        return load(self.project, env=self.env | env)

    def _write(self, path: Path, document: Any) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(document if isinstance(document, str) else json.dumps(document))


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "project").mkdir()
    return World(tmp_path / "home", tmp_path / "project")


def options(configuration: Configuration) -> Options:
    assert isinstance(configuration.wire.options, Options)
    return configuration.wire.options


def told(configuration: Configuration) -> Any:
    """What a client decodes."""
    return msgspec.json.decode(msgspec.json.encode(configuration.wire))


# --- what clients are told ---------------------------------------------------------------


def model_reply(name: str, window: int, tokens: int, costs: tuple[int, int]) -> dict[str, Any]:
    return {
        "id": f"probe-{name.lower()}",
        "name": f"Probe {name}",
        "cost_per_1m_in": costs[0],
        "cost_per_1m_out": costs[1],
        "cost_per_1m_in_cached": 0,
        "cost_per_1m_out_cached": 0,
        "context_window": window,
        "default_max_tokens": tokens,
        "can_reason": False,
        "supports_attachments": False,
    }


def test_a_configured_project_is_told_as_crush_tells_it(world: World) -> None:
    """Byte for byte what Crush's server was recorded to answer (wire contract R-07 and R-11)."""
    world.write(PROBE)
    home, project = world.home, world.project
    recorded = {
        "models": {
            "large": {"model": "probe-large", "provider": "probe", "max_tokens": 4096},
            "small": {"model": "probe-small", "provider": "probe", "max_tokens": 1024},
        },
        "providers": {
            "probe": {
                "id": "probe",
                "name": "Probe",
                "base_url": "http://127.0.0.1:18180/v1",
                "type": "openai-compat",
                "api_key": "probe-key",
                "models": [
                    model_reply("Large", 100000, 4096, (2, 8)),
                    model_reply("Small", 50000, 1024, (0, 0)),
                ],
            }
        },
        "options": {
            "context_paths": [
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
            ],
            "global_context_paths": [f"{home}/.config/AGENTS.md", f"{home}/.config/crush/CRUSH.md"],
            "skills_paths": [
                f"{home}/.config/crush/skills",
                f"{home}/.config/agents/skills",
                f"{home}/.agents/skills",
                f"{home}/.claude/skills",
                f"{project}/.agents/skills",
                f"{project}/.crush/skills",
                f"{project}/.claude/skills",
                f"{project}/.cursor/skills",
            ],
            "tui": {"completions": {"max_depth": 2, "max_items": 100}},
            "debug": True,
            "data_directory": f"{project}/.crush",
            "disable_provider_auto_update": True,
            "disable_default_providers": True,
            "attribution": {"trailer_style": "assisted-by", "generated_with": True},
            "disable_metrics": True,
            "initialize_as": "AGENTS.md",
            "auto_lsp": False,
        },
        "tools": {"ls": {"max_depth": 2, "max_items": 100}},
    }
    configuration = load(project, env=world.env, debug=True)
    encoded = msgspec.json.encode(configuration.wire)
    assert encoded.decode() == json.dumps(recorded, separators=(",", ":"))
    assert configuration.is_configured
    assert configuration.problem is None


def test_an_unconfigured_project_is_told_what_clients_need(world: World) -> None:
    """Providers, options, tui and data directory are there; models are not (wire contract 13)."""
    (world.project / ".git").mkdir()
    configuration = world.load()
    got = told(configuration)
    assert got.keys() == {"providers", "options"}
    assert got["providers"] == {}
    assert got["options"]["tui"] == {}
    assert got["options"]["data_directory"] == str(configuration.data_dir)
    assert not configuration.is_configured
    assert (configuration.large, configuration.small, configuration.problem) == (None, None, None)


def test_loading_writes_nothing(world: World) -> None:
    """Not even the data directory is made."""
    world.write(PROBE | {"models": {"large": {"provider": "probe", "model": "gone"}}})
    world.load()
    assert [path.name for path in world.project.iterdir()] == ["crush.json"]
    assert not world.home.exists()


def test_a_directory_that_does_not_exist_has_a_configuration(world: World) -> None:
    """A workspace may be created before its directory."""
    missing = world.project / "not" / "there"
    assert load(missing, env=world.env).data_dir == missing / ".crush"


def test_empty_parts_are_left_out(world: World) -> None:
    """As Go leaves them out."""
    local: dict[str, Any] = LOCAL | {
        "extra_headers": {},
        "extra_body": {},
        "provider_options": {},
        "name": "",
    }
    local["models"] = [{"id": "m", "options": {}, "reasoning_levels": []}]
    world.write({"permissions": {}, "tools": {"grep": {}}, "mcp": {}, "providers": {"p": local}})
    (world.project / ".git").mkdir()
    got = told(world.load())
    assert got.keys() == {"models", "providers", "options"}
    assert got["providers"]["p"].keys() == {"id", "name", "base_url", "type", "models"}
    assert "options" not in got["providers"]["p"]["models"][0]
    assert "reasoning_levels" not in got["providers"]["p"]["models"][0]


def test_configured_options_are_kept(world: World) -> None:
    """Lists are joined with the defaults, limits are not overwritten."""
    given = {
        "context_paths": ["docs/A.md", "CRUSH.md"],
        "global_context_paths": ["/b.md", "/a.md"],
        "skills_paths": ["/skills"],
        "initialize_as": "CRUSH.md",
        "tui": {"completions": {"max_depth": 0}, "transparent": False},
        "disabled_tools": ["fetch"],
    }
    world.write({"options": given, "tools": {"ls": {"max_items": 5}, "grep": {"timeout": 5}}})
    configuration = world.load(TERM_PROGRAM="Apple_Terminal", CRUSH_SKILLS_DIR="/everybody")
    got = options(configuration)
    assert len(got.context_paths) == 17
    assert "docs/A.md" in got.context_paths
    assert got.global_context_paths == ("/a.md", "/b.md")
    assert got.skills_paths[:2] == ("/skills", "/everybody")
    assert len(got.skills_paths) == 6
    tui = told(configuration)["options"]["tui"]
    assert tui == {"completions": {"max_depth": 0, "max_items": 100}, "transparent": False}
    assert got.initialize_as == "CRUSH.md"
    assert told(configuration)["tools"] == {
        "ls": {"max_depth": 2, "max_items": 5},
        "grep": {"timeout": 5},
    }


def test_apples_terminal_is_transparent_by_default(world: World) -> None:
    """Its background cannot be drawn over well (agent contract 3.8)."""
    got = told(world.load(TERM_PROGRAM="Apple_Terminal"))
    assert got["options"]["tui"]["transparent"] is True


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, {"trailer_style": "assisted-by", "generated_with": True}),
        ({}, {"trailer_style": "assisted-by"}),
        ({"generated_with": True}, {"trailer_style": "assisted-by", "generated_with": True}),
        ({"co_authored_by": True}, {"trailer_style": "co-authored-by", "co_authored_by": True}),
        ({"co_authored_by": False}, {"trailer_style": "none", "co_authored_by": False}),
        (
            {"co_authored_by": True, "trailer_style": "none"},
            {"trailer_style": "none", "co_authored_by": True},
        ),
        ({"trailer_style": "of-the-future"}, {"trailer_style": "of-the-future"}),
    ],
)
def test_attribution_has_a_style(
    world: World, given: dict[str, Any] | None, expected: dict[str, Any]
) -> None:
    """The deprecated key stands for a style where there is none (agent contract 3.8)."""
    world.write({"options": {"attribution": given}})
    assert told(world.load())["options"]["attribution"] == expected


# --- files and environment ------------------------------------------------------------------


def test_later_files_win_and_lists_are_joined(world: World) -> None:
    """User, program, project outermost first, dotted after plain."""
    inner = world.project / "inner"
    inner.mkdir()
    (world.project / ".git").mkdir()
    for number, write in enumerate((world.user, world.program, world.write), start=1):
        write({"options": {"initialize_as": f"{number}.md", "disabled_tools": [str(number)]}})
    world.write({"options": {"disabled_tools": ["4"]}}, ".crush.json")
    world.write({"options": {"disabled_tools": ["5"], "notifications": "bell"}}, "inner/crush.json")
    got = options(load(inner, env=world.env))
    assert got.initialize_as == "3.md"
    assert got.disabled_tools == ("1", "2", "3", "4", "5")
    assert got.notifications == "bell"
    skills = [Path(path).parent for path in got.skills_paths[-8:]]
    assert skills == [inner / name for name in (".agents", ".crush", ".claude", ".cursor")] + [
        world.project / name for name in (".agents", ".crush", ".claude", ".cursor")
    ]


def test_files_above_a_project_outside_git_are_not_read(world: World) -> None:
    """The boundary is the working directory (probe: two-directories)."""
    world.write(PROBE)
    inner = world.project / "sub"
    inner.mkdir()
    configuration = load(inner, env=world.env)
    assert not configuration.is_configured
    assert configuration.data_dir == inner / ".crush"


@pytest.mark.promise("C4")
def test_a_broken_file_is_an_error_that_names_it(world: World) -> None:
    """The create is refused as the client's mistake, with a text that helps."""
    world.write('{"options": ')
    with pytest.raises(ConfigError, match=f"^{world.project}/crush.json: not valid JSON") as caught:
        world.load()
    assert caught.value.status == 400


@pytest.mark.promise("C4")
def test_files_that_contradict_each_other_are_an_error_that_names_the_later(world: World) -> None:
    """Both files fit by themselves, but one key has two kinds."""
    world.user({"providers": {"p": {"extra_body": {"x": []}}}})
    world.write({"providers": {"p": {"extra_body": {"x": "y"}}}})
    with pytest.raises(
        ConfigError,
        match=r"project/crush\.json: line 1: providers\.p\.extra_body\.x: string here, but array",
    ):
        world.load()


@pytest.mark.promise("C4")
@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"mcp": {"x": {"timeout": "30"}}}, "mcp.x.timeout: expected `int`"),
        ({"mcp": {"x": {"args": "a b"}}}, "mcp.x.args: expected `array`"),
        ({"mcp": {"x": {"env": {"A": 1}}}}, "mcp.x.env.A: expected `str`"),
        ({"mcp": {"x": {"oauth_token": {"expires_at": "x"}}}}, "expires_at: expected `int`"),
        ({"lsp": {"go": {"filetypes": "go"}}}, "lsp.go.filetypes: expected `array`"),
        ({"lsp": {"go": {"timeout": 2.5}}}, "lsp.go.timeout: expected `int`"),
        ({"hooks": {"PreToolUse": {"command": "x"}}}, "hooks.PreToolUse: expected `array`"),
        ({"hooks": {"x": [{"command": 5}]}}, "hooks.x[0].command: expected `str`"),
        ({"providers": {"p": {"oauth": {"access_token": 5}}}}, "access_token: expected `str`"),
    ],
)
def test_what_a_client_could_not_read_is_refused_where_it_stands(
    world: World, document: dict[str, Any], words: str
) -> None:
    """Crush's client decodes these strictly: its create would fail with words of its own (13)."""
    world.write(document)
    place = re.escape(f"{world.project}/crush.json: line 1: ")
    with pytest.raises(ConfigError, match=f"^{place}.*{re.escape(words)}"):
        world.load()


@pytest.mark.promise("C4")
def test_switching_all_providers_off_is_an_error(world: World) -> None:
    """Without default providers there must be another (probe: no-providers-at-all)."""
    world.write({"options": {"disable_default_providers": True}})
    with pytest.raises(ConfigError, match="default providers are disabled"):
        world.load()
    world.write({"options": {"disable_default_providers": True}, "providers": {"p": {}}})
    with pytest.raises(ConfigError, match="configured; provider 'p' has no base_url"):
        world.load()


@pytest.mark.parametrize(
    ("configured", "value", "expected"),
    [(False, "1", True), (True, "false", False), (True, "nonsense", False), (False, "T", True)],
)
def test_a_switch_in_the_environment_wins(
    world: World, configured: bool, value: str, expected: bool
) -> None:
    """Go's booleans; what it cannot read is false, also against the file."""
    names = ("disable_default_providers", "disable_provider_auto_update")
    world.write({"options": dict.fromkeys(names, configured), "providers": {"p": LOCAL}})
    got = options(world.load(**{f"CRUSH_{name.upper()}": value for name in names}))
    assert (got.disable_default_providers, got.disable_provider_auto_update) == (expected,) * 2


def test_the_data_directory_of_a_file_is_made_absolute(world: World) -> None:
    """An argument goes before it, and clients get what counts."""
    world.write({"options": {"data_directory": "state"}})
    assert options(world.load()).data_directory == str(world.project / "state")
    configuration = load(world.project, env=world.env, data_dir="/elsewhere")
    assert configuration.data_dir == Path("/elsewhere")
    assert options(configuration).data_directory == "/elsewhere"


# --- providers and models ----------------------------------------------------------------------


def test_providers_that_cannot_be_used_are_dropped_with_a_reason(world: World) -> None:
    """A disabled one silently; the others are the problem if nothing is left."""
    world.write(
        {
            "providers": {
                "off": LOCAL | {"disable": True},
                "known": {"api_key": "$KEY"},
                "none": LOCAL | {"models": []},
                "nowhere": LOCAL | {"base_url": "$NOWHERE"},
            }
        }
    )
    configuration = world.load()
    assert not configuration.is_configured
    assert configuration.problem == (
        "provider 'known' has no base_url; "
        "provider 'none' lists no models: nobody asks its endpoint here; "
        "provider 'nowhere' has a base_url, '$NOWHERE', that expands to nothing"
    )


def test_names_and_types_are_filled_in_and_ids_are_the_keys(world: World) -> None:
    """A provider's type is openai-compat unless it says otherwise."""
    given = {"id": "other", "base_url": "http://x", "models": [{"id": "m"}]}
    world.write({"providers": {"p": given}})
    got = told(world.load())["providers"]["p"]
    assert (got["id"], got["name"], got["type"]) == ("p", "p", "openai-compat")
    assert got["models"][0]["name"] == "m"


def test_a_type_that_cannot_be_used_yet_is_told_and_explained(world: World) -> None:
    """It counts as configured, but there is no agent, and the error says why."""
    world.write({"providers": {"claude": LOCAL | {"type": "google"}}})
    configuration = world.load()
    assert configuration.is_configured
    assert told(configuration)["models"]["large"] == {"model": "m", "provider": "claude"}
    assert configuration.problem is not None
    assert "type 'google' is not supported yet" in configuration.problem
    with pytest.raises(ConfigError, match="not supported yet"):
        configuration.endpoint("claude")


def test_a_template_that_fails_is_the_problem_and_not_an_error(world: World) -> None:
    """Clients can attach and see what is wrong; the endpoint says the same when used."""
    world.write({"providers": {"p": LOCAL | {"api_key": "$(pass show key)"}}})
    configuration = world.load()
    assert configuration.problem is not None
    assert "a command cannot be run here" in configuration.problem
    world.write({"providers": {"p": LOCAL | {"base_url": "${URL:?set it}"}}})
    configuration = world.load()
    assert configuration.is_configured
    with pytest.raises(ConfigError, match=r"provider 'p': base_url: .*: set it"):
        configuration.endpoint("p")


def test_the_chosen_models_are_there_with_their_options(world: World) -> None:
    """The small one falls back to the large one, and both have a token limit."""
    world.write(PROBE | {"models": {"large": {"model": "probe-small", "think": True}}})
    configuration = world.load()
    selected = SelectedModel("probe-small", "probe", think=True, max_tokens=1024)
    model = Model(
        id="probe-small", name="Probe Small", context_window=50000, default_max_tokens=1024
    )
    assert configuration.large == configuration.small == Chosen(selected, model, "probe")
    assert configuration.chosen("probe/probe-large").selected.max_tokens == 4096
    assert configuration.call_options(Chosen(selected, model, "probe")).max_tokens == 1024


def test_an_endpoint_is_expanded_with_the_environment_of_the_loading(world: World) -> None:
    """With the ``env`` table in it, and the program's own variables before others."""
    local = LOCAL | {"api_key": "$KEY", "base_url": "http://$WHERE/v1"}
    world.write({"providers": {"p": local}, "env": {"WHERE": "${HOST}:1"}})
    configuration = world.load(KEY="outer", CRUSH_KEY="own", HOST="h")
    endpoint = configuration.endpoint("p")
    assert (endpoint.base_url, endpoint.api_key) == ("http://h:1/v1", "own")
    assert told(configuration)["providers"]["p"]["api_key"] == "$KEY"
    assert configuration.env["WHERE"] == "h:1"
    assert configuration.env["KEY"] == "outer"


def test_an_unknown_provider_is_an_error(world: World) -> None:
    """Its name is in the message."""
    with pytest.raises(ConfigError, match="provider 'none' is not configured"):
        world.load().endpoint("none")


@pytest.mark.promise("A2")
def test_a_configuration_shows_no_secret_when_printed(world: World) -> None:
    """Keys in files and in the environment stay out of logs."""
    world.write({"providers": {"p": LOCAL | {"api_key": "s3cret"}}, "env": {"A": "s3cret"}})
    configuration = world.load(KEY="s3cret")
    assert "s3cret" not in repr(configuration)
    assert configuration.endpoint("p").api_key == "s3cret"


def test_the_zero_form_of_a_selection_has_both_names() -> None:
    """Clients read them always (wire contract 3.4)."""
    assert msgspec.json.encode(SelectedModel()) == b'{"model":"","provider":""}'


# --- models that do not exist ---------------------------------------------------------------


def test_a_model_that_its_provider_does_not_have_is_corrected(world: World) -> None:
    """What is in force is what belongs into the user's file (agent contract 3.3)."""
    models = {
        "large": {"provider": "local", "model": "gone", "think": True},
        "small": {"provider": "nobody", "model": "m"},
    }
    world.write({"providers": {"local": LOCAL}, "models": models})
    loaded = world.load()
    assert loaded.corrections == {kind: SelectedModel("m", "local") for kind in models}
    assert loaded.wire.models == loaded.corrections


@pytest.mark.parametrize(
    ("entry", "chosen"),
    [
        ({"anthropic": {"api_key": "$NOT_TODAY"}}, {"provider": "anthropic", "model": "claude-x"}),
        ({}, {"provider": "openai", "model": "gpt-x"}),
        ({"off": {**LOCAL, "disable": True}}, {"provider": "off", "model": "m"}),
        ({"away": {**LOCAL, "discover_models": True}}, {"provider": "away", "model": "n"}),
        ({}, {"provider": "local", "model": "m"}),
    ],
)
def test_a_choice_that_may_be_right_again_is_not_corrected(
    world: World, entry: dict[str, Any], chosen: dict[str, Any]
) -> None:
    """No key today, known but not configured, switched off, its endpoint away; or it is right."""
    world.write({"providers": {"local": LOCAL, **entry}, "models": {"large": chosen}})
    loaded = world.load()
    assert loaded.large is not None
    assert loaded.corrections == {}


def test_without_any_provider_nothing_is_corrected(world: World) -> None:
    """There is nothing to correct it to."""
    world.write({"models": {"large": {"provider": "nobody", "model": "m"}}})
    assert world.load().corrections == {}


def test_a_login_of_the_wrong_form_is_an_error_with_its_key(world: World) -> None:
    """It would fail when it is renewed, long after it was written; unknown keys are passed over."""
    token = {"access_token": "a", "expires_in": 5, "expires_at": 9, "scope": "x"}
    world.write({"providers": {"local": {**LOCAL, "oauth": token}}})
    assert world.load().token("local") == Token("a", expires_in=5, expires_at=9)
    world.write({"providers": {"local": {**LOCAL, "oauth": {**token, "expires_at": "soon"}}}})
    with pytest.raises(ConfigError, match=r"providers\.local\.oauth\.expires_at: expected `int`"):
        world.load()
