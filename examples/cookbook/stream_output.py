"""Output of a long command as it comes. Breaking off would leave it running; `cancel()` kills it.

expect: step 1
expect: step 5
expect: exit code 0
"""

import time

from orkestr import Sandbox

BUILD = "for i in 1 2 3 4 5; do echo step $i; sleep 0.3; done; echo warnings: 0 >&2"


def main() -> None:
    with Sandbox.create("python-3.12-bare") as sandbox:
        start = time.monotonic()
        for chunk in sandbox.exec_stream(BUILD, timeout_seconds=60):
            if chunk.is_final:
                print(f"exit code {chunk.exit_code} after {chunk.duration_ms} ms")
            else:
                print(f"[{time.monotonic() - start:4.1f} s] {chunk.stream}: {chunk.data}", end="", flush=True)


if __name__ == "__main__":
    main()
