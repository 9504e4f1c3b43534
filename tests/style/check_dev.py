#!/usr/bin/env python3
"""How `dev` counts what node's test runner says: a run that nobody could trust must not count as one that passed."""
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SUMMARY = "ℹ tests 9\nℹ suites 0\nℹ pass {}\nℹ fail {}\nℹ cancelled {}\nℹ skipped {}\nℹ todo {}\nℹ duration_ms 12.5\n"

# What the runner wrote, its exit code, and what that counts as: passed, failed, skipped.
CASES = [
    ("✔ a (1ms)\n" + SUMMARY.format(9, 0, 0, 0, 0), 0, (9, 0, 0)),
    (SUMMARY.format(4, 2, 1, 1, 1), 1, (4, 3, 2)),
    (SUMMARY.format(9, 0, 0, 0, 0), 1, (9, 1, 0)),  # it failed, whatever it says
    ("✔ a (1ms)\nSegmentation fault\n", 139, (0, 1, 0)),  # it died
    ("", 1, (0, 1, 0)),
    ("", 0, (0, 1, 0)),  # nothing ran
    ("ℹ pass 7\n" + SUMMARY.format(3, 0, 0, 0, 0), 0, (3, 0, 0)),  # a test printed the like
    ("the ℹ pass 5\n" + SUMMARY.format(10, 0, 0, 0, 0), 0, (10, 0, 0)),
]


def counted(output: str, status: int) -> tuple[int, ...]:
    with tempfile.NamedTemporaryFile("w", suffix=".log") as log:
        log.write(output)
        log.flush()
        code = 'source "$0" help >/dev/null; count_node "$1" "$2"; echo "$PASSED $FAILED $SKIPPED"'
        done = subprocess.run(["bash", "-c", code, str(ROOT / "dev"), log.name, str(status)], stdout=subprocess.PIPE, text=True, check=True)
    return tuple(int(number) for number in done.stdout.split())


def main() -> int:
    bad = [f"{output!r} with exit code {status} counts as {got}, not {wanted}"
           for output, status, wanted in CASES if (got := counted(output, status)) != wanted]
    print("\n".join(bad) if bad else f"dev: {len(CASES)} summaries, all counted right")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
