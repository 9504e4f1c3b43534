#!/usr/bin/env python3
"""A header as Doxygen wants it: our comments are plain ones, so that the header reads well by itself."""

import pathlib
import re
import sys


def cpp(text: str) -> str:
    lines = []
    for line in text.splitlines():
        if re.match(r"\s*//(?!/)", line):  # before what it speaks of, or the head of the file
            line = line.replace("//", "///", 1)
        else:  # behind it
            line = re.sub(r"(?<=[;,{)])(\s*)// ?", r"\1///< ", line)
        lines.append(line)
    return "/// \\file\n///\n" + "\n".join(lines) + "\n"


def c(text: str) -> str:
    text = re.sub(r"^(\s*)/\*(?!\*)", r"\1/**", text, flags=re.M)
    text = re.sub(r"(?<=[;,})0-9])(\s*)/\*(?!\*)", r"\1/**<", text)
    return "/** \\file */\n" + text


if __name__ == "__main__":
    path = pathlib.Path(sys.argv[1])
    sys.stdout.write((c if path.suffix == ".h" else cpp)(path.read_text()))
