"""Every scenario through every language, on both backends."""

from __future__ import annotations

import collections
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from typing import Iterator

import pytest

from engine import Driver, Impossible, Run, load

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs/tools"))
import parity

TEMPLATE = "python-3.12-bare"
DRIVERS = load("drivers.json")
SCENARIOS = load("scenarios.json")["scenarios"]
EXCEPTIONS = load("exceptions.json")  # language, or language and backend → scenario → why it is impossible there
PROXIES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
LEFT_BY_AN_ENDED_SANDBOX = {"record.json", "events.jsonl"}


def command_of(language: str) -> list[str] | None:
    """How a driver is started; nothing where it may be missing and is."""
    command = [sys.executable if word == "PYTHON" else word for word in DRIVERS[language]["command"]]
    there = all((ROOT / word).exists() for word in command if "/" in word)
    assert there or not DRIVERS[language]["must_be_there"], f"the driver of {language} is missing: {command}"
    return command if there else None


LANGUAGES = [language for language in DRIVERS if command_of(language)]
ABSENT = [language for language in DRIVERS if language not in LANGUAGES]


def real_cache() -> pathlib.Path:
    if "ORKESTR_HOME" in os.environ:
        return pathlib.Path(os.environ["ORKESTR_HOME"], "cache")
    if os.geteuid() == 0:
        return pathlib.Path("/var/lib/orkestr/cache")
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"), "orkestr")


@pytest.fixture(scope="session")
def home() -> Iterator[pathlib.Path]:
    directory = pathlib.Path(tempfile.mkdtemp(prefix="orkestr-parity-"))
    (directory / "cache").symlink_to(real_cache())
    yield directory
    left = [path for path in (directory / "state" / "sandboxes").rglob("*") if path.is_file() or path.is_socket()]
    surplus = [str(path) for path in left if path.name not in LEFT_BY_AN_ENDED_SANDBOX]
    shutil.rmtree(directory)
    assert surplus == [], "files of ended sandboxes"


@pytest.fixture(scope="session")
def service() -> Iterator[str]:
    program = ROOT / "build" / "bin" / "orkestr-test-service"
    process = subprocess.Popen([program, "--no-record"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin and process.stdout
    yield process.stdout.readline().split()[0]
    process.stdin.close()
    assert process.wait(30) == 0


@pytest.fixture(scope="module")
def runs(home: pathlib.Path, service: str) -> Iterator[dict[tuple[str, str], Run]]:
    """One running driver for each language and backend, made when it is first needed."""
    made: dict[tuple[str, str], tuple[Driver, Run]] = {}

    class Made(dict):
        def __missing__(self, key: tuple[str, str]) -> Run:
            language, backend = key
            clean = {name: value for name, value in os.environ.items() if name not in PROXIES and not name.startswith("ORKESTR_")}
            clean |= {"ORKESTR_HOME": str(home), "ORKESTR_BACKEND": backend}
            clean["NODE_PATH"] = f"{ROOT / 'build' / 'node'}:{os.environ.get('NODE_PATH', '')}"
            if backend == "remote":
                clean |= {"ORKESTR_BASE_URL": service, "ORKESTR_API_KEY": "test-key"}
            command = [str(ROOT / word) if "/" in word else word for word in command_of(language) or []]
            driver = Driver(command, clean)
            run = Run(driver, backend, TEMPLATE, has_classes=language != "c")
            made[key] = driver, run
            self[key] = run
            return run

    yield Made()
    for (language, backend), (driver, run) in made.items():
        run.end()
        assert driver.stop() == 0, f"the {language} driver on {backend}"


CASES = [
    pytest.param(language, backend, scenario, id=f"{language}-{backend}-{scenario['name']}")
    for language in LANGUAGES
    for backend in ("local", "remote")
    for scenario in SCENARIOS
    if backend in scenario.get("backends", [backend])
]


@pytest.mark.parametrize("language, backend, scenario", CASES)
def test_scenario(language: str, backend: str, scenario: dict, runs: dict) -> None:
    name = scenario["name"]
    reason = EXCEPTIONS.get(language, {}).get(name) or EXCEPTIONS.get(f"{language} {backend}", {}).get(name)
    try:
        runs[language, backend].scenario(scenario)
    except Impossible as impossible:
        assert reason == str(impossible), f"impossible in {language}, and not in exceptions.json: {impossible}"
        return
    assert reason is None, f"exceptions.json says that this is impossible in {language}, and it works"


def test_names_are_unique() -> None:
    names = [scenario["name"] for scenario in SCENARIOS]
    assert len(names) == len(set(names))
    assert {name for by_name in EXCEPTIONS.values() for name in by_name} <= set(names)


def test_every_call_is_in_a_scenario() -> None:
    used = {step["call"] for scenario in SCENARIOS for step in scenario["steps"]}
    assert used == set(load("calls.json")["calls"])


def not_covered(about: dict) -> list[str]:
    """What is in the table of members (docs/PARITY.md), and neither a call, a field of a record nor an argument of calls.json, nor left
    out there for a reason; and what is left out for none."""

    def unit_less(name: str) -> str:  # seconds in one language are milliseconds in another
        return re.sub("_(seconds|ms)$", "", name)

    def covered(group: str, name: str) -> bool:
        for where in about["groups"].get(group, []):
            if where.endswith("()") and unit_less(name) in map(unit_less, about["calls"][where[:-2]]["args"]):
                return True
            if where + name in about["calls"] or name in about["records"].get(where, {}):
                return True
        return False

    # (What one language alone has, there is nothing to compare with.)
    languages_of = collections.Counter(member for language in parity.languages() for member in parity.spellings(language, set()))
    missing = [member for member, count in languages_of.items() if count > 1 and not covered(*member)]
    excused = {f"{group}.{name}": parity.match_of(about["left_out"], group, name) for group, name in missing}
    return sorted(one for one, key in excused.items() if key is None) + sorted(about["left_out"].keys() - set(excused.values()))


def test_every_member_is_in_a_scenario_or_left_out_for_a_reason() -> None:
    assert not_covered(load("calls.json")) == []


def test_a_member_that_is_forgotten() -> None:
    about = load("calls.json")
    del about["calls"]["sandbox.pause"]
    del about["records"]["sandbox"]["jail"]
    del about["calls"]["sandbox.create"]["args"]["timeout_seconds"]
    about["left_out"]["Sandbox.exec"] = "no reason"
    assert not_covered(about) == ["Sandbox.jail", "Sandbox.pause", "create options.timeout_seconds", "Sandbox.exec"]


def test_every_language_is_there() -> None:
    """Not a failure before its driver is merged, and said aloud."""
    if ABSENT:
        pytest.skip(f"no driver yet for {', '.join(ABSENT)}")
