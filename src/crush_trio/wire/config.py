"""Configuration on the wire (wire contract 3.3 to 3.6), which is also its form in files.

Unknown keys are ignored; what is empty is left out, but for the keys whose absence breaks clients:
``providers``, ``options``, ``options.tui`` and ``options.data_directory``.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Json = dict[str, Any]

Unattended = Literal["allow", "deny"]
"""What is done with a permission of a run of which nobody can be asked (wire contract 0, R-37)."""


class SelectedModel(msgspec.Struct, frozen=True, omit_defaults=True):
    """A chosen model with its options (wire contract 3.4)."""

    # Factories, because a value equal to a plain default would be left out of the zero form.
    model: str = msgspec.field(default_factory=str)
    provider: str = msgspec.field(default_factory=str)
    reasoning_effort: str = ""
    think: bool = False
    max_tokens: int = 0
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    provider_options: Json | None = None


class RecentModel(msgspec.Struct, frozen=True):
    """A model that was chosen lately."""

    model: str = ""
    provider: str = ""


class TokenClient(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who a token was given to, and where it can be renewed."""

    client_id: str = ""
    client_secret: str = ""
    auth_url: str = ""
    token_url: str = ""
    auth_style: int = 0

    def __repr__(self) -> str:
        """Hide the secret (A2)."""
        return f"<TokenClient {self.client_id!r}>"


