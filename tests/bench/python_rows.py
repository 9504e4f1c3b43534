"""Python's side of `./dev bench` (binding_rows.cpp): `./dev python tests/bench/python_rows.py SANDBOX`. For each line of input, the name
of a sample, it takes that sample in the sandbox and answers a line: its number, or what went wrong."""

from __future__ import annotations

import base64
import functools
import hashlib
import os
import sys
import time
from typing import Callable

from orkestr import Sandbox

MIB = 2**20
SIZE_MIB = 256
PATIENT_SECONDS = 600
sandbox = Sandbox.get(sys.argv[1])


def check(good: bool, what: str) -> None:
    if not good:
        raise AssertionError(what)


def ms_of(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def rate_of(work: Callable[[], object]) -> float:
    return SIZE_MIB * 1000 / ms_of(work)


@functools.cache
def payload() -> tuple[bytes, str]:
    data = base64.b64encode(os.urandom(SIZE_MIB * MIB // 4 * 3))  # text, since output is decoded as such
    return data, hashlib.sha256(data).hexdigest()


def write() -> None:
    sandbox.files.write("/workspace/blob", payload()[0])


@functools.cache
def written() -> None:
    write()


def exec_() -> float:
    return ms_of(lambda: check(sandbox.exec("true").exit_code == 0, "true failed"))


def upload() -> float:
    payload()
    rate = rate_of(write)
    there = sandbox.exec("sha256sum /workspace/blob", timeout_seconds=PATIENT_SECONDS).stdout
    check(there.startswith(payload()[1]), f"the file's hash differs: {there}")
    return rate


def pull(pieces: Callable[[], list[bytes]]) -> float:
    """Of what gives the uploaded file."""
    written()
    start = time.perf_counter()
    got = pieces()
    rate = SIZE_MIB / (time.perf_counter() - start)
    digest = hashlib.sha256()
    for piece in got:
        digest.update(piece)
    check(digest.hexdigest() == payload()[1], f"{sum(map(len, got))} bytes came, which differ")
    return rate


def download() -> float:
    return pull(lambda: [sandbox.files.read_bytes("/workspace/blob")])


def stdout() -> float:
    def pieces() -> list[bytes]:
        stream = sandbox.exec_stream("cat /workspace/blob", timeout_seconds=PATIENT_SECONDS)
        return [chunk.data_bytes for chunk in stream]

    return pull(pieces)


def pour(mib: int) -> None:
    stream = sandbox.exec_stream(f"head -c {mib}M /dev/zero", timeout_seconds=PATIENT_SECONDS)
    size = sum(len(chunk.data_bytes) for chunk in stream)
    check(size == mib * MIB, f"{size} bytes of {mib} MiB came")


def peak_mb() -> float:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024


def stdout_memory() -> float:
    pour(64)
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    before = peak_mb()
    pour(1024)
    return peak_mb() - before


def streams_500() -> float:
    def work() -> None:
        streams = [sandbox.exec_stream(f"echo {number}", timeout_seconds=PATIENT_SECONDS) for number in range(500)]
        for number, stream in enumerate(streams):
            text = "".join(chunk.data for chunk in stream)
            check(text == f"{number}\n", f"stream {number} gave {text!r}")

    return ms_of(work)


SAMPLES = {"exec": exec_, **{one.__name__: one for one in (stdout, stdout_memory, streams_500, upload, download)}}

for _ in range(5):
    exec_()
for line in sys.stdin:
    try:
        answer = str(SAMPLES[line.strip()]())
    except Exception as error:
        answer = f"{error!r}"
    print(answer, flush=True)
