"""Sandboxes, processes and handles: who outlives whom."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from conftest import LEFT_BY_AN_ENDED_SANDBOX, TEMPLATE, guest_processes, processes_of, wait_until

from orkestr import Sandbox, SandboxNotFound, SandboxNotReady, TemplateNotFound

pytestmark = pytest.mark.vm


def test_attributes(sandbox):
    assert sandbox.id.startswith("sbx_") and len(sandbox.id) == 30
    assert (sandbox.status, sandbox.template, sandbox.network, sandbox.backend) == ("running", TEMPLATE, "off", "local")
    assert (sandbox.cpu, sandbox.memory_mb) == (1, 1024)
    assert sandbox.expires_at - sandbox.created_at >= timedelta(seconds=1790) and sandbox.created_at.tzinfo is not None
    assert sandbox.metadata == {"suite": "python"}
    assert (sandbox.accelerator, sandbox.isolation) in {("kvm", "hardware"), ("tcg", "emulated")}
    assert sandbox.accelerator_reason and sandbox.jail and sandbox.end_reason is None
    assert sandbox.id in repr(sandbox) and "running" in repr(sandbox)
    sandbox.refresh()
    assert sandbox.status == "running"


def test_get_and_list(sandbox):
    assert Sandbox.get(sandbox.id).exec("echo here").stdout == "here\n"
    (listed,) = Sandbox.list(status="running", metadata={"suite": "python"})
    assert listed.id == sandbox.id and listed.files.exists("/workspace")
    assert listed.exec("echo listed").stdout == "listed\n"
    assert Sandbox.list(metadata={"suite": "other"}) == []
    assert len(Sandbox.list(max_results=1)) == 1
    with pytest.raises(SandboxNotFound):
        Sandbox.get("sbx_" + "0" * 26)


def test_unknown_template(home):
    with pytest.raises(TemplateNotFound, match=TEMPLATE):
        Sandbox.create("python-2.7")


def test_the_with_block_terminates_also_when_it_throws(home):
    with pytest.raises(ZeroDivisionError), Sandbox.create(TEMPLATE, env={"GREETING": "hi"}) as ended:
        assert ended.exec("echo $GREETING").stdout == "hi\n"
        raise ZeroDivisionError
    assert ended.status == "terminated"
    ended.terminate()
    assert Sandbox.get(ended.id).status == "terminated"
    assert ended.id in {sandbox.id for sandbox in Sandbox.list(status="terminated")}
    with pytest.raises(SandboxNotReady):
        ended.exec("true")


def test_another_process_goes_on_with_it(sandbox, script):
    code = "import sys; from orkestr import Sandbox; print(Sandbox.get(sys.argv[1]).exec('echo $PPID').stdout, end='')"
    status, out, err = script(code, sandbox.id).finish()
    assert (status, err) == (0, "") and out.strip().isdigit()


def test_a_job_in_a_command_substitution_returns_while_its_sandbox_lives(home, tmp_path):
    job = tmp_path / "job.py"
    job.write_text(f"from orkestr import Sandbox\nprint(Sandbox.create('{TEMPLATE}').id)\n")
    shell = subprocess.run(
        ["sh", "-c", 'out=$("$0" "$1"); echo "$out"', sys.executable, str(job)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert shell.returncode == 0, shell.stderr
    with Sandbox.get(shell.stdout.strip()) as left:
        assert left.exec("echo on").stdout == "on\n"


def test_after_sigkill_of_the_client_another_process_goes_on_until_the_timeout(home, script):
    code = f"""
import time
from orkestr import Sandbox
sandbox = Sandbox.create('{TEMPLATE}', timeout_seconds=20)
sandbox.files.write('/workspace/state', 'kept')
print(sandbox.id, flush=True)
for chunk in sandbox.exec_stream('yes', timeout_seconds=1000): pass
"""
    client = script(code)
    sandbox_id = client.line()
    assert sandbox_id.startswith("sbx_"), client.finish()
    time.sleep(0.5)
    client.process.kill()
    client.process.communicate()
    left = Sandbox.get(sandbox_id)
    assert left.files.read("/workspace/state") == "kept"
    assert left.exec("echo on").stdout == "on\n"
    # Its timeout was told to its supervisor, and needs nobody.
    assert wait_until(lambda: (left.refresh(), left.status)[1] == "terminated", 60, 0.5)
    assert left.end_reason == "timeout"
    assert wait_until(lambda: sandbox_id not in " ".join(processes_of(home).values()))


INTERRUPTED = """
import sys, time
from orkestr import Sandbox
COMMAND = 'setsid sleep 7773 & touch /tmp/started; sleep 7773'
sandbox = Sandbox.get(sys.argv[1])
try:
    if sys.argv[2] == 'exec':
        sandbox.exec(COMMAND, timeout_seconds=1000)
    else:
        list(sandbox.exec_stream(COMMAND, timeout_seconds=1000))
