#!/usr/bin/env python3
"""Writes the pages of docs/ that are made from sources; with --check only says where they differ, and what is wrong with the sources."""

import argparse
import sys

import errors
import parity
from members import ROOT

PAGES = {"docs/PARITY.md": parity.table, "docs/ERRORS.md": errors.table}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    problems = []
    for name, make in PAGES.items():
        page, wrong = make()
        problems += wrong
        path = ROOT / name
        if not check:
            path.write_text(page)
        elif not path.exists() or path.read_text() != page:
            problems.append(f"{name} is not up to date: run docs/tools/generate.py")
    print("\n".join(problems) if problems else f"pages: {', '.join(PAGES)} are complete and up to date")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
