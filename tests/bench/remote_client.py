"""The same calls through whatever package `orkestr` is: the published client of the hosted service, or ours, whose folder is then given.

    remote_client.py SANDBOX_ID ROW [FOLDER]       prints row, value, unit
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

sys.path[:0] = sys.argv[3:]
from orkestr import Sandbox  # noqa: E402

MIB = 1 << 20
BIG = 256 * MIB  # beside the JSON, at an address of its own
SMALL = 15 * MIB  # in one request of JSON: the limit is 16
PIECE = b"x" * MIB

sandbox, row = Sandbox.get(sys.argv[1]), sys.argv[2]


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def median(count, work):
    for _ in range(count // 10 + 1):
        work()
    return sorted(seconds(work) for _ in range(count))[count // 2]


def write_big():
    if hasattr(sandbox.files, "write_stream"):
        sandbox.files.write_bytes("/workspace/big", payload)
        return
    # The published client gives an address, and leaves it to its user to send something there.
    import httpx

    target = sandbox.files.presign_upload("/workspace/big")
    httpx.put(target.url, content=payload, timeout=60).raise_for_status()


def read_big():
    if hasattr(sandbox.files, "read_stream"):
        with sandbox.files.read_stream("/workspace/big") as file:
            return sum(len(piece) for piece in iter(lambda: file.read(MIB), b""))
    import httpx

    with httpx.stream("GET", sandbox.files.presign_download("/workspace/big").url, timeout=60) as answer:
        return sum(len(piece) for piece in answer.iter_bytes())


def read_output():
    return sum(len(chunk.data) for chunk in sandbox.exec_stream(f"head -c {BIG} /dev/zero"))


def one_stream(_):
    return "".join(chunk.data for chunk in sandbox.exec_stream("echo begun; sleep 1; echo done"))


def streams():
    with ThreadPoolExecutor(200) as threads:
        texts = list(threads.map(one_stream, range(200)))
    assert texts == ["begun\ndone\n"] * 200


def all_of(size):
    assert size == BIG


small, payload = b"x" * SMALL, PIECE * (BIG // MIB)
ROWS = {
    "exec": (lambda: 1000 * median(200, lambda: sandbox.exec("true")), "ms"),
    "calls": (lambda: 1 / median(300, Sandbox.limits), "calls/s"),
    "write_small": (lambda: 15 / median(5, lambda: sandbox.files.write_bytes("/workspace/small", small)), "MB/s"),
    "read_small": (lambda: 15 / median(5, lambda: sandbox.files.read_bytes("/workspace/small")), "MB/s"),
    "write_big": (lambda: 256 / seconds(write_big), "MB/s"),
    "read_big": (lambda: 256 / seconds(lambda: all_of(read_big())), "MB/s"),
    "stdout_big": (lambda: 256 / seconds(lambda: all_of(read_output())), "MB/s"),
    "streams_200": (lambda: 1000 * seconds(streams), "ms"),
}
# What is read was written before.
if row == "read_small":
    sandbox.files.write_bytes("/workspace/small", small)
if row == "read_big":
    write_big()
measure, unit = ROWS[row]
print(row, f"{measure():.3f}", unit)
