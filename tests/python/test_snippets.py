"""What the documentation shows runs as it stands there."""

import pathlib
import re
import subprocess
import sys

import pytest
from conftest import ROOT

pytestmark = pytest.mark.vm

# ```python blocks of README.md; one that cannot run alone says so: ```python no-run
FENCE = re.compile(r"^```python[ \t]*([^\n]*)\n(.*?)^```", re.M | re.S)


def snippets(path: pathlib.Path) -> list[str]:
    return [code for words, code in FENCE.findall(path.read_text()) if "no-run" not in words.split()]


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_quickstart(home):
    number, duration, about = run(str(ROOT / "examples" / "quickstart.py")).splitlines()
    assert number == "499999500000"
    assert re.fullmatch(r"duration_ms: \d+", duration)
    assert re.fullmatch(
        r"accelerator: (tcg|kvm), isolation: (emulated|hardware), create \d+ ms, exec \d+ ms, terminate \d+ ms", about
    )


def test_readme(home):
    found = snippets(ROOT / "README.md")
    assert found, "README.md has no Python snippet"
    for code in found:
        run("-c", code)
