#!/usr/bin/env python3
"""Small rules about the tree: file sizes, pragma once, no machine paths, no bare ownership, no unfinished marks without a reason."""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOFT_CAP = 600
CODE = {".hpp", ".cpp", ".h", ".c", ".py", ".sh", ".cmake"}


def tracked() -> list[pathlib.Path]:
    out = subprocess.run(  # (safe.directory: root may test a checkout that belongs to somebody else)
        ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, check=True).stdout
    return [ROOT / line for line in out.splitlines() if (ROOT / line).is_file() and not line.startswith("third_party/")]


def rules(path: pathlib.Path, text: str) -> list[str]:
    bad = []
    lines = text.splitlines()
    if path.suffix in CODE and len(lines) > SOFT_CAP:
        bad.append(f"{len(lines)} lines; a file fits a sitting ({SOFT_CAP})")
    if path.suffix == ".hpp" and "#pragma once" not in text:
        bad.append("no #pragma once")
    # An interface ends with a newline and carries no trailing blanks.
    for number, line in enumerate(lines, 1):
        if line != line.rstrip() and path.suffix in CODE:
            bad.append(f"line {number}: trailing blanks")
        if path.suffix in {".hpp", ".cpp"} and path.parts[len(ROOT.parts)] == "src":
            if re.search(r"\bstd::(cout|cerr|endl)\b", line):
                bad.append(f"line {number}: the library prints nothing; executables use their log")
            if re.search(r"(^|[^\w.])new [A-Z]\w*[({]", line) and "std::unique_ptr" not in line and "std::shared_ptr" not in line:
                bad.append(f"line {number}: bare new without an owner on the same line")
        if re.search(r"/(work|root|home)/(?!\.)\w+", line) and path.name != pathlib.Path(__file__).name and "/root/" not in line:
            bad.append(f"line {number}: a path of one machine")
        if re.search(r"\b(TODO|FIXME|XXX)\b(?!\()", line) and path.name != pathlib.Path(__file__).name:
            bad.append(f"line {number}: a TODO says its kind: TODO(kind): what would have to be true")
    return bad


def main() -> int:
    problems, files = [], tracked()
    for path in files:
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        problems += [f"{path.relative_to(ROOT)}: {p}" for p in rules(path, text)]
    if len(files) < 50:
        problems.append(f"only {len(files)} files were found: the check looks in the wrong place")
    print("\n".join(problems) if problems else f"tree: {len(files)} files, no findings")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
