"""The public members of every language, read from headers, sources and types: (group, member) → how it is spelled there.

The group is what a thing is called in docs/parity.json, the member its name in snake_case. No compiler is asked: what is public has a
regular form in our headers, and a form that is not understood shows as a missing member. What is public at all (public_…) must be in a
group, or among the ignored ones of docs/parity.json.
"""

from __future__ import annotations

import ast
import pathlib
import re
from typing import Iterator

ROOT = pathlib.Path(__file__).resolve().parents[2]
Members = dict[tuple[str, str], str]


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def body_after(text: str, start: int) -> tuple[str, int]:
    """What is between the brace at or after `start` and its partner, and where that ends."""
    begin = text.index("{", start) + 1
    depth = 1
    for at in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[begin:at], at + 1
    raise ValueError("a brace without a partner")


def without_comments(text: str) -> str:
    return re.sub(r"//[^\n]*|/\*.*?\*/", "", text, flags=re.S)


def statements(body: str) -> Iterator[str]:
    """Declarations at the top of a body: up to a semicolon, or with a body of their own."""
    depth, begin = 0, 0
    for at, char in enumerate(body):
        depth += {"{": 1, "(": 1, "}": -1, ")": -1}.get(char, 0)
        if depth == 0 and (char == ";" or (char == "}" and "(" in body[begin:at])):
            yield body[begin:at].strip()
            begin = at + 1
    if body[begin:].strip():
        yield body[begin:].strip()


def error_classes() -> set[str]:
    """Of all languages; docs/ERRORS.md has them."""
    return set(re.findall(r"^ORKESTR_ERROR\(\w+, (\w+),", (ROOT / "src/base/errors.def").read_text(), re.M))


# ---- C++


def public_cpp() -> set[str]:
    found = set()
    for header in (ROOT / "include/orkestr").glob("*.hpp"):
        text = without_comments(header.read_text())
        found |= set(re.findall(r"^(?:template <.*>\s)?(?:class|struct)(?: ORKESTR_API| \[\[\w+\]\])* (\w+)[^;({]*\{", text, re.M))
        found |= set(re.findall(r"^(?:template <.*>\s)?(?:ORKESTR_API|inline|constexpr) [^;{]*?\b(\w+)\(", text, re.M))
    return found - error_classes()


def cpp_members(body: str, is_class: bool) -> Iterator[str]:
    public = not is_class
    for part in re.split(r"^ *(public|private|protected):", body, flags=re.M):
        if part in ("public", "private", "protected"):
            public = part == "public"
            continue
        for statement in statements(part) if public else ():
            if re.match(r"(explicit|friend|using|struct|class|enum|template|~)\b|~|\[\[noreturn\]\]", statement) or "operator" in statement:
                continue
            call = re.search(r"(\w+)\(", statement)
            field = re.search(r"(\w+)\s*(?:\{.*\}|=[^=].*)?$", statement, re.S)
            name = call[1] if call and "=" not in statement[: call.start()] and "{" not in statement[: call.start()] else field and field[1]
            if name and name != "impl" and " " in statement:
                yield name


def cpp(groups: dict[str, list[str]]) -> Members:
    found: Members = {}
    group_of = {name: group for group, names in groups.items() for name in names}
    for header in sorted((ROOT / "include/orkestr").glob("*.hpp")):
        text = without_comments(header.read_text())
        for match in re.finditer(r"^(class|struct)(?: ORKESTR_API)? (\w+)(?: : public \w+)? \{", text, re.M):
            name = match[2]
            if name not in group_of:
                continue
            names = list(cpp_members(body_after(text, match.start())[0], match[1] == "class"))
            for member in names:
                if member.removesuffix("_async") in names and member.endswith("_async") or member == name:
                    continue
                found[group_of[name], member] = f"{name}::{member}"
        for match in re.finditer(r"^ORKESTR_API [^;{]*?\b(\w+)\(", text, re.M):
            if match[1] in group_of:
                found[group_of[match[1]], match[1].removeprefix("pool_") if match[1].startswith("pool_") else match[1]] = f"{match[1]}()"
    return found


# ---- Python


