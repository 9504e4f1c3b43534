#!/usr/bin/env python3
"""Arrows point downward only: which folder may include which. The picture is in src/README.md."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# folder -> folders it may include from. `api` is include/orkestr; `error` its two headers that every layer may use;
# `backend` is src/backend.hpp.
ERROR = {"error"}
ALLOWED = {
    "base": ERROR,
    "wire": ERROR | {"base"},
    "registry": ERROR | {"base"},
    "guest": ERROR | {"base", "wire"},
    "vm": ERROR | {"base"},
    "image": ERROR | {"base"},
    "supervisor": ERROR | {"base", "wire", "registry", "vm", "image"},
    "backend": ERROR | {"api", "base"},
    "local": ERROR | {"api", "base", "wire", "registry", "image", "backend"},
    "remote": ERROR | {"api", "base", "backend"},
    "core": ERROR | {"api", "base", "backend"},
    # doctor() and gc() look at everything this machine has of ours, and nothing includes them but their public header.
    "host": ERROR | {"api", "base", "registry", "image", "local"},
    "cli": ERROR | {"api", "base", "image"},
    "api": ERROR | {"api"},
    # Of base only what needs no other part of it: try.hpp and unique_fd.hpp.
    "capi": ERROR | {"api", "base"},
    "bindings": ERROR | {"api"},
    "examples": ERROR | {"api"},
}
# The one file that chooses the backend may see its implementations.
EXCEPTIONS = {("src/core/choose_backend.cpp", "local"), ("src/core/choose_backend.cpp", "remote")}
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]', re.M)


def room_of(path: pathlib.Path) -> str | None:
    parts = path.relative_to(ROOT).parts
    if parts[0] == "include":
        return "error" if path.name in ("error.hpp", "version.hpp") else "api"
    if parts[0] in ("capi", "bindings", "examples"):
        return parts[0]
    if parts == ("src", "backend.hpp"):
        return "backend"
    return parts[1] if parts[0] == "src" and len(parts) > 2 else None


def target_of(path: pathlib.Path, quote: str, name: str) -> str | None:
    """The room an include leads to; nothing for the standard library and third parties."""
    if name.startswith("orkestr/"):
        return "error" if name in ("orkestr/error.hpp", "orkestr/version.hpp") else "api"
    if name == "backend.hpp":
        return "backend"
    head = name.split("/")[0]
    if head in ALLOWED and "/" in name:
        return head
    return room_of(path) if quote == '"' and (path.parent / name).exists() else None


def main() -> int:
    bad, seen = [], 0
    files = [p for top in ("src", "include", "capi", "bindings", "examples") for p in (ROOT / top).rglob("*") if p.suffix in (".hpp", ".cpp", ".h", ".c")]
    for path in sorted(files):
        room = room_of(path)
        if room is None:
            bad.append(f"{path.relative_to(ROOT)}: belongs to no folder that check_includes.py knows")
            continue
        for quote, name in INCLUDE.findall(path.read_text()):
            seen += 1
            target = target_of(path, quote, name)
            rel = str(path.relative_to(ROOT))
            if target is None or target == room or target in ALLOWED.get(room, set()) or (rel, target) in EXCEPTIONS:
                continue
            bad.append(f"{rel}: includes {name}; {room} may include only {', '.join(sorted(ALLOWED.get(room, [])))}")
    if seen < 100:
        bad.append(f"only {seen} includes were found: the check looks in the wrong place")
    print("\n".join(bad) if bad else f"includes: {seen} in {len(files)} files, all point downward")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
