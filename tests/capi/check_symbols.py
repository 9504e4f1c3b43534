#!/usr/bin/env python3
"""The C functions that the library exports, that orkestr.h declares and that capi/symbols.txt lists are the same; the test program calls
every one of them; and each status has the number and the name of its code in errors.def. symbols.txt grows at its end only: each line is a function and the version it came with."""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main(library: str) -> int:
    problems = []
    nm = subprocess.run(["nm", "--dynamic", "--defined-only", "--format=posix", library], text=True, capture_output=True, check=True)
    names = [line.split()[0] for line in nm.stdout.splitlines()]
    exported = {name for name in names if name.startswith("orkestr_")}
    strange = [name for name in names if not name.startswith("orkestr_") and "7orkestr" not in name]
    problems += [f"{name} is exported and is none of ours" for name in strange]

    header = (ROOT / "capi/orkestr.h").read_text()
    declarations = re.findall(r"(/\*(?:(?!\*/).)*\*/\s*)?ORKESTR_API [^;(]*?(orkestr_\w+)\(", header, re.S)
    declared = {name: re.search(r"since (\d+\.\d+)", comment or "") for comment, name in declarations}
    lines = [line.split() for line in (ROOT / "capi/symbols.txt").read_text().splitlines() if line and not line.startswith("#")]
    listed = {name: since for name, since in lines}
    for name in sorted(exported ^ set(listed)):
        problems.append(f"{name} is {'exported but not in symbols.txt' if name in exported else 'in symbols.txt but not exported'}")
    for name in sorted(exported ^ set(declared)):
        problems.append(f"{name} is {'exported but not in orkestr.h' if name in exported else 'in orkestr.h but not exported'}")
    versions = [tuple(map(int, since.split("."))) for _, since in lines]
    if versions != sorted(versions):
        problems.append("symbols.txt is not in order of introduction")
    for name, since in lines:
        tag = declared.get(name)
        if (tag.group(1) if tag else "0.7") != since:
            problems.append(f"{name}: symbols.txt says {since}, orkestr.h {tag.group(1) if tag else 'nothing, so 0.7'}")

    codes = re.findall(r"^ORKESTR_ERROR\((\w+),", (ROOT / "src/base/errors.def").read_text(), re.M)
    enum = header[header.index("typedef enum orkestr_status") : header.index("} orkestr_status;")]
    statuses = {int(number): name for name, number in re.findall(r"ORKESTR_(\w+) = (\d+)", enum)}
    wanted = {0: "OK", **{number: code.upper() for number, code in enumerate(codes, 1)}, len(codes) + 1: "OUT_OF_MEMORY"}
    wanted[codes.index("api") + 1] = "API_ERROR"  # ORKESTR_API is the macro of what is exported
    problems += [f"status {number} is {statuses.get(number)}, not {name}" for number, name in wanted.items() if statuses.get(number) != name]

    calls = "".join(path.read_text() for path in (ROOT / "tests/capi").glob("*.c"))
    problems += [f"{name} is called by no test" for name in listed if not re.search(rf"\b{name}\(", calls)]
    if len(listed) < 50:
        problems.append(f"only {len(listed)} functions are listed: the check looks in the wrong place")
    print("\n".join(problems) if problems else f"symbols: {len(listed)} C functions exported, declared, listed and tested")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
