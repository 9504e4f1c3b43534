// Rows of the benchmark that are Node's: `./dev node tests/bench/node_rows.mjs [--only KEY,…] [--runs N] [--sandbox ID]`. Each row is a
// line of JSON on standard output ({"key", "unit", "better", "samples"}, as in the report of orkestr-bench), progress goes to stderr.
// With --sandbox it measures in a sandbox that is there, so that a caller can measure other languages in the same one.
import { createHash, randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Sandbox } from "orkestr";

const { values } = parseArgs({
  options: { only: { type: "string" }, runs: { type: "string", default: "20" }, sandbox: { type: "string" }, template: { type: "string", default: "python-3.12-bare" } },
});
const only = new Set(values.only?.split(",") ?? []);
const latencyRuns = Number(values.runs);
const throughputRuns = Math.max(1, Math.round(latencyRuns / 4));
const MIB = 2 ** 20;
const BIG = 256;

async function row(key, unit, better, runs, sample) {
  if (only.size > 0 && !only.has(key)) return;
  console.error(`${key} (${runs} runs)`);
  const samples = [];
  for (let i = 0; i < runs; ++i) samples.push(await sample());
  console.log(JSON.stringify({ key, unit, better, samples }));
}

async function msOf(work) {
  const start = performance.now();
  await work();
  return performance.now() - start;
}
const check = (good, what) => {
  if (!good) throw new Error(`benchmark: ${what}`);
};
const sha256 = (data) => createHash("sha256").update(data).digest("hex");
const memoryMb = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) / 1024;

async function measure(sandbox) {
  for (let i = 0; i < 5; ++i) check((await sandbox.exec("true")).exitCode === 0, "true failed");
  await row("node_exec_argv", "ms", "lower", latencyRuns, () => msOf(async () => check((await sandbox.run(["/bin/true"])).exitCode === 0, "/bin/true failed")));
  await row("node_exec", "ms", "lower", latencyRuns, () => msOf(async () => check((await sandbox.exec("true")).exitCode === 0, "true failed")));

  const data = only.size === 0 || only.has("node_upload") || only.has("node_download") ? randomBytes(BIG * MIB) : Buffer.alloc(0);
  const hash = sha256(data);
  if (data.length > 0) {
    await sandbox.files.write("/workspace/blob", data);
    check((await sandbox.exec("sha256sum blob", { timeoutSeconds: 300 })).stdout.startsWith(hash), "the upload differs");
  }
  await row("node_upload", "MiB/s", "higher", throughputRuns, async () => (BIG * 1000) / (await msOf(() => sandbox.files.write("/workspace/blob", data))));
  await row("node_download", "MiB/s", "higher", throughputRuns, async () => {
    let back;
    const ms = await msOf(async () => (back = await sandbox.files.readBytes("/workspace/blob")));
    check(sha256(back) === hash, "the download differs");
    return (BIG * 1000) / ms;
  });
  const pour = async (mib) => {
    let size = 0;
    for await (const chunk of sandbox.execStream(`head -c ${mib}M /dev/zero`, { timeoutSeconds: 600 })) size += chunk.dataBytes.length;
    check(size === mib * MIB, `${size} bytes came`);
  };
  await row("node_stdout", "MiB/s", "higher", throughputRuns, async () => (BIG * 1000) / (await msOf(() => pour(BIG))));
  await row("node_stdout_memory", "MiB", "lower", 1, async () => {
    await pour(64);
    const before = memoryMb();
    let most = before;
    const watch = setInterval(() => (most = Math.max(most, memoryMb())), 20);
    await pour(1024);
    clearInterval(watch);
    return most - before;
  });
  await row("node_streams_500", "ms", "lower", 1, () =>
    msOf(async () => {
      const streams = Array.from({ length: 500 }, (_, number) => sandbox.execStream(`echo ${number}`, { timeoutSeconds: 600 }));
      const outputs = await Promise.all(streams.map(async (stream) => {
        let text = "";
        for await (const chunk of stream) text += chunk.data;
        return text;
      }));
      check(outputs.every((text, number) => text === `${number}\n`), "a stream was mixed up");
    }));
}

if (values.sandbox !== undefined) await measure(await Sandbox.get(values.sandbox));
else await Sandbox.withTemp({ template: values.template, timeoutSeconds: 3600 }, measure);
