"""Which scripts are refused."""

from __future__ import annotations

import pytest

from crush_trio.tools.blocked import Rail

BLOCKED = [
    ("curl http://a", "curl"),
    ("ls -l | sudo cat", "sudo"),
    ("a && b || wget c", "wget"),
    ("! ssh h", "ssh"),
    ("(cd x; nc -l) &", "nc"),
    ('echo "$(curl a)"', "curl"),
    ("echo `curl a`", "curl"),
    ("diff <(curl a) b", "curl"),
    ("cat <<EOF\n$(sudo id)\nEOF", "sudo"),
    ("f() { sudo a; }; f", "sudo"),
    ("if sudo true; then :; fi", "sudo"),
    ("for h in a b; do ssh $h; done", "ssh"),
    ("case $x in a) sudo b;; esac", "sudo"),
    ("echo a\nsudo b", "sudo"),
    ("A=1 sudo b", "sudo"),
    ('"cu"rl a', "curl"),
    ("\\curl a", "curl"),
    ("/usr/bin/curl a", "curl"),
    ("env -i A=1 curl a", "curl"),
    ("time nohup curl a", "curl"),
    ("npm install -g x", "npm install -g"),
    ("npm install x --global", "npm install --global"),
    ("npm install --global=true x", "npm install --global"),
    ("pip install --user x", "pip install --user"),
    ("brew install x", "brew install"),
    ("go test -exec=evil ./...", "go test -exec"),
    ("yarn global add x", "yarn global add"),
]

FREE = [
    "ls",
    "echo curl sudo",
    "git commit -m 'at last: sudo (and curl)'",
    "command -v curl",
    "which sudo",
    "ls # sudo",
    "cat <<'EOF'\n$(sudo id)\nEOF",
    "cat <<EOF\nat noon, sudo\nEOF",
    "pip install x",
    "npm install x",
    "npm run install -g",
    "go build -exec",
    "A=1",
    "",
    "if then sudo",  # no grammar reads it, no shell runs it
]


@pytest.mark.parametrize(("script", "named"), BLOCKED)
def test_a_blocked_command_is_found_wherever_it_stands(script: str, named: str) -> None:
    """In every construct that runs it as written."""
    assert Rail().blocked(script) == named


@pytest.mark.parametrize("script", FREE)
def test_other_commands_are_free(script: str) -> None:
    """A name is not a command, and what is not understood is not judged."""
    assert Rail().blocked(script) is None


def test_a_deeply_nested_script_is_read() -> None:
    """Depth costs no stack."""
    assert Rail().blocked("echo $(" * 2000 + "sudo a" + ")" * 2000) == "sudo"
