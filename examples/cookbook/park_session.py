"""Between two turns of an agent its session is parked on disk, where it costs no memory and no processor. Another process
goes on with it: with the variables, files and processes as they were.

expect: turn 1: learned 3 facts
expect: parked, status paused
expect: turn 2, in another process: 3 facts, the answer is 42
"""

import subprocess
import sys

from orkestr import Sandbox

# An interpreter that lives as long as the session: it runs what comes through one pipe and answers through another.
SESSION = """
import contextlib, io, os
os.mkfifo("/run/answer")
os.mkfifo("/run/code")
variables = {}
while True:
    with open("/run/code") as pipe:
        code = pipe.read()
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(code, variables)
    with open("/run/answer", "w") as pipe:
        pipe.write(output.getvalue())
"""
START = "python3 /workspace/session.py & until [ -p /run/code ]; do sleep 0.05; done"


def run(sandbox: Sandbox, code: str) -> str:
    return sandbox.run(["bash", "-c", 'echo "$1" >/run/code; cat /run/answer', "-", code]).stdout


def first_turn() -> str:
    sandbox = Sandbox.create("python-3.12-bare")
    sandbox.files.write("/workspace/session.py", SESSION)
    sandbox.exec(START)
    learned = run(sandbox, "facts = {'a': 19, 'b': 23, 'c': 0}; print('learned', len(facts), 'facts')")
    print("turn 1:", learned, end="")
    return sandbox.pause()


def second_turn(sandbox_id: str) -> None:
    with Sandbox.resume(sandbox_id) as sandbox:
        answer = run(sandbox, "print(len(facts), 'facts, the answer is', sum(facts.values()))")
        print("turn 2, in another process:", answer, end="")


def main() -> None:
    sandbox_id = first_turn()
    print(f"parked, status {Sandbox.get(sandbox_id).status}", flush=True)
    # An hour later, on the next message of the user:
    subprocess.run([sys.executable, __file__, sandbox_id], check=True)


if __name__ == "__main__":
    second_turn(sys.argv[1]) if len(sys.argv) == 2 else main()
