"""Which commands run unasked."""

from __future__ import annotations

import pytest

from crush_trio.tools.safety import is_safe

SAFE = """
ls
ls -la src
  pwd
echo hello "two words" it\\'s
date
date -u +%s
env
printenv PATH
hostname
hostname -f
set
unset NAME
uname -a
which python
git status
git status --short
git diff
git diff --stat HEAD~2..main -- src/a.py
git log --oneline -5
git log --format=%h -S'word'
git show HEAD:src/a.py
git blame -L 1,5 a.py
git grep -n word
git ls-files --others --exclude-standard
git rev-parse --show-toplevel
git branch
git branch -a -vv
git branch --list feature
git branch --contains abc123
git branch --show-current
git tag
git tag -l v1
git tag --sort=-creatordate
git remote
git remote -v
git remote get-url origin
git ls-remote --heads origin
git config --get user.name
git config --list --show-origin
""".strip("\n").splitlines()

ASKED = """
touch a
lsof
ls; touch a
ls && touch a
ls || touch a
ls | sh
ls & touch a
ls &
ls > a
ls >> a
ls < a
ls 2>&1
echo $(touch a)
echo `touch a`
echo "$(touch a)"
echo $HOME
diff <(ls) a
(ls)
{ ls; }
echo {a,b}
ls # comment
!ls
ls 'open
A=1 ls
GIT_EXTERNAL_DIFF=evil git diff
./ls
/bin/ls
env touch a
env -i touch a
env -S "touch a"
time touch a
timeout 5 touch a
nohup touch a
nice touch a
nice
kill 1
killall sh
command ls
exec ls
date -s 2020-01-01
date --set=2020-01-01
date --se 2020-01-01
date -f /etc/shadow
date 01010101
hostname evil
hostname -F name
set -x
unset 'a[0]'
git
git commit
git -c core.pager=evil log
git -C /elsewhere status
git --git-dir=x status
git diff --output=a
git diff --output a
git diff --outp=a
git diff "--out""put=a"
git diff --outpu\\t=a
git diff --ext-diff
git diff --no-index a b
git diff /etc/passwd a
git diff ../../secret a
git diff ~/secret a
git diff *
git diff a?b
git log --output=a
git show --o=a
git blame --contents /etc/passwd a
git grep -O word
git grep -Oevil word
git grep -nO word
git grep --open-files-in-pager=evil word
git grep --op word
git branch new
git branch -D old
git branch -d old
git branch -m old new
git branch -v new
git branch --delete old
git branch --edit-description
git branch --set-upstream-to=origin
git tag v1
git tag -d v1
git tag -v v1
git tag -a v1 -m text
git tag -f v1
git remote add evil url
git remote remove origin
git remote set-url origin url
git remote update
git remote show origin
git ls-remote ext::evil
git ls-remote /elsewhere
git ls-remote --upload-pack=evil origin
git ls-remote --upload=evil origin
git config user.name me
git config --get a --unset b
git config --get --file=/etc/passwd a
git config --list --file /etc/passwd
git config --unset a
git config --edit
git config --global --get a
git status; git push
""".strip("\n").splitlines()


@pytest.mark.parametrize("command", SAFE)
def test_a_command_that_only_reads_is_safe(command: str) -> None:
    """It is on the list, and nothing in it leads away from the list."""
    assert is_safe(command)


@pytest.mark.parametrize("command", ["", " ", "ls\ntouch a", "ls\rtouch a", "ls\0", *ASKED])
def test_whatever_could_do_more_is_asked_for(command: str) -> None:
    """Chaining, wrappers, redirection, and options that write, execute, set or read elsewhere."""
    assert not is_safe(command)
