"""Runs a script in a virtual machine of its own. `./dev quickstart` builds what this needs.

expect: 499999500000
"""

import time

from orkestr import Sandbox

SCRIPT = "print(sum(range(1_000_000)))\n"


def main() -> None:
    start = time.perf_counter()
    with Sandbox.create("python-3.12-bare") as sandbox:
        created = time.perf_counter()
        sandbox.files.write("/workspace/main.py", SCRIPT)
        before = time.perf_counter()
        result = sandbox.exec("python3 main.py")
        executed = time.perf_counter()
    ended = time.perf_counter()

    print(result.stdout, end="")
    print(f"duration_ms: {result.duration_ms}")
    print(
        f"accelerator: {sandbox.accelerator}, isolation: {sandbox.isolation}, "
        f"create {1000 * (created - start):.0f} ms, exec {1000 * (executed - before):.0f} ms, "
        f"terminate {1000 * (ended - executed):.0f} ms"
    )


if __name__ == "__main__":
    main()
