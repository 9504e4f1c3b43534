"""Help, wrong arguments, completion: what needs no virtual machine."""

import hashlib
import json
import os
import subprocess

import pytest
from conftest import PROGRAM, Cli

COMMANDS = [
    ["run"], ["create"], ["exec"], ["shell"], ["ls"], ["rm"], ["cp"], ["inspect"], ["events"], ["commands"], ["logs"], ["kill"],
    ["pause"], ["resume"], ["timeout"], ["metrics"], ["gc"], ["doctor"],
    ["version"], ["completion"], ["template"], ["template", "list"], ["template", "build"], ["template", "prepare"],
    ["template", "inspect"], ["template", "remove"], ["pool"], ["pool", "set"], ["pool", "ls"], ["pool", "clear"],
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_says_what_it_does_with_an_example(empty, command):
    text = empty.ok(*command, "--help")
    assert "Usage:" in text and "--help" in text
    example = text.split("Example:\n")[1].strip().splitlines()
    assert len(example) == 1 and " ".join(["orkestr", *command]) in example[0]


def test_the_list_of_commands_is_complete(empty):
    text = empty.ok("--help")
    listed = {line.split()[0] for line in text.split("Subcommands:")[1].splitlines() if line.startswith("  ") and line[2] != " "}
    assert listed >= {command[0] for command in COMMANDS}
    assert {line.split("\t")[0] for line in empty.ok("__complete", "").splitlines()} == {command[0] for command in COMMANDS}
    assert "124" in text and "125" in text


@pytest.mark.parametrize(
    "arguments, expected",
    [
        ([], "subcommand is required"),
        (["exce"], "did you mean exec?"),
        (["frobnicate"], "there is no command 'frobnicate'"),
        (["ls", "--jsno"], "did you mean --json?"),
        (["template", "biuld"], "did you mean build?"),
        (["run"], "template is required"),
        (["run", "python-3.12-bare"], "-- COMMAND"),
        (["run", "python-3.12-bare", "--"], "-- COMMAND"),
        (["exec", "-it", "sbx_1", "bash"], "orkestr exec -it sbx_1 -- bash"),
        (["exec", "sbx_1", "other", "--", "bash"], "orkestr: exec: not expected: other; `orkestr exec --help` shows all"),
        (["exec", "--tiemout", "5", "sbx_1", "bash"], "did you mean --timeout?"),
        (["run", "pyton-3.12-bare", "--", "true"], "Did you mean python-3.12-bare?"),
        (["run", "python-3.12-bare", "--size", "huge", "--", "true"], "small, medium"),
        (["run", "python-3.12-bare", "--env", "novalue", "--", "true"], "NAME=VALUE"),
        (["create", "python-3.12-bare", "--timeout", "3"], "3"),
        (["create", "python-3.12-bare", "--memory-mb", "soon"], "orkestr: create: --memory-mb is 'soon'; a number is needed"),
        (["run", "python-3.12-bare", "--timeout", "5 min", "--", "true"], "'5 min' is no length of time; write seconds, or 90s, 5m"),
        (["exec", "sbx_1", "--timeout", "nan", "--", "true"], "'nan' is no length of time"),
        (["exec", "sbx_1", "--timeout", "-1s", "--", "true"], "'-1s' is no length of time"),
        (["exec", "sbx_1", "--timeout", "2d", "--", "true"], "no sandbox"),
        (["create", "python-3.12-bare", "--timeout", "2d"], "172800"),
        (["exec", "sbx_01K", "--", "true"], "no sandbox whose id begins with 'sbx_01K'"),
        (["exec", "sbx_00000000000000000000000000", "--", "true"], "sbx_00000000000000000000000000"),
        (["inspect", "nobody"], "nobody"),
        (["events", "nobody"], "nobody"),
        (["logs", "nobody", "cmd_x"], "nobody"),
        (["logs", "sbx_1"], "command is required"),
        (["kill", "sbx_1"], "command is required"),
        (["exec", "sbx_1", "--json", "--", "true"], "--background"),
        (["exec", "sbx_1", "--background", "--tty", "--", "true"], "--tty"),
        (["exec", "sbx_1", "--background", "--timeout", "5", "--", "true"], "exec: --background goes without --timeout"),
        (["exec", "sbx_1", "-n", "-i", "--", "true"], "excludes"),
        (["pool"], "subcommand is required"),
        (["pool", "set"], "template is required"),
        (["pool", "set", "python-3.12-bare=many"], "TEMPLATE=N"),
        (["pool", "set", "python-3.12-bare=65"], "0 to 64"),
        (["pool", "set", "python-3.12-bare", "--size", "huge"], "small, medium"),
        (["pool", "set", "pyton-3.12-bare=1"], "Did you mean python-3.12-bare?"),
        (["pool", "set", "python-3.12-bare", "--idle", "3"], "idle_timeout"),
        (["pool", "clear", "pyton-3.12-bare"], "Did you mean python-3.12-bare?"),
        (["pause", "nobody"], "nobody"),
        (["timeout", "sbx_1"], "seconds is required"),
        (["timeout", "sbx_1", "soon"], "soon"),
        (["rm"], "--all"),
        (["rm", "nobody"], "nobody"),
        (["ls", "--status", "asleep"], "asleep"),
        (["cp", "a", "b"], "neither"),
        (["cp", "sbx_1:/a", "sbx_2:/b"], "both are"),
        (["cp", "x:y", "sbx_1:/b"], "both are; write ./x:y for a file here"),
        (["cp", "a", "sbx_1:b"], "absolute"),
        (["template", "inspect", "nothing-like-it"], "nothing-like-it"),
        (["completion", "csh"], "csh"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_wrong_is_named_and_exits_2(empty, arguments, expected):
    done = empty(*arguments)
    assert (done.returncode, done.stdout) == (2, b""), done.stderr
    assert expected in done.stderr.decode()


def test_what_follows_a_command_without_two_dashes_is_shown_with_them(empty):
    done = empty("run", "python-3.12-bare", "--size", "small", "python3", "-c", "print(1)")
    line = "orkestr run python-3.12-bare --size small -- python3 -c 'print(1)'"
    assert (done.returncode, done.stderr.decode()) == (2, f"orkestr: run: the command stands behind two dashes: {line}\n")


@pytest.mark.parametrize("arguments", [[], ["run"], ["ls", "a"], ["template"], ["rm"], ["create", "x", "--cpu", "y"]], ids=" ".join)
def test_what_is_wrong_begins_with_the_program_and_the_command(empty, arguments):
    text = empty(*arguments).stderr.decode()
    assert text.startswith("orkestr: " + "".join(f"{word}: " for word in arguments[:1])) and text.count("\n") == 1
    assert text.endswith("shows all\n")


@pytest.mark.parametrize(
    "variables, expected",
    [
        ({"ORKESTR_SNAPSHOTS": "offf"}, "ORKESTR_SNAPSHOTS is 'offf'; allowed are on, off"),
        ({"ORKESTR_LOG": "/no-such-directory/log"}, "'/no-such-directory/log': No such file or directory"),
        ({"ORKESTR_LOG": "log"}, "absolute"),
    ],
    ids=str,
)
def test_a_variable_that_is_of_no_use_is_said_before_anything_starts(tmp_path, variables, expected):
    done = Cli(tmp_path, **variables)("create", "python-3.12-bare")
    assert done.returncode == 2 and expected in done.stderr.decode()


def test_version(empty):
    version = empty.json("version")
    assert empty.ok("version").startswith(f"orkestr {version['version']} ")
    assert empty.ok("--version").strip() == version["version"]
    assert version["stamp"] == f"{version['version']}/wire{version['wire']}"


def test_a_script_is_there_for_each_shell(empty):
    for shell in ("bash", "zsh", "fish"):
        assert "orkestr __complete" in empty.ok("completion", shell)


def test_bash_completes(empty):
    script = (
        'source <("$0" completion bash); orkestr() { command "$PROGRAM" "$@"; }; PROGRAM=$0;'
        'COMP_WORDS=(orkestr "${@:1}"); COMP_CWORD=$(($# )); _orkestr; echo "${COMPREPLY[*]}"'
    )

    def complete(*words: str) -> list[str]:
        done = subprocess.run(["bash", "-c", script, PROGRAM, *words], capture_output=True, env=empty.environment, text=True)
        assert done.stderr == ""
        return done.stdout.split()

    assert complete("ex") == ["exec"]
    assert complete("template", "b") == ["build"]
    assert "python-3.12-bare" in complete("run", "py")
    assert complete("run", "python-3.12-bare", "--size", "") == ["small", "medium", "large"]
    assert complete("ls", "--j") == ["--json"]
    assert complete("exec", "x", "--", "l") == []
    assert complete("completion", "") == ["bash", "zsh", "fish"]


def test_no_colour_where_there_is_no_terminal(empty):
    assert "\x1b" not in empty.ok("ls") + empty.ok("template", "list")


def test_empty_lists(empty):
    assert empty.json("ls") == []
    assert empty.ok("ls").startswith("ID ")
    assert empty.json("gc") == {"reaped": [], "forgotten": [], "removed": [], "bytes": 0, "skipped": ""}
    assert empty.ok("rm", "--all", "--yes") == ""


def dead_sandbox(empty, name: str) -> None:
    directory = empty.home / "state" / "sandboxes" / name
    directory.mkdir(mode=0o700)
    (directory / "lock").write_bytes(b"")
    (directory / "disk").write_bytes(b"x" * 100_000)
    record = {"format": 1, "id": name, "status": "running", "template": "python-3.12-bare", "created_at_ms": 1}
    (directory / "record.json").write_text(json.dumps(record))


def test_gc_removes_what_is_dead_and_unused(empty):
    empty.ok("ls")  # makes the directories
    dead = "sbx_01K00000000000000000000000"
    dead_sandbox(empty, dead)
    cache = empty.home / "cache"
    staging = cache / "templates" / "mine" / ".staging-01K00000000000000000000000"
    old = cache / "templates" / "mine" / "oldbuild"
    current = cache / "templates" / "mine" / "newbuild"
    kernel = cache / "kernels" / "6.1.0"
    for directory in (staging, old, current, kernel):
        directory.mkdir(parents=True)
        (directory / "file").write_bytes(b"x" * 50_000)
    (current / "template.json").write_text('{"kernel_version":"6.1.0"}')
    (cache / "templates" / "mine" / "current").write_text("newbuild\n")
    # (All of it long ago: what is young may be in use by who is just starting a sandbox.)
    for path in (old, current, kernel, cache / "templates" / "mine" / "current"):
        os.utime(path, (1, 1))
    report = {finding["check"]: finding for finding in json.loads(empty("doctor", "--json").stdout)["findings"]}
    assert report["leftovers"]["level"] == "warning" and report["leftovers"]["remedy"] == "orkestr gc"

    done = empty.json("gc")
    assert done["reaped"] == [dead]
    assert sorted(done["removed"]) == sorted([str(staging), str(old)])
    assert done["bytes"] > 150_000
    assert current.exists() and kernel.exists() and not staging.exists() and not old.exists()
    assert empty.json("gc")["removed"] == []


def test_doctor_without_qemu(empty):
    done = subprocess.run([PROGRAM, "doctor", "--json"], capture_output=True, env={**empty.environment, "PATH": ""})
    report = json.loads(done.stdout)
    assert done.returncode == 1 and report["worst"] == "problem"
    qemu = [finding for finding in report["findings"] if finding["check"] == "qemu"]
    assert [finding["level"] for finding in qemu] == ["problem"]
    assert "apt-get install qemu-system-x86" in qemu[0]["remedy"]


def script(path, text: str) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path)


def findings(empty, **environment: str) -> dict[str, dict]:
    done = subprocess.run([PROGRAM, "doctor", "--json"], capture_output=True, env={**empty.environment, **environment})
    assert done.returncode == 1, done.stderr
    return {finding["check"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_doctor_knows_an_old_qemu(empty, tmp_path):
    old = script(tmp_path / "bin" / "qemu", "echo 'QEMU emulator version 6.2.0'")
    qemu = findings(empty, ORKESTR_QEMU=old)["qemu"]
    assert qemu["level"] == "problem" and "6.2.0" in qemu["message"] and "7.2" in qemu["message"]
    without = script(tmp_path / "bin" / "qemu", "echo 'QEMU emulator version 10.0.1'")
    qemu = findings(empty, ORKESTR_QEMU=without)["qemu"]
    assert qemu["level"] == "problem" and "microvm" in qemu["message"]


def test_doctor_knows_a_variable_that_names_no_qemu(empty):
    qemu = findings(empty, ORKESTR_QEMU="/no/such/qemu")["qemu"]
    assert qemu["level"] == "problem" and qemu["remedy"].startswith("unset ORKESTR_QEMU, or name a program")


def test_doctor_knows_a_template_without_its_kernel(empty):
    """Of a directory that says it is a template, built and whole but for the kernel it names."""
    empty.ok("ls")
    build = empty.home / "cache" / "templates" / "mine" / "build1"
    build.mkdir(parents=True)
    parts = ("base", "scratch", "overlay", "kernel")
    digests = {f"{part}_sha256": "0" * 64 for part in parts}
    digests["digest"] = hashlib.sha256("".join(f"{part} {'0' * 64}\n" for part in parts).encode()).hexdigest()
    manifest = {"version": 1, "name": "mine", "build_id": "build1", "kernel_version": "6.1.0-9", "scratch_bytes": 4096}
    (build / "template.json").write_text(json.dumps(manifest | digests))
    (build.parent / "current").write_text("build1\n")
    kernel = findings(empty)["kernel"]
    assert kernel["level"] == "problem" and "6.1.0-9" in kernel["message"]
    assert kernel["remedy"] == "sudo orkestr template build mine --force"


def test_doctor_knows_helpers_of_another_build(empty, tmp_path):
    script(tmp_path / "libexec" / "orkestr-supervisor", """echo '{"stamp":"0.1.0/wire0"}'""")
    script(tmp_path / "libexec" / "orkestr-agent", "")
    helpers = findings(empty, ORKESTR_LIBEXEC=str(tmp_path / "libexec"))["helpers"]
    assert helpers["level"] == "problem" and "0.1.0/wire0" in helpers["message"]
    missing = findings(empty, ORKESTR_LIBEXEC=str(tmp_path))["helpers"]
    assert missing["level"] == "problem" and str(tmp_path) in missing["message"]


def test_doctor_fixes_modes_and_nothing_else(empty):
    empty.ok("ls")
    state = empty.home / "state"
    state.chmod(0o777)
    done = empty("doctor")
    assert done.returncode == 1 and f"chmod 0700 {state}" in done.stdout.decode()
    assert state.stat().st_mode & 0o777 == 0o777
    report = json.loads(empty("doctor", "--fix", "--json").stdout)
    assert [finding["check"] for finding in report["findings"] if finding["fixed"]] == ["state directory"]
    assert report["worst"] != "problem"
    assert state.stat().st_mode & 0o777 == 0o700


def test_doctor_looks_without_making_anything(empty):
    empty("doctor")
    assert not empty.home.exists()
