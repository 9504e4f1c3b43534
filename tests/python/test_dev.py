"""`./dev python`, `node` and `orkestr` from another directory: a relative path is one of that directory."""

from __future__ import annotations

import json
import pathlib
import subprocess

import pytest
from conftest import ROOT


@pytest.mark.parametrize(
    "arguments, file, said",
    [
        (["python", "mine.py"], "import orkestr, os; print(orkestr.__name__, os.getcwd())", "orkestr {here}"),
        (["node", "mine.mjs"], 'import "orkestr"; console.log(process.cwd())', "{here}"),
        (["orkestr", "template", "build", "--recipe", "mine.json"], json.dumps({"name": "x", "hue": 1}), "'hue'"),
    ],
)
def test_relative_paths(home: pathlib.Path, tmp_path: pathlib.Path, arguments: list[str], file: str, said: str) -> None:
    (tmp_path / arguments[-1]).write_text(file)
    done = subprocess.run([str(ROOT / "dev"), *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert said.format(here=tmp_path) in done.stdout + done.stderr
