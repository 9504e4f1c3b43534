"""Commands that run on by themselves, and the rest of a sandbox's life, on the command line."""

import json
import signal

import pytest
from conftest import TEMPLATE


@pytest.fixture(scope="module")
def box(cli):
    return cli.ok("create", TEMPLATE, "--timeout", "1800", "--metadata", "suite=background").strip()


def test_start_look_and_read(cli, box):
    done = cli("exec", box, "--background", "-e", "WHO=me", "-w", "/tmp", "--", "bash", "-c", "echo it is $WHO; pwd; exit 4")
    assert done.returncode == 0 and done.stderr == b""
    id = done.stdout.decode().strip()
    assert id.startswith("cmd_") and len(id) == 30
    assert cli.ok("logs", box, id, "--follow") == "it is me\n/tmp\n"
    (one,) = [one for one in cli.json("commands", box) if one["id"] == id]
    assert (one["status"], one["exit_code"]) == ("exited", 4)
    assert one["command"] == "bash -c 'echo it is $WHO; pwd; exit 4'"
    assert cli.ok("logs", box, id.lower().removeprefix("cmd_").upper(), "--offset", "9") == "/tmp\n"
    logs = cli.json("logs", box, id)
    assert logs == {"content": "it is me\n/tmp\n", "start_offset": 0, "next_offset": 14, "size": 14, "truncated": False}
    table = cli.ok("commands", box)
    assert table.startswith("ID ") and id in table and "exited" in table
    assert "\t".join([id, "exited, bash -c 'echo it is $WHO; pwd; exit 4'"]) in cli.ok("__complete", "logs", box, "cmd")


def test_words_arrive_as_they_are(cli, box):
    words = ["printf", "<%s>", "a b", "it's", "", "$HOME", "*", "-x", "\n", '"']
    started = cli.ok("exec", box, "--background", "--json", "--", *words)
    id = json.loads(started)["id"]
    assert cli.ok("logs", box, id, "-f") == "<a b><it's><><$HOME><*><-x><\n><\">"


def test_every_byte(cli, box):
    cli("exec", box, "--", "bash", "-c", "cat > /tmp/bytes", input=bytes(range(256)) * 9000)
    id = cli.ok("exec", box, "--background", "--", "cat", "/tmp/bytes").strip()
    followed = cli("logs", box, id, "-f")
    assert followed.returncode == 0 and followed.stdout == bytes(range(256)) * 9000
    assert cli("logs", box, id).stdout == followed.stdout


def test_follow_and_kill(cli, box):
    id = cli.ok("exec", box, "--background", "--", "bash", "-c", "echo first; sleep 1; echo second; sleep 7775").strip()
    reader = cli.start("logs", box, id, "--follow")
    assert reader.stdout.readline() == b"first\n"
    reader.send_signal(signal.SIGINT)
    reader.wait(10)
    assert [one["status"] for one in cli.json("commands", box) if one["id"] == id] == ["running"]
    machine = cli.start("logs", box, id, "--follow", "--json")
    pieces = [json.loads(machine.stdout.readline())]
    while sum(len(piece["data"]) for piece in pieces) < 13:
        pieces.append(json.loads(machine.stdout.readline()))
    assert pieces[0]["offset"] == 0 and "".join(piece["data"] for piece in pieces) == "first\nsecond\n"
    assert cli.ok("kill", box, id) == f"{id}\n"
    assert cli.ok("kill", box, id) == f"{id}\n"
    last = json.loads(machine.communicate(timeout=20)[0])
    assert machine.returncode == 0 and (last["id"], last["status"], last["exit_code"]) == (id, "killed", None)
    (pid,) = [one["pid"] for one in cli.json("commands", box) if one["id"] == id]
    assert cli("exec", box, "--", "bash", "-c", f"kill -0 {pid}").returncode == 1


def test_an_id_that_is_none_or_many(cli, box):
    cli.ok("exec", box, "--background", "--", "true")
    cli.ok("exec", box, "--background", "--", "true")
    none = cli("logs", box, "cmd_NOBODY")
    assert none.returncode == 2 and b"orkestr commands" in none.stderr
    many = cli("kill", box, "cmd_")
    assert many.returncode == 2 and b"give more" in many.stderr


def test_metrics(cli, box):
    cli.ok("exec", box, "--background", "--", "sleep", "1")
    metrics = cli.json("metrics", box)
    assert metrics["sandbox_id"] == box and metrics["status"] == "running"
    assert 0 < metrics["memory_usage_bytes"] < metrics["memory_limit_bytes"] == 1 << 30
    assert metrics["samples"][-1]["memory_bytes"] == metrics["memory_usage_bytes"]
    assert metrics["lifetime_cpu_seconds"] > 0
    text = cli.ok("metrics", box)
    assert "of 1 CPUs" in text and "of 1024 MB" in text


def test_metrics_after_the_end(cli):
    id = cli.ok("create", TEMPLATE).strip()
    cli.ok("rm", id)
    metrics = cli.json("metrics", id)
    assert (metrics["status"], metrics["cpu_usage_percent"], metrics["samples"]) == ("terminated", None, [])
    assert cli.ok("metrics", id).startswith("status       terminated\n")
    ended = cli("exec", id, "--background", "--", "true")
    assert ended.returncode == 125 and b"ended" in ended.stderr


def test_a_life_span_that_cannot_be(cli, box):
    done = cli("timeout", box, "3")
    assert done.returncode == 2 and b"10 to 86400" in done.stderr
