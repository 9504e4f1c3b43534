"""What a person has who installs: a prefix by `cmake --install`, a wheel by `./dev wheel`; and an environment that
knows nothing of the checkout. ORKESTR_TEST_BUILD names the build directory (default: build).
"""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import sys
from typing import Iterator

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("ORKESTR_TEST_BUILD", ROOT / "build")).resolve()
# The dynamic libraries of the system that anything of ours may need. docs/INSTALL.md and bindings/python/README.md say
# which packages bring them.
SYSTEM_LIBRARIES = {
    "libarchive.so.13",
    "libcurl-gnutls.so.4",
    "libnettle.so.8",
    "libstdc++.so.6",
    "libgcc_s.so.1",
    "libm.so.6",
    "libc.so.6",
    "ld-linux-x86-64.so.2",
}


def clean_environment() -> dict[str, str]:
    """This process's environment without a trace of the checkout. ORKESTR_HOME says where templates are, and stays."""
    traces = ("PYTHON", "ORKESTR_", "LD_", "CMAKE_", "PKG_CONFIG", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(traces)}
    if "ORKESTR_HOME" in os.environ:
        kept["ORKESTR_HOME"] = os.environ["ORKESTR_HOME"]
    kept["PATH"] = os.pathsep.join(part for part in kept["PATH"].split(os.pathsep) if not part.startswith(str(ROOT)))
    return kept


def run(*command: object, seconds: float = 120, fails: bool = False, **changes: str) -> str:
    """What the command wrote, both streams together. It must succeed, or with `fails` must not."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=seconds,
        cwd="/",
        env=clean_environment() | changes,
    )
    assert (done.returncode != 0) == fails, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def needed_libraries(file: pathlib.Path) -> set[str]:
    lines = run("readelf", "-d", file).splitlines()
    return {line.split("[")[1].rstrip("]") for line in lines if "(NEEDED)" in line}


def is_stripped(file: pathlib.Path) -> bool:
    return " .symtab " not in run("readelf", "-S", "-W", file)


def files_under(directory: pathlib.Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir() or path.is_symlink()}


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pathlib.Path]:
    """A state directory of the tests' own with the real templates. Nothing but records may be left in it."""
    directory = tmp_path_factory.mktemp("home")
    if "ORKESTR_HOME" in os.environ:
        cache = pathlib.Path(os.environ["ORKESTR_HOME"], "cache")
    elif os.geteuid() == 0:
        cache = pathlib.Path("/var/lib/orkestr/cache")
    else:
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"), "orkestr")
    (directory / "cache").symlink_to(cache)
    yield directory
    left = {path.name for path in (directory / "state" / "sandboxes").rglob("*") if not path.is_dir()}
    assert left <= {"record.json", "events.jsonl"}


@pytest.fixture(scope="session")
def without_compilers(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PATH without a compiler or anything else that builds: there is a shell in it."""
    directory = tmp_path_factory.mktemp("bin")
    (directory / "sh").symlink_to("/bin/sh")
    return str(directory)


@pytest.fixture(scope="session")
def install(tmp_path_factory: pytest.TempPathFactory) -> Iterator:
    """install(prefix, *arguments): `cmake --install`. The manifests of a person's own installation survive it."""
    kept = tmp_path_factory.mktemp("manifests")
    for manifest in BUILD.glob("install_manifest*.txt"):
        shutil.move(manifest, kept)

    def install(prefix: pathlib.Path, *arguments: str) -> pathlib.Path:
        run("cmake", "--install", BUILD, "--prefix", prefix, *arguments)
        return prefix

    yield install
    for manifest in BUILD.glob("install_manifest*.txt"):
        manifest.unlink()
    for manifest in kept.iterdir():
        shutil.move(manifest, BUILD)


@pytest.fixture(scope="session")
def prefix(install, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """An installation that was moved after it was made."""
    directory = tmp_path_factory.mktemp("install")
    return install(directory / "made").rename(directory / "moved")


@pytest.fixture(scope="session")
def wheel() -> pathlib.Path:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([ROOT / "dev", "wheel"], env=environment, stdout=subprocess.PIPE, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout
    return ROOT / done.stdout.splitlines()[-1]


@pytest.fixture(scope="session")
def venv(wheel: pathlib.Path, without_compilers: str, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A fresh virtual environment with nothing but the wheel."""
    directory = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", directory)
    run(directory / "bin" / "python", "-m", "pip", "install", "--no-index", wheel, PATH=without_compilers)
    return directory