except KeyboardInterrupt:
    print('interrupted')
"""


@pytest.mark.parametrize("how", ["exec", "exec_stream"])
def test_ctrl_c_ends_the_command_and_not_the_sandbox(sandbox, script, how):
    sandbox.exec("rm -f /tmp/started")
    client = script(INTERRUPTED, sandbox.id, how)
    assert wait_until(lambda: sandbox.files.exists("/tmp/started"), 20)
    assert guest_processes(sandbox, "7773")
    start = time.monotonic()
    client.process.send_signal(signal.SIGINT)
    assert client.finish() == (0, "interrupted\n", "")
    assert time.monotonic() - start < 5
    assert wait_until(lambda: guest_processes(sandbox, "7773") == [])
    assert sandbox.exec("echo alive").stdout == "alive\n"


def test_ctrl_c_during_create_leaves_no_sandbox(script):
    metadata = {"interrupted": str(time.time())}
    # From its kernel: a create from a snapshot is over before anybody could press a key.
    code = f"""
import os
os.environ['ORKESTR_SNAPSHOTS'] = 'off'
from orkestr import Sandbox
print('ready', flush=True)
try: Sandbox.create('{TEMPLATE}', metadata={metadata})
except KeyboardInterrupt: print('interrupted')
"""
    client = script(code)
    assert client.line() == "ready"
    time.sleep(0.4)
    client.process.send_signal(signal.SIGINT)
    assert client.finish() == (0, "interrupted\n", "")
    ended = {"terminated", "failed"}
    assert wait_until(lambda: {sandbox.status for sandbox in Sandbox.list(metadata=metadata)} <= ended)


def test_a_signal_handler_that_does_not_raise_disturbs_nothing(sandbox, script):
    code = """
import signal, sys
from orkestr import Sandbox
seen = []
signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
print(Sandbox.get(sys.argv[1]).exec('sleep 1; echo whole').stdout, end='')
signal.setitimer(signal.ITIMER_REAL, 0)  # at its end Python takes its handlers away
print(len(seen) >= 3)
"""
    assert script(code, sandbox.id).finish() == (0, "whole\nTrue\n", "")


def test_a_handle_in_a_forked_child_says_whose_it_is(sandbox, script):
    code = """
import os, sys
from orkestr import OrkestrClient, Sandbox, SandboxNotReady
sandbox = Sandbox.get(sys.argv[1])
stream = sandbox.exec_stream('echo parent; sleep 1; echo end')
assert next(stream).data == 'parent\\n'
if (child := os.fork()) == 0:
    read = lambda: sandbox.files.read('/etc/passwd')
    for call in (lambda: sandbox.exec('true'), sandbox.refresh, read, lambda: list(stream)):
        try: call()
        except SandboxNotReady as error: print(error.code, 'process' in str(error), flush=True)
        else: print('no error', flush=True)
    own = Sandbox.get(sys.argv[1], client=OrkestrClient(backend='local'))
    print(own.exec('echo child').stdout, end='', flush=True)
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
print([chunk.data for chunk in stream])
print(sandbox.exec('echo parent').stdout, end='')
"""
    status, out, err = script(code, sandbox.id).finish()
    assert (status, err) == (0, "")
    assert out == "not_ready True\n" * 4 + "child\n['end\\n', '']\nparent\n"


def test_a_forked_child_with_the_default_client(sandbox, script):
    code = """
import os, sys
from orkestr import Sandbox
Sandbox.list()
if (child := os.fork()) == 0:
    print(Sandbox.get(sys.argv[1]).exec('echo child').stdout, end='', flush=True)
    sys.exit(0)
