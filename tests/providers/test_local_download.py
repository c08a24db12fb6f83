"""Which tool fetches a wheel, and how."""

from pathlib import Path

from crush_trio.providers.local_download import download_command

PINNED, INTO = Path("pinned.txt"), Path("into")


def test_pip_fetches_the_wheel_alone() -> None:
    """Nothing is compiled and nothing else comes along."""
    command = download_command("a==1", PINNED, INTO, has_pip=True, uv="/bin/uv")

    assert command is not None
    assert command[1:5] == ["-P", "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary", ":all:"} <= set(command)
    assert command[-1] == "a==1"


def test_uv_fetches_it_where_there_is_no_pip() -> None:
    """uv cannot download only, so it unpacks, and checks the hash itself."""
    command = download_command("a==1", PINNED, INTO, has_pip=False, uv="/bin/uv")

    assert command is not None
    assert command[:3] == ["/bin/uv", "pip", "install"]
    assert {"--no-deps", "--only-binary", ":all:", "--require-hashes"} <= set(command)
    assert command[-2:] == ["--requirements", "pinned.txt"]


def test_without_either_there_is_no_command() -> None:
    """The caller says what to do."""
    assert download_command("a==1", PINNED, INTO, has_pip=False, uv=None) is None
