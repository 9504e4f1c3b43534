"""What the documentation shows runs as it stands there: every block of code of the pages for users.

A block that cannot run here says so behind its language, with the reason: ```sh no-run: installs packages
A piece of a program says what stands around it: ```js with: sandbox
"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
from dataclasses import dataclass

import pytest
from conftest import ROOT, TEMPLATE, running_service

pytestmark = pytest.mark.vm

FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", re.M | re.S)
PROGRAMS = ("python", "cpp", "c", "js", "sh")
NO_PROGRAM = ("text", "cmake", "json")  # what a program says, or a part of one that tests/package uses
LEFT_OUT = 10  # blocks with no-run, of all pages; another one is a decision

# A person ends what follows by Ctrl-C, and a shell by leaving it.
PRELUDE = """set -euo pipefail
mkdir project; echo data > project/file
orkestr() {
  case " $* " in
    *" --follow "*) timeout -s INT 3 orkestr "$@" || [[ $? == 124 || $? == 130 ]] ;;
    " shell "*) echo exit | script -qec "orkestr $*" /dev/null ;;
    *) command orkestr "$@" ;;
  esac
}
"""

# "with: NAME", in a language: what comes before a piece of a program, and after it.
AROUND = {
    ("python", "service"): (
        "from orkestr import OrkestrClient, Sandbox\n",
        "assert sandbox.backend == 'remote'\nsandbox.terminate()\n",
    ),
    ("js", "sandbox"): (
        f"""import {{ Sandbox }} from "orkestr";
const template = "{TEMPLATE}";
const sandbox = await Sandbox.create({{ template }});
await sandbox.exec("printf '#!/bin/sh\\necho made\\n' > /usr/bin/make; chmod +x /usr/bin/make");
""",
        "await sandbox.terminate();\n",
    ),
}


@dataclass
class Block:
    page: str
    line: int
    language: str
    no_run: str | None
    around: str | None
    code: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> list[Block]:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "bindings").glob("*/README.md"))]
    found = []
    for page in pages:
        text = page.read_text()
        for match in FENCE.finditer(text):
            language, _, words = match[1].partition(" ")
            reason = words.removeprefix("no-run:").strip() if words.startswith("no-run") else None
            around = words.removeprefix("with:").strip() if words.startswith("with") else None
            found.append(Block(str(page.relative_to(ROOT)), text[: match.start()].count("\n") + 1, language, reason, around, match[2]))
    return found


BLOCKS = blocks()
RUN = [block for block in BLOCKS if block.language in PROGRAMS and block.no_run is None]


def run(command: list[str], directory: pathlib.Path, seconds: float = 300, **variables: str) -> str:
    path = f"{ROOT / 'build' / 'bin'}:{os.environ['PATH']}"
    done = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=seconds,
        env=os.environ | {"PATH": path, "LD_LIBRARY_PATH": str(ROOT / "build" / "lib")} | variables,
    )  # fmt: skip
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def compiled(compiler: list[str], file: str, include: str, directory: pathlib.Path) -> list[str]:
    run([*compiler, "-Wall", "-Werror", f"-I{ROOT / include}", file, "-o", "program", f"-L{ROOT / 'build' / 'lib'}", "-lsandbox"], directory)
    return ["./program"]


def command_of(block: Block, code: str, directory: pathlib.Path) -> list[str]:
    file = {"python": "it.py", "cpp": "it.cpp", "c": "it.c", "js": "it.mjs", "sh": "it.sh"}[block.language]
    before, after = AROUND[block.language, block.around] if block.around else (PRELUDE if block.language == "sh" else "", "")
    (directory / file).write_text(before + code + after)
    if block.language == "python":
        return [sys.executable, "-W", "error", file]
    if block.language == "cpp":
        return compiled(["g++", "-std=c++17"], file, "include", directory)
    if block.language == "c":
        return compiled(["gcc", "-std=c99"], file, "build/generated/capi", directory)
    if block.language == "js":
        (directory / "node_modules").symlink_to(ROOT / "build" / "node")
        return ["node", file]
    return ["bash", file]


@pytest.mark.parametrize("block", RUN, ids=str)
def test_block(block: Block, home: pathlib.Path, tmp_path: pathlib.Path) -> None:
    if block.around != "service":
        run(command_of(block, block.code, tmp_path), tmp_path)
        return
    with running_service() as url:
        code = block.code.replace("https://…", url).replace("…", "test-key")
        run(command_of(block, code, tmp_path), tmp_path, no_proxy="127.0.0.1")


def test_every_block_is_accounted_for() -> None:
    unknown = [str(block) for block in BLOCKS if block.language not in PROGRAMS + NO_PROGRAM]
    assert unknown == [], "blocks without a language"
    left_out = [block for block in BLOCKS if block.no_run is not None]
    for block in left_out:
        print(f"{block}: left out: {block.no_run}")
    assert all(block.no_run for block in left_out), "no-run wants a reason"
    assert len(left_out) == LEFT_OUT
    assert len(RUN) >= 6


def test_quickstart(home: pathlib.Path, tmp_path: pathlib.Path) -> None:
    number, duration, about = run([sys.executable, str(ROOT / "examples" / "quickstart.py")], tmp_path).splitlines()
    assert number == "499999500000"
    assert re.fullmatch(r"duration_ms: \d+", duration)
    assert re.fullmatch(
        r"accelerator: (tcg|kvm), isolation: (emulated|hardware), create \d+ ms, exec \d+ ms, terminate \d+ ms", about
    )
