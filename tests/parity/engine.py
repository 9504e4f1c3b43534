"""Scenarios as data: how they are read, sent to a driver, and held against its answers. README.md says how they are written."""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import threading
import time
from typing import Any
from urllib.parse import quote_from_bytes

HERE = pathlib.Path(__file__).resolve().parent
DEADLINE_MS = 60_000
ROW = re.compile(r'^ORKESTR_ERROR\((\w+), (\w+), (\d+), "(.*?)", "(.*)"\)$', re.M)


def load(name: str) -> dict[str, Any]:
    return json.loads((HERE / name).read_text())


def error_table() -> dict[str, tuple[str, str]]:
    """Code → class, hint."""
    text = (HERE.parents[1] / "src/base/errors.def").read_text()
    return {code: (cls, hint) for code, cls, _, _, hint in ROW.findall(text)}


class Failure(Exception):
    """A scenario does not hold: what was wanted, and what came."""


class Impossible(Exception):
    """The language cannot make this call."""


# ---- bytes and text


def to_bytes(value: Any) -> bytes:
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, dict):
        text, count = value["repeat"]
        return to_bytes(text) * count
    if isinstance(value, str) and value.startswith("hex:"):
        return bytes.fromhex(value[4:])
    return str(value).encode()


def to_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "hex:" + data.hex()


def shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else text[:300] + "…"


# ---- calls


def request_line(call: str, args: dict[str, Any], types: dict[str, str]) -> bytes:
    """CALL?NAME=VALUE&…; an argument that calls.json does not know is a mistake of the scenario."""
    pairs: list[tuple[bytes, bytes]] = []
    for name, value in args.items():
        kind = types.get(name)
        assert kind, f"{call} has no argument {name!r}"
        if kind in ("list", "map"):
            entries = value.items() if kind == "map" else enumerate(value)
            parts = [(f"{name}.".encode() + to_bytes(key), to_bytes(entry)) for key, entry in entries]
            pairs += parts or [(name.encode(), b"")]
        else:
            pairs.append((name.encode(), to_bytes(value)))
    query = "&".join(f"{quote_from_bytes(name, '')}={quote_from_bytes(value, '')}" for name, value in pairs)
    return f"{call}?{query}\n".encode() if query else f"{call}\n".encode()


