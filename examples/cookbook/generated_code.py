"""Runs code that a model wrote: it may be wrong, loop for ever, or be hostile. Each outcome is an ordinary value.

expect: ok: 4950
expect: failed with exit code 1: ZeroDivisionError: division by zero
expect: stopped after 2 s; until then it printed: 'thinking
"""

from orkestr import ExecTimeout, Sandbox

GENERATED = {
    "a sum": "print(sum(range(100)))",
    "a mistake": "print(1 / 0)",
    "an endless loop": "print('thinking', flush=True)\nwhile True: pass",
}


def run(sandbox: Sandbox, code: str) -> str:
    sandbox.files.write("/workspace/generated.py", code)
    try:
        result = sandbox.exec("python3 generated.py", timeout_seconds=2)
    except ExecTimeout as error:
        return f"stopped after 2 s; until then it printed: {error.stdout!r}"
    if result.exit_code != 0:
        return f"failed with exit code {result.exit_code}: {result.stderr.splitlines()[-1]}"
    return f"ok: {result.stdout.strip()}"


def main() -> None:
    with Sandbox.create("python-3.12-bare") as sandbox:
        for name, code in GENERATED.items():
            print(f"{name}: {run(sandbox, code)}")


if __name__ == "__main__":
    main()
