// Node's side of `./dev bench` (binding_rows.cpp): `./dev node tests/bench/node_rows.mjs SANDBOX`. For each line of input, the name of a
// sample, it takes that sample in the sandbox and answers a line: its number, or what went wrong.
import { createHash, randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Sandbox } from "orkestr";

const MIB = 2 ** 20;
const SIZE_MIB = 256;
const sandbox = await Sandbox.get(process.argv[2]);
const PATIENT = { timeoutSeconds: 600 };

function check(good, what) {
  if (!good) throw new Error(what);
}
async function msOf(work) {
  const start = performance.now();
  await work();
  return performance.now() - start;
}
const rateOf = async (work) => (SIZE_MIB * 1000) / (await msOf(work));
function sha256(pieces) {
  const hash = createHash("sha256");
  for (const piece of pieces) hash.update(piece);
  return hash.digest("hex");
}

let data, digest;
function payload() {
  data ??= Buffer.from(randomBytes((SIZE_MIB * MIB * 3) / 4).toString("base64")); // text, since output is decoded as such
  digest ??= sha256([data]);
}
let written = false;
async function write() {
  await sandbox.files.write("/workspace/blob", data);
  written = true;
}

// Of what gives the uploaded file.
async function pull(pieces) {
  payload();
  if (!written) await write();
  let got;
  const rate = await rateOf(async () => (got = await pieces()));
  check(sha256(got) === digest, "what came differs");
  return rate;
}

async function pour(mib) {
  let size = 0;
  for await (const chunk of sandbox.execStream(`head -c ${mib}M /dev/zero`, PATIENT)) size += chunk.dataBytes.length;
  check(size === mib * MIB, `${size} bytes of ${mib} MiB came`);
}
const peakMb = () => Number(/VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) / 1024;

async function textOf(stream) {
  let text = "";
  for await (const chunk of stream) text += chunk.data;
  return text;
}

const SAMPLES = {
  exec: () => msOf(async () => check((await sandbox.exec("true")).exitCode === 0, "true failed")),
  async upload() {
    payload();
    const rate = await rateOf(write);
    const { stdout } = await sandbox.exec("sha256sum /workspace/blob", PATIENT);
    check(stdout.startsWith(digest), `the file's hash differs: ${stdout}`);
    return rate;
  },
  download: () => pull(async () => [await sandbox.files.readBytes("/workspace/blob")]),
  stdout: () =>
    pull(async () => {
      const got = [];
      for await (const chunk of sandbox.execStream("cat /workspace/blob", PATIENT)) got.push(chunk.dataBytes);
      return got;
    }),
  async stdout_memory() {
    await pour(64);
    writeFileSync("/proc/self/clear_refs", "5");
    const before = peakMb();
    await pour(1024);
    return peakMb() - before;
  },
  streams_500: () =>
    msOf(async () => {
      const streams = Array.from({ length: 500 }, (_, number) => sandbox.execStream(`echo ${number}`, PATIENT));
      const texts = await Promise.all(streams.map(textOf));
      texts.forEach((text, number) => check(text === `${number}\n`, `stream ${number} gave ${text}`));
    }),
};

for (let i = 0; i < 5; ++i) await SAMPLES.exec();
for await (const name of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = String(await SAMPLES[name]());
  } catch (error) {
    answer = String(error).replaceAll("\n", " ");
  }
  process.stdout.write(`${answer}\n`);
}
