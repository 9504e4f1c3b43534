"""`orkestr pool`, with real machines."""

from __future__ import annotations

import pytest
from conftest import TEMPLATE, Cli


@pytest.fixture
def no_pool(cli: Cli):
    yield cli
    cli.ok("pool", "clear")
    assert cli.json("pool", "ls") == []


def test_nothing_is_configured(cli):
    done = cli("pool", "ls")
    assert done.returncode == 0 and done.stdout == b"" and b"pool set" in done.stderr
    assert cli.json("pool", "ls") == []
    assert cli.json("pool", "clear") == {"ended": 0}


def test_set_ls_use_clear(no_pool):
    cli = no_pool
    made = cli.json("pool", "set", f"{TEMPLATE}=1", "--idle", "600")
    assert (made["template"], made["count"], made["ready"], made["problem"]) == (TEMPLATE, 1, 1, "")
    assert (made["cpu"], made["memory_mb"], made["idle_seconds"]) == (1, 1024, 600)
    (member,) = made["members"]
    assert member["ready"] is True and member["id"].startswith("sbx_") and member["created_at"].endswith("Z")
    assert cli.json("pool", "ls") == [made]
    assert f"{TEMPLATE}" in cli.ok("pool", "ls") and "1 of 1" in cli.ok("pool", "ls")
    assert member["id"] not in [one["id"] for one in cli.json("ls")]
    report = cli.json("doctor")
    assert "1 of 1 ready" in next(finding["message"] for finding in report["findings"] if finding["check"] == "pool")

    assert cli.ok("run", TEMPLATE, "--", "echo", "hello") == "hello\n"
    assert member["id"] not in [one["id"] for one in cli.json("pool", "ls")[0]["members"]]
    # One run is over so soon that its replacement comes with the next call that needs one.
    cli.ok("pool", "set", f"{TEMPLATE}=1", "--idle", "600")
    assert cli.json("pool", "ls")[0]["ready"] == 1
    assert cli.json("pool", "clear", TEMPLATE) == {"ended": 1}
    assert cli.json("pool", "ls") == []


def test_too_little_memory_is_said(no_pool):
    done = no_pool("pool", "set", f"{TEMPLATE}=1", "--min-available-mb", str(1 << 24), "--json")
    assert done.returncode == 1 and b"memory" in done.stderr
