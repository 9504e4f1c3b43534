// Sandboxes that nobody closes: their handles are dropped and collected, some with work under way. Past their timeout nothing is left but
// records. The shortest life of a sandbox is 10 s, so a thousand take minutes: `./dev soak` drops 1,000, `./dev test` 20.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { leftFiles, orkestr, processesOfHome, SCALE, TEMPLATE, waitUntil } from "./support.mjs";

const { Sandbox } = orkestr;
const COUNT = SCALE >= 10 ? 1000 : 20;
const MOST_OF_A_WAVE = 40;
const TIMEOUT_SECONDS = 10;

const work = [
  async () => {},
  (sandbox) => sandbox.execStream("echo x; sleep 1000").next(),
  (sandbox) => sandbox.exec("sleep 1000", { background: true }),
  async (sandbox) => void sandbox.files.writeStream("/tmp/never").write("x"),
];

// Its id, and what tells whether it has been collected.
async function drop(number) {
  const sandbox = await Sandbox.create({ template: TEMPLATE, timeoutSeconds: TIMEOUT_SECONDS });
  await work[number % work.length](sandbox);
  return { id: sandbox.id, reference: new WeakRef(sandbox) };
}

const openFiles = () => readdirSync("/proc/self/fd").length;

test(`${COUNT} sandboxes dropped without closing leave nothing past their timeout`, async () => {
  const wave = Math.min(MOST_OF_A_WAVE, (await Sandbox.limits()).maxConcurrent);
  let before;
  for (let done = 0; done < COUNT; done += wave) {
    const dropped = await Promise.all(Array.from({ length: Math.min(wave, COUNT - done) }, (_, i) => drop(i)));
    const alive = () => (gc(), dropped.filter(({ reference }) => reference.deref() !== undefined).length);
    assert.ok(await waitUntil(() => alive() === 0), `${alive()} of ${dropped.length} objects were not collected`);
    const gone = await waitUntil(() => processesOfHome().length === 0, TIMEOUT_SECONDS + 20);
    assert.ok(gone, `processes of dropped sandboxes: ${processesOfHome()}`);
    assert.deepEqual(leftFiles(), []);
    const { status, endReason } = await Sandbox.get(dropped[0].id);
    assert.deepEqual([status, endReason], ["terminated", "timeout"]);
    before ??= openFiles();
  }
  assert.ok(await waitUntil(() => (gc(), openFiles() <= before + 2)), `${before} descriptors became ${openFiles()}`);
});
