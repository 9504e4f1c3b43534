"""`cmake --install`: what is in the prefix, that it can be moved, that others build and run against it, that it
goes away again."""

from __future__ import annotations

import pathlib
import re
import shutil

import pytest

from conftest import BUILD, ROOT, SYSTEM_LIBRARIES, files_under, is_stripped, needed_libraries, run

CONSUMER = pathlib.Path(__file__).parent / "consumer"
LIBRARY = "lib/libsandbox.so.0.7"
COMMAND = "bin/orkestr"
SUPERVISOR = "libexec/orkestr/orkestr-supervisor"
AGENT = "libexec/orkestr/orkestr-agent"
PRELOAD = "libexec/orkestr/orkestr-ro.so"
FOREIGN = re.compile(r"/(fmt|boost|simdjson|spdlog|nettle|CLI|archive|curl)[/.]")


@pytest.fixture(scope="module")
def consumer(prefix, tmp_path_factory) -> pathlib.Path:
    """The outside project, built by CMake."""
    build = tmp_path_factory.mktemp("consumer")
    run("cmake", "-S", CONSUMER, "-B", build, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", build)
    return build / "consumer"


def test_components(install, prefix, tmp_path):
    everything = files_under(prefix)
    runtime = files_under(install(tmp_path / "runtime", "--component", "runtime"))
    development = files_under(install(tmp_path / "development", "--component", "development"))
    assert runtime | development == everything
    assert not runtime & development
    assert {LIBRARY, COMMAND, SUPERVISOR, AGENT, PRELOAD} <= runtime
    places = ("include/orkestr/", "lib/cmake/orkestr/", "lib/pkgconfig/", "lib/libsandbox.so")
    assert [file for file in development if not file.startswith(places)] == []


def test_exported_symbols(prefix):
    lines = run("nm", "-D", "-C", "--defined-only", prefix / LIBRARY).splitlines()
    names = [line.split(" ", 2)[2] for line in lines]
    ours = re.compile(r"(typeinfo for |typeinfo name for |vtable for )?orkestr::")
    c = [line.split()[0] for line in (ROOT / "capi" / "symbols.txt").read_text().splitlines() if line.startswith("orkestr_")]
    assert sorted(name for name in names if not ours.match(name)) == sorted(c)
    assert any(name.startswith("orkestr::Sandbox::create(") for name in names)
    assert len(names) > 100


def test_binaries(prefix):
    assert "soname: [libsandbox.so.0.7]" in run("readelf", "-d", prefix / LIBRARY)
    for file in (LIBRARY, COMMAND, SUPERVISOR):
        assert needed_libraries(prefix / file) <= SYSTEM_LIBRARIES | {"libsandbox.so.0.7"}, file
        assert "BIND_NOW" in run("readelf", "-d", prefix / file), file
    assert needed_libraries(prefix / AGENT) == set(), "the agent is static"
    for file in (LIBRARY, COMMAND, SUPERVISOR, AGENT):
        assert is_stripped(prefix / file), file
    # Nothing says where it was made.
    for file in files_under(prefix):
        assert str(BUILD.parent).encode() not in (prefix / file).read_bytes(), file


def test_consumer_by_cmake(consumer, home):
    assert run(consumer, ORKESTR_HOME=str(home)) == "42\n"


def test_consumer_by_pkg_config(prefix, home, tmp_path):
    pkg_config = ["pkg-config", f"--with-path={prefix}/lib/pkgconfig"]
    assert run(*pkg_config, "--modversion", "orkestr").strip() == "0.7.0"
    flags = run(*pkg_config, "--cflags", "--libs", "orkestr").split()
    library = run(*pkg_config, "--variable=libdir", "orkestr").strip()
    run("g++", "-std=c++17", CONSUMER / "main.cpp", "-o", tmp_path / "consumer", *flags, f"-Wl,-rpath,{library}")
    assert run(tmp_path / "consumer", ORKESTR_HOME=str(home)) == "42\n"
    headers = run("g++", "-std=c++17", "-M", CONSUMER / "main.cpp", *flags)
    assert "/include/orkestr/sandbox.hpp" in headers
    assert FOREIGN.search(headers) is None


@pytest.mark.parametrize("example, says", [("quickstart", "499999500000"), ("stream_output", "called back: line 2")])
def test_examples_in_c(prefix, home, tmp_path, example, says):
    pkg_config = ["pkg-config", f"--with-path={prefix}/lib/pkgconfig"]
    flags = run(*pkg_config, "--cflags", "--libs", "orkestr").split()
    library = run(*pkg_config, "--variable=libdir", "orkestr").strip()
    strict = ["-std=gnu99", "-Wall", "-Wextra", "-pedantic", "-Werror"]
    run("cc", *strict, ROOT / f"examples/{example}.c", "-o", tmp_path / example, *flags, f"-Wl,-rpath,{library}")
    assert says in run(tmp_path / example, ORKESTR_HOME=str(home))


@pytest.mark.parametrize("page", ["README.md", "docs/INSTALL.md"])
def test_compiling_as_the_pages_say(prefix, home, tmp_path, page):
    block = re.search(r"^```sh[^\n]*\n((?:(?!```).*\n)*?\w+\+\+ .*\n(?:(?!```).*\n)*)```", (ROOT / page).read_text(), re.M)
    assert block and "cc mine.c" in block[1], f"{page} does not say how to compile a program"
    shutil.copy(ROOT / "examples/quickstart.cpp", tmp_path / "mine.cpp")
    shutil.copy(ROOT / "examples/quickstart.c", tmp_path / "mine.c")
    ran = 0
    paths = {"PKG_CONFIG_PATH": f"{prefix}/lib/pkgconfig", "LD_LIBRARY_PATH": f"{prefix}/lib"}
    if "rpath" in block[1]:
        del paths["LD_LIBRARY_PATH"]
    for line in block[1].replace("/opt/orkestr", str(prefix)).splitlines():
        if not line.startswith("export"):
            said = run("bash", "-euc", f"cd {tmp_path}\n{line}\n./a.out", ORKESTR_HOME=str(home), **paths)
            assert "499999500000" in said
            ran += 1
    assert ran == 2


@pytest.mark.parametrize("version, found", [("0.7", True), ("0.7.0", True), ("0.6", False), ("0.8", False)])
def test_version_asked_for(prefix, tmp_path, version, found):
    project = [
        "cmake_minimum_required(VERSION 3.16)",
        "project(p LANGUAGES NONE)",
        f"find_package(orkestr {version} REQUIRED)",
    ]
    (tmp_path / "CMakeLists.txt").write_text("\n".join(project))
    said = run("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}", fails=not found)
    assert found or "version: 0.7.0" in said


def test_command_line(prefix):
    assert "0.7.0" in run(prefix / COMMAND, "version")
    assert "python-3.12-bare" in run(prefix / COMMAND, "template", "list"), "the recipes are compiled in"


def test_helpers_of_another_build_are_refused(prefix, consumer, home, tmp_path):
    other = shutil.copytree(prefix / "libexec/orkestr", tmp_path / "other")
    program = (other / "orkestr-supervisor").read_bytes()
    stamp = re.search(rb"\d+\.\d+\.\d+/wire\d", program).group()
    changed = stamp[:-1] + b"9"
    (other / "orkestr-supervisor").write_bytes(program.replace(stamp, changed))
    said = run(consumer, fails=True, ORKESTR_LIBEXEC=str(other), ORKESTR_HOME=str(home))
    assert stamp.decode() in said and changed.decode() in said


def test_library_without_helpers_says_where_it_looked(prefix, consumer, home, tmp_path):
    shutil.copy(prefix / LIBRARY, tmp_path)
    configured = re.search(r"^CMAKE_INSTALL_PREFIX:\w+=(.*)$", (BUILD / "CMakeCache.txt").read_text(), re.M).group(1)
    if pathlib.Path(configured, SUPERVISOR).exists():
        pytest.fail(f"orkestr is installed in {configured}: that hides what this test is about")
    said = run(consumer, fails=True, LD_PRELOAD=str(tmp_path / pathlib.Path(LIBRARY).name), ORKESTR_HOME=str(home))
    assert f"{tmp_path.parent}/libexec/orkestr" in said
    assert f"{configured}/libexec/orkestr" in said


def test_uninstall(install, tmp_path):
    prefix = install(tmp_path / "prefix")
    foreign = prefix / "libexec" / "orkestr" / "of-a-person"
    foreign.touch()
    templates = tmp_path / "home" / "cache" / "templates" / "python-3.12-bare"
    templates.mkdir(parents=True)
    (templates / "current").touch()
    said = run("cmake", "--build", BUILD, "--target", "uninstall", ORKESTR_HOME=str(tmp_path / "home"))
    assert "Removed" in said
    assert files_under(prefix) == {"libexec/orkestr/of-a-person"}
    assert list(prefix.rglob("orkestr")) == [foreign.parent], "our own empty directories go, the one with a file stays"
    assert (templates / "current").exists()
    assert "install_manifest.txt" in run("cmake", "--build", BUILD, "--target", "uninstall", fails=True)
