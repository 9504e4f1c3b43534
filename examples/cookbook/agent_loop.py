"""An agent's loop: the model asks for a command, sees what it did, and asks for the next one, until it is content.

The "model" here is a script, so that the example needs no key; put a call to yours in its place.

expect: $ python3 -m unittest -q (exit code 1)
expect: $ python3 -m unittest -q (exit code 0)
expect: done: the tests pass
"""

from orkestr import Sandbox

PROJECT = {
    "/workspace/words.py": "def count(text):\n    return len(text.split(' '))\n",
    "/workspace/test_words.py": (
        "import unittest\nimport words\n\n\n"
        "class Words(unittest.TestCase):\n"
        "    def test_count(self):\n"
        "        self.assertEqual(words.count('two  words'), 2)\n"
    ),
}


def model(history: list[tuple[str, int, str]]) -> str | None:
    """The next command, or None when there is nothing left to do."""
    if not history:
        return "python3 -m unittest -q"
    command, exit_code, output = history[-1]
    if "unittest" in command and exit_code == 0:
        return None
    if "AssertionError: 3 != 2" in output:
        return "sed -i \"s/split(' ')/split()/\" words.py"
    return "python3 -m unittest -q"


def main() -> None:
    with Sandbox.create("python-3.12-bare", network="off", timeout_seconds=300) as sandbox:
        for path, content in PROJECT.items():
            sandbox.files.write(path, content)
        history: list[tuple[str, int, str]] = []
        while len(history) < 10 and (command := model(history)) is not None:
            result = sandbox.exec(command)
            history.append((command, result.exit_code, result.stdout + result.stderr))
            print(f"$ {command} (exit code {result.exit_code})")
        print("done: the tests pass" if history[-1][1] == 0 else "gave up")


if __name__ == "__main__":
    main()
