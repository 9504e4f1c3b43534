#!/usr/bin/env python3
"""Every public header compiles alone, as C++17, pedantic, without warnings, with the standard library only."""
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def main() -> int:
    headers = sorted((ROOT / "include" / "orkestr").glob("*.hpp"))
    failed = 0
    for header in headers:
        unit = f'#include <orkestr/{header.name}>\n#include <orkestr/{header.name}>\nint main() {{ return 0; }}\n'
        run = subprocess.run(["g++", "-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-I", str(ROOT / "include"), "-x", "c++", "-"],
                             input=unit, text=True, capture_output=True, timeout=120)
        if run.returncode != 0:
            failed += 1
            print(f"{header.name}:\n{run.stderr}")
        for line in header.read_text().splitlines():
            if line.startswith("#include <") and "/" in line and "orkestr/" not in line and "sys/" not in line:
                failed += 1
                print(f"{header.name}: third-party header in the public interface: {line}")
    if not headers:
        print("no public headers found")
        return 1
    print(f"headers: {len(headers)} compile alone as C++17" if not failed else f"headers: {failed} problems")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