class Driver:
    """A running driver. A call that misses its deadline ends it."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self._answer: bytes | None = None

    def ask(self, line: bytes, deadline_ms: int) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        if self.process.poll() is not None:
            raise Failure(f"the driver has ended with exit code {self.process.returncode}")
        self.process.stdin.write(line)
        self.process.stdin.flush()
        reader = threading.Thread(target=self._read, daemon=True)
        reader.start()
        reader.join(deadline_ms / 1000)
        if reader.is_alive():
            self.process.kill()
            raise Failure(f"no answer within {deadline_ms} ms")
        if not self._answer:
            raise Failure(f"the driver ended with exit code {self.process.wait()}")
        return json.loads(self._answer)

    def _read(self) -> None:
        assert self.process.stdout
        self._answer = self.process.stdout.readline()

    def stop(self) -> int:
        """Its exit code at the end of its input."""
        assert self.process.stdin
        self.process.stdin.close()
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return -1


# ---- values: of the kinds that calls.json names, in one spelling


class Kinds:
    def __init__(self, records: dict[str, dict[str, str]]) -> None:
        self._records = records

    def plain(self, value: Any, kind: str, where: str) -> Any:
        """The value with bytes as text and nothing as "" or 0 where null is not told apart."""
        if kind.endswith(" or null"):
            return None if value is None else self.plain(value, kind.removesuffix(" or null"), where)
        if kind.startswith("list of "):
            if not isinstance(value, list):
                raise Failure(f"{where}: a list was wanted, not {shown(value)}")
            return [self.plain(one, kind.removeprefix("list of "), f"{where}.{i}") for i, one in enumerate(value)]
        if kind in self._records:
            return self._record(value, kind, where)
        if kind == "nothing":
            good = value is None
        elif kind == "bytes":
            good = isinstance(value, dict) and list(value) == ["hex"]
            value = to_text(bytes.fromhex(value["hex"])) if good else value
        elif kind == "text":
            value = "" if value is None else value
            good = isinstance(value, str)
        elif kind == "flag":
            good = isinstance(value, bool)
        elif kind == "map":
            good = isinstance(value, dict) and all(isinstance(entry, str) for entry in value.values())
        else:
            wanted = (int, float) if kind == "number" else int
            good = isinstance(value, wanted) and not isinstance(value, bool)
        if not good:
            raise Failure(f"{where}: {kind} was wanted, not {shown(value)}")
        return value

    def _record(self, value: Any, kind: str, where: str) -> dict[str, Any]:
        fields = self._records[kind]
        if not isinstance(value, dict):
            raise Failure(f"{where}: a record {kind} was wanted, not {shown(value)}")
        if kind == "error":
            empty = {"bytes": {"hex": ""}, "flag": False, "text": ""}
            value = {name: value.get(name) or empty.get(of, 0) for name, of in fields.items()} | {
                name: value[name] for name in value if name not in fields
            }
        missing, surplus = sorted(fields.keys() - value.keys()), sorted(value.keys() - fields.keys())
        if missing or surplus:
            raise Failure(f"{where}: the record {kind} lacks {missing} and has {surplus} too many")
        return {name: self.plain(value[name], of, f"{where}.{name}") for name, of in fields.items()}


# ---- expectations

TYPES = {"text": str, "integer": int, "number": (int, float), "flag": bool, "null": type(None), "list": list, "map": dict}


def at(value: Any, path: str) -> Any:
    for part in path.split(".") if path else []:
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, TypeError, ValueError):
            raise Failure(f"{path}: nothing there in {shown(value)}") from None
    return value


def meets(value: Any, expectation: dict[str, Any]) -> bool:
    try:
        check(value, expectation)
    except Failure:
        return False
    return True


def holds(value: Any, rule: str, wanted: Any) -> bool:
    if rule == "equals":
        return type(value) is type(wanted) and value == wanted or _are_numbers(value, wanted) and value == wanted
    if rule == "not":
        return not holds(value, "equals", wanted)
    if rule == "contains":
        return isinstance(value, (str, list)) and wanted in value
    if rule == "matches":
        return isinstance(value, str) and re.search(wanted, value) is not None
    if rule == "type":
        return isinstance(value, TYPES[wanted]) and (wanted == "flag" or not isinstance(value, bool))
    if rule == "min":
        return _are_numbers(value, wanted) and value >= wanted
    if rule == "max":
        return _are_numbers(value, wanted) and value <= wanted
    if rule == "length":
        return isinstance(value, (str, list)) and len(to_bytes(value) if isinstance(value, str) else value) == wanted
    if rule in ("any", "none", "all"):
        if not isinstance(value, list):
            return False
        met = [meets(one, wanted) for one in value]
        return {"any": any(met), "none": not any(met), "all": all(met)}[rule]
    raise AssertionError(f"there is no matcher {rule!r}")


def _are_numbers(*values: Any) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def check(value: Any, expectation: dict[str, Any]) -> None:
    for path, matcher in expectation.items():
        found = at(value, path)
        for rule, wanted in (matcher if isinstance(matcher, dict) else {"equals": matcher}).items():
            if not holds(found, rule, wanted):
                raise Failure(f"{path or 'the value'} is {shown(found)}; wanted: {rule} {shown(wanted)}")


# ---- scenarios


class Run:
    """All scenarios of one language on one backend: one driver, one shared sandbox."""

    def __init__(self, driver: Driver, backend: str, template: str, has_classes: bool = True) -> None:
        about = load("calls.json")
        self._calls, self._kinds, self._errors = about["calls"], Kinds(about["records"]), error_table()
        self._driver, self._backend, self._template = driver, backend, template
        self._has_classes = has_classes  # of errors
        self._shared: int | None = None
        self.called: set[str] = set()  # members that a scenario has called

    def scenario(self, scenario: dict[str, Any]) -> None:
        values: dict[str, Any] = {"template": self._template, "backend": self._backend}
        handles: dict[str, int] = {}
        sandbox = scenario.get("sandbox", "shared")
        if sandbox == "own":
            handles["sandbox"], values["sandbox"] = self._create()
        elif sandbox == "shared":
            if self._shared is None:
                self._shared, _ = self._create()
            handles["sandbox"] = self._shared
        try:
            for number, step in enumerate(scenario["steps"], 1):
                if self._backend in step.get("backends", [self._backend]):
                    try:
                        self._step(step, values, handles)
                    except Failure as failure:
                        raise Failure(f"step {number}, {step['call']}: {failure}") from None
        finally:
            if self._driver.process.poll() is None:
                if sandbox == "own":
                    self._send("sandbox.terminate", {}, {"on": handles["sandbox"]}, DEADLINE_MS)
                for handle in set(handles.values()) - {self._shared}:
                    self._send("release", {}, {"on": handle}, DEADLINE_MS)

    def end(self) -> None:
        if self._shared is not None and self._driver.process.poll() is None:
            self._send("sandbox.terminate", {}, {"on": self._shared}, DEADLINE_MS)

    def _create(self) -> tuple[int, Any]:
        answer = self._send("sandbox.create", {"template": self._template, "timeout_seconds": 3600}, {}, 120_000)
        if "handle" not in answer:
            raise Failure(f"no sandbox: {shown(answer)}")
        return answer["handle"], self._kinds.plain(answer["value"], "sandbox", "sandbox.create")

    def _send(self, call: str, args: dict[str, Any], reserved: dict[str, int], deadline_ms: int) -> dict[str, Any]:
        types = self._calls.get(call, {}).get("args", {}) | {name: "integer" for name in reserved}
        answer = self._driver.ask(request_line(call, args | reserved, types), deadline_ms)
        if "impossible" in answer:
            raise Impossible(answer["impossible"])
        return answer

    def _step(self, step: dict[str, Any], values: dict[str, Any], handles: dict[str, int]) -> None:
        unknown = step.keys() - {"call", "args", "on", "client", "save", "expect", "error", "deadline_ms", "retry_ms", "backends"}
        assert not unknown, f"a step has no {unknown}"
        end = time.monotonic() + step.get("retry_ms", 0) / 1000
        while True:
            try:
                return self._once(step, values, handles)
            except Failure:
                if time.monotonic() >= end or self._driver.process.poll() is not None:
                    raise
                time.sleep(0.1)

    def _once(self, step: dict[str, Any], values: dict[str, Any], handles: dict[str, int]) -> None:
        about = self._calls[step["call"]]
        reserved = {}
        if "on" in about:
            reserved["on"] = handles[step.get("on", "sandbox")]
        if "client" in step:
            reserved["client"] = handles[step["client"]]
        args = fill(step.get("args", {}), values)
        answer = self._send(step["call"], args, reserved, step.get("deadline_ms", DEADLINE_MS))
        self.called.add(step["call"])
        if "error" in answer:
            error = self._kinds.plain(answer["error"], "error", "the error")
            self._check_table(error)
            if "error" not in step:
                raise Failure(f"{error['code']}: {error['message']}")
            check(error, fill(step["error"], values))
            if "save" in step:
                values[step["save"]] = error
            return
        value = self._kinds.plain(answer["value"], about["gives"], "the value")
        if ("handle" in answer) != about.get("handle", False):
            raise Failure(f"a handle where there should be none, or none: {shown(answer)}")
        if "save" in step:
            values[step["save"]] = value
            if "handle" in answer:
                handles[step["save"]] = answer["handle"]
        elif "handle" in answer:
            handles[f"#{answer['handle']}"] = answer["handle"]
        if "error" in step:
            raise Failure(f"it worked: {shown(value)}; wanted: {shown(step['error'])}")
        check(value, fill(step.get("expect", {}), values))

    def _check_table(self, error: dict[str, Any]) -> None:
        cls, hint = self._errors.get(error["code"], ("?", "?"))
        if error["class"] != (cls if self._has_classes else "") or error["hint"] != hint:
            raise Failure(f"{error['code']} has class {error['class']!r} and hint {error['hint']!r}; in the table: {cls!r}, {hint!r}")


VARIABLE = re.compile(r"\$\{([^}]+)\}")


def fill(value: Any, values: dict[str, Any]) -> Any:
    """The same with saved values in place of ${name.path}."""
    if isinstance(value, dict):
        return {key: fill(entry, values) for key, entry in value.items()}
    if isinstance(value, list):
        return [fill(entry, values) for entry in value]
    if not isinstance(value, str):
        return value
    whole = VARIABLE.fullmatch(value)
    if whole:
        return at(values, whole[1])
    return VARIABLE.sub(lambda match: str(at(values, match[1])), value)