class Token(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a login gave (wire contract 3.3); times are unix seconds, and seconds."""

    access_token: str = msgspec.field(default_factory=str)
    refresh_token: str = ""
    expires_in: int = msgspec.field(default_factory=int)
    expires_at: int = msgspec.field(default_factory=int)
    client: TokenClient | None = None

    def __repr__(self) -> str:
        """Hide it (A2)."""
        return "<Token>"


class ModelOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """Sampling values that come with a model."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    provider_options: Json | None = None


class Model(msgspec.Struct, frozen=True):
    """What is known of a model; costs are dollars for a million tokens (wire contract 3.5)."""

    id: str = ""
    name: str = ""
    cost_per_1m_in: int | float = 0  # a whole number is printed as it came
    cost_per_1m_out: int | float = 0
    cost_per_1m_in_cached: int | float = 0
    cost_per_1m_out_cached: int | float = 0
    context_window: int = 0
    default_max_tokens: int = 0
    can_reason: bool = False
    reasoning_levels: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    default_reasoning_effort: str | msgspec.UnsetType = msgspec.UNSET
    supports_attachments: bool = False
    options: ModelOptions | msgspec.UnsetType = msgspec.UNSET


class ProviderConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of ``providers``. ``api_key`` is the unexpanded template."""

    id: str = ""
    name: str = ""
    base_url: str = ""
    type: str = ""
    api_key: str = ""
    oauth: Token | None = None
    disable: bool = False
    system_prompt_prefix: str = ""
    extra_headers: dict[str, str] | None = None
    extra_body: Json | None = None
    provider_options: Json | None = None
    aws_auth_refresh: str = ""
    flat_rate: bool = False
    discover_models: bool | None = None
    models: tuple[Model, ...] = ()

    def __repr__(self) -> str:
        """Name the provider without its secrets (A2)."""
        return f"<ProviderConfig {self.id!r} {self.type!r} {len(self.models)} models>"


class Provider(msgspec.Struct, frozen=True, omit_defaults=True):
    """A provider of the catalogue, with all its models (wire contract 3.6)."""

    # Factories: both are printed always.
    name: str = msgspec.field(default_factory=str)
    id: str = msgspec.field(default_factory=str)
    api_key: str = ""
    api_endpoint: str = ""
    type: str = ""
    default_large_model_id: str = ""
    default_small_model_id: str = ""
    models: tuple[Model, ...] = ()
    default_headers: dict[str, str] | None = None


class Completions(msgspec.Struct, frozen=True, omit_defaults=True):
    """Limits of the terminal client's path completion."""

    max_depth: int | None = None
    max_items: int | None = None


class Tui(msgspec.Struct, frozen=True, omit_defaults=True):
    """Options of the terminal client; kept for it and not used here."""

    compact_mode: bool = False
    diff_mode: str = ""
    completions: Completions = Completions()
    transparent: bool | None = None
    scrollbar: str = ""


class Attribution(msgspec.Struct, frozen=True, omit_defaults=True):
    """How commits made by the agent name it: ``none``, ``co-authored-by`` or ``assisted-by``."""

    trailer_style: str = ""
    co_authored_by: bool | None = None
    generated_with: bool = False


class Options(msgspec.Struct, frozen=True, omit_defaults=True):
    """The ``options`` object."""

    context_paths: tuple[str, ...] = ()
    global_context_paths: tuple[str, ...] = ()
    skills_paths: tuple[str, ...] = ()
    tui: Tui | msgspec.UnsetType = msgspec.UNSET
    debug: bool = False
    debug_lsp: bool = False
    disable_auto_summarize: bool = False
    data_directory: str | msgspec.UnsetType = msgspec.UNSET
    disabled_tools: tuple[str, ...] = ()
    disable_provider_auto_update: bool = False
    disable_default_providers: bool = False
    attribution: Attribution | None = None
    disable_metrics: bool = False
    initialize_as: str = ""
    auto_lsp: bool | None = None
    progress: bool | None = None
    notifications: str = ""
    disabled_skills: tuple[str, ...] = ()


class PermissionsConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tools that need no prompt: ``tool`` or ``tool:action``; ``unattended`` is ours alone."""

    allowed_tools: tuple[str, ...] = ()
    unattended: Unattended = "allow"


class LsLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """Limits of the ``ls`` tool; 0 is no limit of depth."""

    max_depth: int | None = None
    max_items: int | None = None


class Timeout(msgspec.Struct, frozen=True, omit_defaults=True):
    """A tool's time-out in nanoseconds."""

    timeout: int | None = None


class ToolsConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """Limits of tools."""

    ls: LsLimits = LsLimits()
    grep: Timeout = Timeout()
    glob: Timeout = Timeout()


class Hook(msgspec.Struct, frozen=True, omit_defaults=True):
    """A command that is run around a tool; ``matcher`` is for the tool's name, seconds to run."""

    name: str = ""
    matcher: str = ""
    command: str = msgspec.field(default_factory=str)  # printed always
    timeout: int = 0


class MCPConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """An MCP server: a command for ``stdio``, an address for ``sse`` and ``http``; seconds to wait."""

    command: str = ""
    env: dict[str, str] = {}
    args: tuple[str, ...] = ()
    type: str = msgspec.field(default_factory=str)  # printed always
    url: str = ""
    disabled: bool = False
    disabled_tools: tuple[str, ...] = ()
    enabled_tools: tuple[str, ...] = ()
    timeout: int = 0
    headers: dict[str, str] = {}
    oauth: bool = False
    oauth_client_id: str = ""
    oauth_client_secret: str = ""
    oauth_callback_port: int = 0
    oauth_token: Token | None = None

    def __repr__(self) -> str:
        """Name its kind without its secrets (A2)."""
        return f"<MCPConfig {self.type!r}>"


class LSPConfig(msgspec.Struct, frozen=True, omit_defaults=True):
    """A language server; what is missing is filled in where the server is known. Seconds to wait."""

    disabled: bool = False
    command: str = ""
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    filetypes: tuple[str, ...] = ()
    root_markers: tuple[str, ...] = ()
    init_options: Json = {}
    options: Json = {}
    timeout: int = 0

    def __repr__(self) -> str:
        """Name its command without its environment (A2)."""
        return f"<LSPConfig {self.command!r}>"


class Config(msgspec.Struct, frozen=True, omit_defaults=True):
    """A whole configuration of Crush and of crush_trio.

    What clients decode is typed to the last member: a value that does not fit is refused where its
    file is read, since the client could not read the workspace at all (wire contract 13).
    """

    # Printed without providers or options, it breaks clients: both are always set.
    schema: str = msgspec.field(name="$schema", default="")
    models: dict[str, SelectedModel] = {}
    recent_models: dict[str, tuple[SelectedModel, ...]] = {}
    providers: dict[str, ProviderConfig] | msgspec.UnsetType = msgspec.UNSET
    mcp: dict[str, MCPConfig] = {}
    lsp: dict[str, LSPConfig] = {}
    options: Options | msgspec.UnsetType = msgspec.UNSET
    permissions: PermissionsConfig = PermissionsConfig()
    tools: ToolsConfig = ToolsConfig()
    hooks: dict[str, tuple[Hook, ...]] = {}
    env: dict[str, str] = {}

    @property
    def given_options(self) -> Options:
        """The options; where none are given, those of an empty object."""
        return Options() if self.options is msgspec.UNSET else self.options

    def __repr__(self) -> str:
        """Count the parts without their secrets (A2)."""
        providers = {} if self.providers is msgspec.UNSET else self.providers
        return f"<Config {len(providers)} providers {len(self.mcp)} mcp {len(self.lsp)} lsp>"
