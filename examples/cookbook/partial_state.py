"""A timeout ends the command and everything it started, not the sandbox: what it had done is still there.

expect: stopped; it said: 'processed 0
expect: picks up at item
expect: all 8 items are done
"""

from orkestr import ExecTimeout, Sandbox

JOB = """
import pathlib, time
done = pathlib.Path("done.txt")
start = len(done.read_text().split()) if done.exists() else 0
if start:
    print("picks up at item", start)
for item in range(start, 8):
    time.sleep(0.4)
    with done.open("a") as file:
        file.write(f"{item}\\n")
    print("processed", item, flush=True)
"""


def main() -> None:
    with Sandbox.create("python-3.12-bare") as sandbox:
        sandbox.files.write("/workspace/job.py", JOB)
        try:
            sandbox.exec("python3 job.py", timeout_seconds=2)
        except ExecTimeout as error:
            print(f"stopped; it said: {error.stdout!r}")
        print(sandbox.exec("python3 job.py", timeout_seconds=60).stdout, end="")
        items = sandbox.files.read("/workspace/done.txt").split()
        print(f"all {len(items)} items are done")


if __name__ == "__main__":
    main()