sys.exit(os.waitpid(child, 0)[1])
"""
    assert script(code, sandbox.id).finish() == (0, "child\n", "")


LIVE = {
    "stream": "stream = sandbox.exec_stream('yes'); next(stream)",
    "reader": "reader = sandbox.files.read_stream('/etc/passwd')",
    "writer": "writer = sandbox.files.write_stream('/tmp/never'); writer.write(b'x')",
    "thread in exec": "Thread(target=sandbox.exec, args=('sleep 20',), daemon=True).start(); time.sleep(0.3)",
    "thread in stream": "Thread(target=lambda: list(sandbox.exec_stream('yes')), daemon=True).start()",
    "cycle": "cycle = [sandbox]; cycle.append(cycle); del sandbox",
}


@pytest.mark.parametrize("held", LIVE.values(), ids=LIVE.keys())
def test_the_interpreter_ends_cleanly_with_live_objects(sandbox, script, held):
    code = f"""
import sys, time
from threading import Thread
from orkestr import Sandbox
sandbox = Sandbox.get(sys.argv[1])
{held}
print('end')
"""
    start = time.monotonic()
    assert script(code, sandbox.id).finish(20) == (0, "end\n", "")
    assert time.monotonic() - start < 10
    assert not sandbox.files.exists("/tmp/never")


# Used while the interpreter ends. Until atexit is over everything is there, and later what was there goes on working.
USES = {
    "exec": "assert sandbox.exec('echo used').stdout == 'used\\n'",
    "stream": "assert [chunk.data for chunk in sandbox.exec_stream('echo used')][0] == 'used\\n'",
    "file": "assert sandbox.files.read_stream('/etc/passwd').read(4) == b'root'",
}
MOMENTS = {
    "atexit": (
        "@atexit.register\ndef last():\n    use()\n    print('used', flush=True)",
        "end\nused\n",
    ),
    # Whether the module's own globals are still there then is Python's business.
    "del": (
        "class Last:\n    def __del__(self, use=use, say=os.write):\n        use()\n        say(1, b'used\\n')\nlast = Last()",
        "end\nused\n",
    ),
    "daemon": (
        "def forever():\n    while True: use()\n"
        "for _ in range(4): threading.Thread(target=forever, daemon=True).start()\ntime.sleep(0.5)",
        "end\n",
    ),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
@pytest.mark.parametrize("moment, says", MOMENTS.values(), ids=MOMENTS.keys())
def test_objects_are_used_while_the_interpreter_ends(sandbox, script, moment, says, use):
    code = f"""
import atexit, os, sys, threading, time
from orkestr import Sandbox
def use(sandbox=Sandbox.get(sys.argv[1])):
    {use}
{moment}
print('end', flush=True)
"""
    start = time.monotonic()
    assert script(code, sandbox.id).finish(20) == (0, says, "")
    assert time.monotonic() - start < 10


def test_many_calls_leave_nothing_behind(sandbox):
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    for _ in range(20):
        sandbox.run(["true"])
    before = descriptors()
    for _ in range(200):
        sandbox.run(["true"])
        with sandbox.exec_stream("true") as output:
            next(output)
    assert descriptors() <= before + 2


# The shortest life of a sandbox is 10 s, so a thousand take minutes: `./dev soak` drops 1,000, `./dev test` 20.
DROPPED = 1000 if int(os.environ.get("ORKESTR_TEST_SCALE", "1")) >= 10 else 20


def test_sandboxes_dropped_without_closing_leave_nothing_past_their_timeout(home):
    def drop(number: int) -> str:
        dropped = Sandbox.create(TEMPLATE, timeout_seconds=10)
        if number % 3 == 1:
            next(dropped.exec_stream("echo x; sleep 1000"))
        elif number % 3 == 2:
            dropped.exec("sleep 1000", background=True)
        return dropped.id

    def left() -> set[str]:
        files = (home / "state" / "sandboxes").rglob("*")
        return {str(path) for path in files if not path.is_dir() and path.name not in LEFT_BY_AN_ENDED_SANDBOX}

    files_before, processes_before = left(), set(processes_of(home))
    wave = min(40, Sandbox.limits().max_concurrent - 1)
    for done in range(0, DROPPED, wave):
        with ThreadPoolExecutor(8) as threads:
            ids = list(threads.map(drop, range(min(wave, DROPPED - done))))
        wait_until(lambda: set(processes_of(home)) <= processes_before, 30)
        assert set(processes_of(home)) <= processes_before, "processes of dropped sandboxes"
        assert left() <= files_before, "files of dropped sandboxes"
        assert Sandbox.get(ids[0]).end_reason == "timeout"