def public_python() -> set[str]:
    """What `__all__` names: a class by its name, a function as MODULE.NAME, likewise all of a module."""
    package = ROOT / "bindings/python/orkestr"
    body = ast.parse((package / "__init__.py").read_text()).body
    exported = next(ast.literal_eval(one.value) for one in body if isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == "__all__")
    found = set()
    for file in package.glob("*.py"):
        for one in ast.parse(file.read_text()).body:
            if isinstance(one, ast.ClassDef) and one.name in exported:
                found.add(one.name)
            elif isinstance(one, ast.FunctionDef) and not one.name.startswith("_") and (one.name in exported or file.stem in exported):
                found.add(f"{file.stem}.{one.name}")
    return found - error_classes()


def python(groups: dict[str, list[str]]) -> Members:
    found: Members = {}
    group_of = {name: group for group, names in groups.items() for name in names}
    for file in sorted((ROOT / "bindings/python/orkestr").glob("*.py")):
        tree = ast.parse(file.read_text())
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                for member in node.body:
                    if isinstance(member, ast.FunctionDef) and member.name == "__init__" and node.name in group_of:
                        for name in re.findall(r"self\.([a-z]\w*)\b[^=\n]* = ", ast.unparse(member)):
                            found[group_of[node.name], name] = spelled(node.name, name)
                    name = python_name(member)
                    if name and node.name in group_of:
                        prefix = PYTHON_PREFIX.get(node.name, "")
                        found[group_of[node.name], prefix + name] = spelled(node.name, name)
                    if isinstance(member, ast.FunctionDef) and f"{node.name}.{member.name}()" in group_of:
                        for argument in python_arguments(member):
                            group = group_of[f"{node.name}.{member.name}()"]
                            found.setdefault((group, argument), f"{node.name}.{member.name}({argument}=)".replace(".__init__(", "("))
            elif isinstance(node, ast.FunctionDef):
                name = f"{file.stem}.{node.name}"
                if name in group_of:
                    found[group_of[name], node.name] = name.replace("client.", "orkestr.")
                for argument in python_arguments(node) if f"{name}()" in group_of else ():
                    found.setdefault((group_of[f"{name}()"], argument), f"{name}({argument}=)")
    return found


PYTHON_PREFIX = {"SandboxCpuMetrics": "cpu_", "SandboxMemoryMetrics": "memory_", "SandboxLifetimeUsage": "lifetime_"}


def spelled(cls: str, member: str) -> str:
    return f"{cls.lstrip('_').removesuffix('Attributes')}.{member}"


def python_name(node: ast.stmt) -> str | None:
    if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
        return node.name
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and not node.target.id.startswith("_"):
        return node.target.id
    return None


def python_arguments(node: ast.FunctionDef) -> list[str]:
    arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
    return [one.arg for one in arguments if one.arg not in ("self", "cls")]


# ---- Node


def public_node() -> set[str]:
    text = without_comments((ROOT / "bindings/node/index.d.ts").read_text())
    return set(re.findall(r"^export (?:declare |abstract )*(?:class|interface|function|const) (\w+)", text, re.M)) - error_classes()


def node(groups: dict[str, list[str]]) -> Members:
    types = ROOT / "bindings/node/index.d.ts"
    text = without_comments(types.read_text())
    group_of = {name: group for group, names in groups.items() for name in names}
    found: Members = {}
    bodies = {match[1]: body_after(text, match.end() - 1)[0] for match in re.finditer(r"^export interface (\w+)[^{;]*\{", text, re.M)}
    for match in re.finditer(r"^export (?:class|interface|const) (\w+)([^{;]*)\{", text, re.M):
        if match[1] in group_of:
            for parent in re.findall(r"\w+", match[2].partition("extends")[2]) if match[2].startswith(" extends") else ():
                if parent in NODE_SHARED:
                    for _, member in node_members(bodies[parent]):
                        found[group_of[match[1]], snake(member)] = f"{match[1]}.{member}"
            for within, member in node_members(body_after(text, match.end() - 1)[0]):
                group = group_of[f"{match[1]}.{within}"] if within else group_of[match[1]]
                found[group, snake(member).replace(".", "_")] = f"{match[1]}.{f'{within}.' if within else ''}{member}"
        # Options written in place: `name(first, options?: ({ offset?: number } & …) | null)`.
        body = body_after(text, match.end() - 1)[0]
        for statement in statements(body):
            called = re.match(r"(?:static )?(\w+)[<(]", statement)
            group = group_of.get(f"{match[1]}.{called[1]}()") if called else None
            for name in re.findall(r"(\w+)\??:", statement[statement.index("(") + 1 :]) if group else ():
                found.setdefault((group, snake(name)), f"{match[1]}.{called[1]}({name})")
    for match in re.finditer(r"^export (?:function|const) (\w+)(?:\(|: string)", text, re.M):
        if match[1] in group_of:
            found[group_of[match[1]], snake(match[1])] = match[1]
    return found


