"""What crosses the wire with a secret in it does not show it where it is printed (A2)."""

from __future__ import annotations

import msgspec
import pytest

from crush_trio.wire.changes import ProviderKey, SetField
from crush_trio.wire.config import Config, ProviderConfig, Token, TokenClient
from crush_trio.wire.workspaces import CreateWorkspace, Workspace

SECRET = "s3cret"


@pytest.mark.promise("A2")
@pytest.mark.parametrize(
    "holder",
    [
        CreateWorkspace("/p", env=(f"KEY={SECRET}",)),
        Workspace(id="w", path="/p", config=Config(), env=(f"KEY={SECRET}",)),
        SetField(0, "providers.openai.api_key", SECRET),
        ProviderKey(0, "openai", "string", SECRET),
        Token(access_token=SECRET, client=TokenClient(client_secret=SECRET)),
        TokenClient(client_secret=SECRET),
        ProviderConfig(api_key=SECRET, extra_headers={"authorization": SECRET}),
        Config(env={"KEY": SECRET}),
    ],
    ids=lambda holder: type(holder).__name__,
)
def test_what_holds_a_secret_is_printed_without_it(holder: msgspec.Struct) -> None:
    """A log line or a traceback that shows the value gives nothing away."""
    assert SECRET.encode() in msgspec.json.encode(holder)
    assert SECRET not in repr(holder)
