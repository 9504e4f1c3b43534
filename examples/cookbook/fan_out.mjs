// Many sandboxes at once: one for each task. Each is its own machine; none can see another.
//
// expect: primes below 1000: 168
// expect: primes below 4000: 550
// expect: 4 tasks in 4 sandboxes
import { Sandbox } from "orkestr";

const CODE = `
import sys
limit = int(sys.argv[1])
print(sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(2, limit)))
`;

const countPrimes = (limit) =>
  Sandbox.withTemp({ template: "python-3.12-bare", metadata: { task: `primes-${limit}` } }, async (sandbox) => {
    await sandbox.files.write("/workspace/primes.py", CODE);
    return { limit, primes: Number((await sandbox.exec(`python3 primes.py ${limit}`)).stdout), id: sandbox.id };
  });

// Two at a time: a start keeps a core busy for a second where there is no KVM.
const results = [];
for (const pair of [[1000, 2000], [3000, 4000]]) results.push(...(await Promise.all(pair.map(countPrimes))));
for (const { limit, primes } of results) console.log(`primes below ${limit}: ${primes}`);
console.log(`${results.length} tasks in ${new Set(results.map((one) => one.id)).size} sandboxes`);
