"""`./dev wheel`: what is in it, and that it works in a fresh environment that knows nothing of the checkout."""

from __future__ import annotations

import os
import pathlib
import shutil
import signal
import stat
import subprocess
import sys
import zipfile

from conftest import ROOT, SYSTEM_LIBRARIES, clean_environment, is_stripped, needed_libraries, run


def package_of(venv: pathlib.Path) -> pathlib.Path:
    found = run(venv / "bin" / "python", "-c", "import orkestr; print(orkestr.__path__[0])").strip()
    assert found.startswith(str(venv)), "the package of the environment, not the one of the checkout"
    return pathlib.Path(found)


def test_content(wheel):
    assert wheel.name.endswith("-linux_x86_64.whl")
    with zipfile.ZipFile(wheel) as archive:
        modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
        metadata = archive.read("orkestr-0.7.0.dist-info/METADATA").decode()
    files = {name for name in modes if not name.startswith("orkestr-0.7.0.dist-info/")}
    sources = {f"orkestr/{path.name}" for path in (ROOT / "bindings/python/orkestr").iterdir() if path.is_file()}
    assert {"orkestr/py.typed", "orkestr/_core.pyi", "orkestr/__main__.py"} <= sources
    helpers = {
        f"orkestr/libexec/orkestr/{name}" for name in ("orkestr-supervisor", "orkestr-agent", "orkestr-ro.so")
    }
    programs = {"orkestr/bin/orkestr"} | helpers
    native = {name for name in files if name.startswith("orkestr/_core.")} - sources
    assert len(native) == 1
    assert files == sources | programs | native | {"orkestr/lib/libsandbox.so.0.7"}
    assert all(modes[program] & stat.S_IXUSR for program in programs if not program.endswith(".so"))
    wanted = ["Name: orkestr", "Version: 0.7.0", "License-Expression: Apache-2.0", "Requires-Python: >=3.10"]
    assert [line for line in wanted if line not in metadata.splitlines()] == []
    assert "Requires-Dist" not in metadata


def test_binaries(venv):
    package = package_of(venv)
    programs = [package / "bin" / "orkestr", *(package / "libexec" / "orkestr").iterdir()]
    assert len(programs) == 4
    for file in (package / "lib" / "libsandbox.so.0.7", *package.glob("_core*.so"), *programs):
        assert needed_libraries(file) <= SYSTEM_LIBRARIES | {"libsandbox.so.0.7"}, file
        assert is_stripped(file), file
    resolved = run("ldd", *package.glob("_core*.so"))
    assert f"=> {package}/lib/libsandbox.so.0.7" in resolved
    assert "not found" not in resolved


def test_quickstart(venv, without_compilers, home, tmp_path):
    # A copy, so that the script's own directory is not the checkout's.
    script = tmp_path / "quickstart.py"
    script.write_text((ROOT / "examples" / "quickstart.py").read_text())
    # (By its own path, since a sandbox's user could not reach a link to it in our directory.)
    places = {"ORKESTR_HOME": str(home), "ORKESTR_QEMU": shutil.which("qemu-system-x86_64") or "", "PATH": without_compilers}
    assert "499999500000" in run(venv / "bin" / "python", script, **places)


def test_pip_install_from_the_checkout(home, tmp_path):
    """What a person types who has no wheel: pip fetches what building needs, and the package works anywhere."""
    run(sys.executable, "-m", "venv", tmp_path)
    # (A build directory that stays and the compiler's cache spare the compiling, and nothing else.)
    changes = {"CC": "cc", "CXX": "c++"}
    if shutil.which("ccache"):
        changes |= {"CMAKE_C_COMPILER_LAUNCHER": "ccache", "CMAKE_CXX_COMPILER_LAUNCHER": "ccache"}
    install = [tmp_path / "bin" / "python", "-m", "pip", "install", f"--config-settings=build-dir={ROOT}/build-pip"]
    run(*install, ROOT / "bindings" / "python", seconds=1800, **changes)
    code = "from orkestr import Sandbox\nwith Sandbox.create('python-3.12-bare') as s: print(s.exec('echo installed').stdout)"
    assert run(tmp_path / "bin" / "python", "-c", code).strip() == "installed"
    assert package_of(tmp_path) and "0.7.0" in run(tmp_path / "bin" / "orkestr", "version")


def test_command_line(venv, without_compilers):
    assert shutil.which("cc", path=without_compilers) is None
    assert "0.7.0" in run(venv / "bin" / "orkestr", "version", PATH=without_compilers)
    assert "0.7.0" in run(venv / "bin" / "python", "-m", "orkestr", "version", PATH=without_compilers)
    assert "python-3.12-bare" in run(venv / "bin" / "orkestr", "template", "list", PATH=without_compilers)
    run(venv / "bin" / "orkestr", "no-such-command", fails=True, PATH=without_compilers)


def test_command_line_without_a_reader(venv):
    """`orkestr template list | head -1`: what Python ignores must not stay ignored in the program it becomes."""

    def ends(program: pathlib.Path) -> tuple[int, bytes]:
        reader, writer = os.pipe()
        os.close(reader)
        command = [program, "template", "list"]
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=clean_environment(), timeout=60)
        os.close(writer)
        return done.returncode, done.stderr

    assert ends(venv / "bin" / "orkestr") == ends(package_of(venv) / "bin" / "orkestr") == (-signal.SIGPIPE, b"")


def test_missing_system_library(venv, tmp_path):
    package = pathlib.Path(shutil.copytree(package_of(venv), tmp_path / "orkestr"))
    library = package / "lib" / "libsandbox.so.0.7"
    library.write_bytes(library.read_bytes().replace(b"libarchive.so.13", b"libarchive.so.99"))
    said = run(venv / "bin" / "python", "-c", "import orkestr", fails=True, PYTHONPATH=str(tmp_path))
    assert "ImportError: libarchive.so.99: cannot open shared object file" in said
    assert said.rstrip().endswith("Run: apt-get install libarchive13 libcurl3-gnutls libnettle8")


def test_uninstall(venv, wheel):
    python = venv / "bin" / "python"
    package = package_of(venv)
    run(python, "-m", "pip", "uninstall", "--yes", "orkestr")
    assert not package.exists()
    run(python, "-m", "pip", "install", "--no-index", wheel)
