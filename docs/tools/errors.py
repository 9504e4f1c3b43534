"""docs/ERRORS.md, made of src/base/errors.def; and that the headers and modules of every language have what the table has."""

from __future__ import annotations

import re

from members import ROOT

ROW = re.compile(r'^ORKESTR_ERROR\((\w+), (\w+), (\d+), "(.*?)", "(.*)"\)$', re.M)
HEAD = """# Errors

Made from [src/base/errors.def](../src/base/errors.def) by `./dev docs`; `./dev test style` compares. Every error has a stable `code` to
program against, a message that says what was tried, what happened and what to do, and the hint of its code. In C++, Python and Node each code has
a class; all derive from `OrkestrError`. In C the code is the status. Code, class and hint are the same in every language, and the message is, too.

| code | class | status | when | hint |
| --- | --- | --- | --- | --- |
"""
TAIL = """
`status` is the `status_code` of the class; the error of a service has that of its answer. `SnapshotCapReached` is a `PlanLimitError`,
`VolumeInUse` a `SandboxNotReady`, and `FileNotFound` a `SandboxNotFound`. In Python an error is also the built-in one of the same meaning, in Node
`InvalidArgument` also a `TypeError` or `RangeError`.
"""


def rows() -> list[tuple[str, str, str, str, str]]:
    text = (ROOT / "src/base/errors.def").read_text()
    found = ROW.findall(text)
    assert len(found) == len(re.findall(r"^ORKESTR_ERROR\(", text, re.M)), "a row of src/base/errors.def has another form"
    return found


def table() -> tuple[str, list[str]]:
    lines = [f"| `{code}` | `{cls}` | {status if status != '0' else ''} | {when} | {hint} |" for code, cls, status, when, hint in rows()]
    return HEAD + "\n".join(lines) + "\n" + TAIL, problems()


def problems() -> list[str]:
    codes, classes = [row[0] for row in rows()], {row[1] for row in rows()}
    wrong = []

    def compare(what: str, found: list[str] | set[str], wanted: list[str] | set[str]) -> None:
        if found != wanted:
            wrong.append(f"{what} is not that of src/base/errors.def: {sorted(set(found) ^ set(wanted)) or 'the order differs'}")

    header = (ROOT / "include/orkestr/error.hpp").read_text()
    compare("include/orkestr/error.hpp: the enumeration", re.findall(r"^  (\w+),", re.search(r"enum class ErrorCode \{(.*?)\};", header, re.S)[1], re.M), codes)
    compare("include/orkestr/error.hpp: the classes", set(re.findall(r"class ORKESTR_API (\w+) : public", header)), classes)
    python = (ROOT / "bindings/python/orkestr/errors.py").read_text()
    compare("errors.py: the classes", set(re.findall(r"^class ([A-Z]\w+)\(", python, re.M)) - {"InvalidArgumentType"}, classes)
    c = ROOT / "capi/orkestr.h"
    if c.exists():
        # In the order of the table, from 1 on: a status is the number of its code, plus one.
        statuses = re.findall(r"^  ORKESTR_(\w+) = (\d+)", re.search(r"enum orkestr_status \{(.*?)\}", c.read_text(), re.S)[1], re.M)
        named = {int(number): name.lower().removesuffix("_error") for name, number in statuses}
        compare("capi/orkestr.h: the statuses", [named.get(i + 1, "?") for i in range(len(codes))], codes)
    node = ROOT / "bindings/node/index.d.ts"
    if node.exists():
        found = set(re.findall(r"^export class (\w+) extends (?:Error|\w+Error|Sandbox\w+)\b", node.read_text(), re.M))
        compare("index.d.ts: the classes", found, classes)
    return wrong
