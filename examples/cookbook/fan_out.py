"""Many sandboxes at once: one for each task, from threads. Each is its own machine; none can see another.

expect: primes below 1000: 168
expect: primes below 4000: 550
expect: 4 tasks in 4 sandboxes
"""

from concurrent.futures import ThreadPoolExecutor

from orkestr import Sandbox

CODE = """
import sys
limit = int(sys.argv[1])
print(sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, limit)))
"""


def count_primes(limit: int) -> tuple[int, int, str]:
    with Sandbox.create("python-3.12-bare", metadata={"task": f"primes-{limit}"}) as sandbox:
        sandbox.files.write("/workspace/primes.py", CODE)
        return limit, int(sandbox.exec(f"python3 primes.py {limit}").stdout), sandbox.id


def main() -> None:
    # Two at a time: a start keeps a core busy for a second where there is no KVM.
    with ThreadPoolExecutor(max_workers=2) as threads:
        results = list(threads.map(count_primes, [1000, 2000, 3000, 4000]))
    for limit, primes, _ in results:
        print(f"primes below {limit}: {primes}")
    print(f"{len(results)} tasks in {len({sandbox_id for *_, sandbox_id in results})} sandboxes")


if __name__ == "__main__":
    main()
