"""A machine as an ordinary user meets it: doctor, a template built without root, and sandboxes of it.

The user is nobody, with a home of its own and subordinate ids that only its processes see, in a mount namespace.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
from typing import Iterator

import pytest

from conftest import PROGRAM, TEMPLATE

USER = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--inh-caps=-all"]
BIND = """
mount --bind "$1" /etc/subuid; mount --bind "$1" /etc/subgid; shift
while [ "$1" != -- ]; do mount --bind /dev/null "$1"; shift; done; shift
exec "$@"
"""
# Owner, group, mode and name of everything in the image; not what a guest mounts over it, or writes at its start.
LISTING = (
    "find / -xdev ( -path /dev -o -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /etc/hostname"
    " -o -path /etc/hosts ) -prune -o -printf %U:%G:%m:%y:%p\\n"
)


class Nobody:
    """Runs `orkestr` as nobody, with the given lines of /etc/subuid and without `hidden` programs."""

    def __init__(self, home: pathlib.Path) -> None:
        self.home = home
        self.subids = home.parent / "subids"

    def __call__(
        self, *arguments: str, subids: str = "nobody:300000:65536\n", hidden: tuple[str, ...] = (), **variables: str
    ) -> subprocess.CompletedProcess[str]:
        self.subids.write_text(subids)
        own = {"HOME": str(self.home), "ORKESTR_BACKEND": "local", **variables}
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("ORKESTR_HOME", "XDG_"))} | own
        program = ["sh", "-euc", BIND, "sh", str(self.subids), *hidden, "--", *USER, PROGRAM, *arguments]
        return subprocess.run(
            ["unshare", "--mount", *program], capture_output=True, text=True, env=environment, timeout=600,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def ok(self, *arguments: str, **variables: str) -> str:
        done = self(*arguments, **variables)
        assert done.returncode == 0, (arguments, done.returncode, done.stdout, done.stderr)
        return done.stdout

    def build_tools(self, **options) -> dict[str, str]:
        report = json.loads(self("doctor", "--json", **options).stdout)
        (finding,) = [finding for finding in report["findings"] if finding["check"] == "build tools"]
        return finding


@pytest.fixture(scope="module")
def nobody() -> Iterator[Nobody]:
    if os.geteuid() != 0:
        pytest.skip("only root can be another user")
    if not shutil.which("newuidmap"):
        pytest.skip("newuidmap is not installed (apt-get install uidmap)")
    if subprocess.run([*USER, "test", "-x", PROGRAM]).returncode != 0:
        pytest.skip(f"nobody may not run {PROGRAM}")
    top = pathlib.Path(tempfile.mkdtemp(prefix="orkestr-nobody-"))
    top.chmod(0o755)
    home = top / "home"
    home.mkdir()
    shutil.chown(home, "nobody", "nogroup")
    yield Nobody(home)
    shutil.rmtree(top)


def test_doctor_says_whether_this_user_can_build(nobody):
    assert nobody.build_tools()["level"] == "ok"
    assert "user namespace" in nobody.build_tools()["message"]
    without = nobody.build_tools(hidden=("/usr/bin/newuidmap",))
    assert without["level"] == "warning" and "newuidmap" in without["message"]
    assert without["remedy"] == "apt-get install uidmap"
    ids = nobody.build_tools(subids="")
    assert ids["level"] == "warning" and "user nobody has no 65536 subordinate ids" in ids["message"]
    assert ids["remedy"] == "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 nobody"


def test_doctor_says_how_this_user_may_use_kvm(nobody):
    if not os.path.exists("/dev/kvm") or subprocess.run([*USER, "test", "-w", "/dev/kvm"]).returncode == 0:
        pytest.skip("nobody is not refused /dev/kvm here")
    report = json.loads(nobody("doctor", "--json").stdout)
    (accelerator,) = [finding for finding in report["findings"] if finding["check"] == "accelerator"]
    assert "kvm-refused" in accelerator["message"]
    assert accelerator["remedy"] == "sudo usermod -aG kvm $USER, and log in again"


def test_a_build_that_is_not_possible_says_why(nobody):
    refused = nobody("template", "build", "debian-12", "--force", subids="")
    assert refused.returncode == 1
    assert "usermod --add-subuids" in refused.stderr and "sudo orkestr template build debian-12" in refused.stderr


def test_a_build_gives_the_owners_that_roots_gives(nobody, cli):
    """Of one template by nobody and another by root: what both have is Debian's, and the same."""
    nobody.ok("template", "build", "debian-12", "--force")
    cache = nobody.home / ".cache" / "orkestr"
    (build,) = [path for path in (cache / "templates" / "debian-12").iterdir() if path.name != "current"]
    assert {path.stat().st_uid for path in build.iterdir()} == {65534}

    # Where the system has this template, too, a user's own comes first only with ORKESTR_HOME.
    home = nobody.home.parent / "own"
    home.mkdir()
    shutil.chown(home, "nobody", "nogroup")
    (home / "cache").symlink_to(cache)
    listing = nobody.ok("run", "debian-12", "--", *LISTING.split(), ORKESTR_HOME=str(home))
    assert [path for path in (cache / "snapshots").iterdir() if path.is_dir()] != []  # made by this user, who needs nothing for that
    mine = {line.split(":", 4)[4]: line for line in listing.splitlines()}
    theirs = {line.split(":", 4)[4]: line for line in cli.ok("run", TEMPLATE, "--", *LISTING.split()).splitlines()}
    common = mine.keys() & theirs.keys()
    assert len(common) > 3000
    assert [(mine[path], theirs[path]) for path in sorted(common) if mine[path] != theirs[path]] == []
    assert {line.split(":")[0] for line in mine.values()} >= {"0"}
    assert len({line.split(":")[1] for line in mine.values()}) > 3, "groups of more than one package"