NODE_SHARED = ("ClientChoice",)  # interfaces whose members count where they are inherited


def node_members(body: str) -> Iterator[tuple[str, str]]:
    """(list, member): of a record written in place its members behind its name, of a list of them behind the list's."""
    for statement in statements(body):
        match = re.match(r"(?:static |readonly )*(\w+)\??(?=[(:<])", statement)
        if not match or match[1] in ("constructor", "private"):
            continue
        nested = re.match(r"[^:(]*:\s*\{(.*)\}\s*(\[\])?$", statement, re.S)
        if not nested or nested[2]:
            yield "", match[1]
        for _, member in node_members(nested[1]) if nested else ():
            yield (f"{match[1]}[]", member) if nested[2] else ("", f"{match[1]}.{member}")


# ---- C


def public_c() -> set[str]:
    """A struct is NAME{}."""
    text = (ROOT / "capi/orkestr.h").read_text()
    structs = re.findall(r"typedef struct orkestr_(\w+) \{", text)
    return set(re.findall(r"ORKESTR_API [^;]*?\borkestr_(\w+)\(", text)) | {f"{name}{{}}" for name in structs}


def c(groups: dict[str, list[str]]) -> Members:
    text = (ROOT / "capi/orkestr.h").read_text()
    group_of = {name: group for group, names in groups.items() for name in names}
    found: Members = {}
    # Functions: orkestr_PREFIX_member, and the fields that the comment before one lists.
    for match in re.finditer(r"(/\*(?:(?!\*/).)*\*/\n)?ORKESTR_API [^;]*?\borkestr_(\w+)\(", text, re.S):
        name = match[2]
        prefix = max((one for one in group_of if one.endswith("_") and name.startswith(one)), key=len, default=None)
        if prefix:
            found[group_of[prefix], name.removeprefix(prefix)] = f"orkestr_{name}()"
        if name in group_of:
            found[group_of[name], name] = f"orkestr_{name}()"
        if f"{name}()" in group_of and match[1]:
            for within, field in c_fields(match[1]):
                group = group_of.get(f"{name}().{within}" if within else f"{name}()")
                if group:
                    found.setdefault((group, field), f"{field} of orkestr_{name}(){f'.{within}' if within else ''}")
    for match in re.finditer(r"typedef struct orkestr_(\w+) \{", text):
        if f"{match[1]}{{}}" in group_of:
            for statement in statements(without_comments(body_after(text, match.start())[0])):
                callback = re.search(r"\(\*(\w+)\)", statement)
                name = callback[1] if callback else statement.split()[-1].lstrip("*")
                if name != "size" or match[1] == "size":
                    found[group_of[f"{match[1]}{{}}"], name] = f"orkestr_{match[1]}.{name}"
    return found


KIND = r"(?:text|integer|number|flag|bytes|time|list|map|record)"


def c_fields(comment: str) -> Iterator[tuple[str, str]]:
    """(list or record, field) of "(name text, sizes list of (size text, …), …)"; a list's name is followed by []."""
    flat = re.sub(r"\s*\n \*\s*", " ", comment)
    begin = re.search(rf"\((?=\w+ {KIND})", flat)
    depth, within = 0, ""
    for match in re.finditer(rf"(?!of )\b(\w+) {KIND}(?=\W)\??(?: of (?=\())?|[()]", flat[begin.start() :] if begin else ""):
        if match[0] == "(":
            depth += 1
        elif match[0] == ")":
            depth -= 1
            if depth == 0:
                return
            within = within if depth > 1 else ""
        else:
            yield within, match[1]
            if match[0].endswith(" of "):
                within = f"{match[1]}[]" if " list" in match[0] else match[1]


# title, where it is, its members, what is public
LANGUAGES = {
    "cpp": ("C++", "include/orkestr", cpp, public_cpp),
    "c": ("C", "capi/orkestr.h", c, public_c),
    "python": ("Python", "bindings/python/orkestr", python, public_python),
    "node": ("Node", "bindings/node/index.d.ts", node, public_node),
}


def languages() -> list[str]:
    """Those whose files are there."""
    return [language for language, about in LANGUAGES.items() if (ROOT / about[1]).exists()]
