#!/usr/bin/env python3
"""The generated pages are up to date: every member in every language, or with a reason; errors alike everywhere."""
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

if __name__ == "__main__":
    sys.exit(subprocess.run([sys.executable, ROOT / "docs/tools/generate.py", "--check"]).returncode)
