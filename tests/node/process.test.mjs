// What happens around the calls: memory, descriptors, worker threads and their end, the end of the process.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import { Worker } from "node:worker_threads";
import { failure, guestProcesses, orkestr, runScript, SCALE, shareSandbox, TEMPLATE, waitUntil } from "./support.mjs";

const { Sandbox } = orkestr;
const sandbox = await shareSandbox();
await sandbox.exec("head -c 200M /dev/zero > /tmp/large");
const START = `import { Sandbox } from "orkestr"; const sandbox = await Sandbox.get(process.argv[1]);`;
const script = (code, options) => runScript(`${START}\n${code}`, { args: [sandbox.id], ...options });

test("10,000 calls: flat memory and descriptors", async () => {
  const { exitCode, stdout, stderr } = await script(
    `
    import { once } from "node:events";
    import { readdirSync, readFileSync } from "node:fs";
    let files = 0;
    const rss = () => Number(/VmRSS:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) / 1024;
    const fds = () => readdirSync("/proc/self/fd").length;
    const content = Buffer.alloc(1000, "x");
    await sandbox.files.write("/tmp/grow", content);
    const kinds = [
      () => sandbox.files.stat("/workspace"),
      () => sandbox.exec("true"),
      () => sandbox.files.write("/tmp/grow", content),
      () => sandbox.files.readBytes("/tmp/grow"),
      () => sandbox.files.list("/workspace"),
      () => sandbox.files.exists("/tmp/grow"),
      () => Sandbox.get(sandbox.id),
      () => sandbox.files.read("/none").catch(() => {}),
      async () => { for await (const _ of sandbox.files.readStream("/tmp/grow")); },
      async () => { const one = sandbox.files.writeStream("/tmp/grow-" + ++files % 20); one.end(content); await once(one, "finish"); },
      async () => { for await (const _ of sandbox.execStream(["/bin/true"])); },
      async () => { const one = sandbox.execStream("cat", { stdin: true }); await one.write("x"); await one.next(); one.cancel(); one.close(); },
    ];
    async function some(count) {
      for (let done = 0; done < count; done += 20) {
        await Promise.all(Array.from({ length: 20 }, (_, i) => kinds[(done + i) % kinds.length]()));
      }
      for (let i = 0; i < 3; ++i) { gc(); await new Promise((next) => setTimeout(next, 20)); }
      return [rss(), fds()];
    }
    const before = await some(1000);
    const after = await some(${10_000 * SCALE});
    console.log(JSON.stringify({ before, after }));`,
    { seconds: 300 * SCALE },
  );
  assert.equal(exitCode, 0, stderr);
  const { before, after } = JSON.parse(stdout);
  console.log(`memory ${before[0].toFixed(1)} MiB, then ${after[0].toFixed(1)}; descriptors ${before[1]}, then ${after[1]}`);
  // A sanitizer's allocator gives little back to the system; leaks are found by the sanitizer itself.
  const growth = process.env.ASAN_OPTIONS ? 48 : 12;
  assert.ok(after[0] - before[0] < growth, `${before[0]} MiB became ${after[0]}`);
  assert.ok(after[1] - before[1] <= 2, `${before[1]} descriptors became ${after[1]}`);
});

test("an open sandbox, stream or file does not keep the process, a pending call does", async () => {
  const { exitCode, stdout, stderr } = await script(
    `const stream = sandbox.execStream("echo x; sleep 50"); await stream.next();
     const writer = sandbox.files.writeStream("/tmp/never"); writer.write("x");
     sandbox.exec("sleep 0.5; echo pending").then((result) => console.log(result.stdout.trim()));`,
    { seconds: 20 },
  );
  assert.deepEqual([exitCode, stdout, stderr], [0, "pending\n", ""]);
  assert.equal(await sandbox.files.exists("/tmp/never"), false);
});

test("process.exit at any time", async () => {
  const moments = [
    `process.exit(7);`,
    `sandbox.exec("sleep 51"); process.exit(7);`,
    `sandbox.exec("sleep 51"); setTimeout(() => process.exit(7), 100);`,
    `for await (const _ of sandbox.execStream("yes")) process.exit(7);`,
    `const one = sandbox.execStream("cat", { stdin: true }); one.write(Buffer.alloc(8e6)); setTimeout(() => process.exit(7), 50);`,
    `const stream = sandbox.files.writeStream("/tmp/half"); stream.write(Buffer.alloc(1e6), () => process.exit(7));`,
    `for await (const _ of sandbox.files.readStream("/tmp/large")) process.exit(7);`,
    `const { Template } = await import("orkestr"); Template.list(); process.exit(7);`,
    `Sandbox.create("${TEMPLATE}", { timeoutSeconds: 10 }); process.exit(7);`,
    `Sandbox.create("${TEMPLATE}", { timeoutSeconds: 10 }); setTimeout(() => process.exit(7), 100);`,
    `process.env.ORKESTR_SNAPSHOTS = "off"; Sandbox.create("${TEMPLATE}", { timeoutSeconds: 10 }); setTimeout(() => process.exit(7), 500);`,
    `const { Template } = await import("orkestr"); Template.prepare("${TEMPLATE}", { memoryMb: 701 }); setTimeout(() => process.exit(7), 300);`,
    `process.on("exit", () => { sandbox.exec("true"); sandbox.execStream("true"); sandbox.terminate; }); sandbox.exec("true").then(() => process.exit(7));`,
    `setTimeout(() => { throw new Error("uncaught"); }, 20); process.on("uncaughtException", () => process.exit(7)); await sandbox.exec("sleep 51");`,
  ];
  for (const moment of moments) {
    const { exitCode, signal, stderr } = await script(moment, { seconds: 30 });
    assert.deepEqual([exitCode, signal], [7, null], `${moment}\n${stderr}`);
  }
  assert.equal(await sandbox.files.exists("/tmp/half"), false);
  const others = async () => (await Sandbox.list()).filter((one) => one.id !== sandbox.id && !["terminated", "failed"].includes(one.status));
  // One whose creation was faster than the exit is there until its timeout.
  assert.ok(await waitUntil(async () => (await others()).length === 0, 30), "a sandbox that was being created is nobody's");
  assert.ok(await waitUntil(async () => (await guestProcesses(sandbox, "sleep 51")).length === 0), "what the process waited for is cancelled");
});

const WORKER = `
  const { parentPort, workerData } = require("node:worker_threads");
  const { Sandbox } = require("orkestr");
  (async () => {
    const sandbox = await Sandbox.get(workerData.id);
    if (workerData.kind === "exec") {
      for (let i = 0; i < 20; ++i) {
        const result = await sandbox.exec("echo " + workerData.number);
        if (result.stdout !== workerData.number + "\\n") throw new Error(result.stdout);
      }
      parentPort.postMessage("done");
    } else if (workerData.kind === "stream") {
      for await (const chunk of sandbox.execStream("yes")) parentPort.postMessage(chunk.data.length);
    } else if (workerData.kind === "pending") {
      parentPort.postMessage("pending");
      await sandbox.exec("sleep 52");
    } else if (workerData.kind === "files") {
      parentPort.postMessage("reading");
      for await (const _ of sandbox.files.readStream("/tmp/large"));
    }
  })();`;
const work = (kind, number = 0) => {
  const worker = new Worker(WORKER, { eval: true, workerData: { id: sandbox.id, kind, number } });
  const first = new Promise((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
    worker.once("exit", () => reject(new Error("the worker ended early")));
  });
  return { worker, first };
};

test("several worker threads at once", async () => {
  const workers = Array.from({ length: 4 }, (_, number) => work("exec", number));
  assert.deepEqual(await Promise.all(workers.map((one) => one.first)), ["done", "done", "done", "done"]);
});

test("workers are terminated in the middle of everything", async () => {
  const before = readdirSync("/proc/self/fd").length;
  for (let round = 0; round < 5 * SCALE; ++round) {
    const workers = ["stream", "pending", "files", "stream"].map((kind) => work(kind));
    await Promise.all(workers.map((one) => one.first));
    await Promise.all(workers.map((one) => one.worker.terminate()));
  }
  assert.equal((await sandbox.exec("echo alive")).stdout, "alive\n");
  assert.ok(await waitUntil(async () => (await guestProcesses(sandbox, "sleep 52")).length === 0), "what a worker waited for is cancelled");
  assert.ok(await waitUntil(() => readdirSync("/proc/self/fd").length <= before + 8, 10), `${before} descriptors became ${readdirSync("/proc/self/fd").length}`);
});

test("an object is of its thread only", async () => {
  const { first, worker } = work("exec");
  worker.removeAllListeners("exit");
  assert.throws(() => structuredClone(sandbox.exec), /could not be cloned/);
  const copy = structuredClone(sandbox);
  await failure(async () => orkestr.Sandbox.prototype.exec.call(copy, "true"), orkestr.InvalidArgument);
  await first;
});

test("two copies of the package in one process refuse each other's objects", async () => {
  const { exitCode, stdout, stderr } = await script(
    `import { cpSync, mkdtempSync, symlinkSync, rmSync } from "node:fs"; import { createRequire } from "node:module"; import path from "node:path";
     const directory = mkdtempSync(path.join(process.env.ORKESTR_HOME, "copy-"));
     cpSync(process.env.ORKESTR_NODE_ADDON, path.join(directory, "orkestr.node"));
     const require = createRequire(import.meta.url);
     const [one, other] = [require(process.env.ORKESTR_NODE_ADDON), require(path.join(directory, "orkestr.node"))];
     const client = one.getDefaultClient();
     console.log(one.clientBackend(client));
     try { other.clientBackend(client); } catch (error) { console.log(error.message); }
     console.log(other.clientBackend(other.getDefaultClient()));
     rmSync(directory, { recursive: true });`,
    { env: { LD_LIBRARY_PATH: new URL("../../build/lib", import.meta.url).pathname } },
  );
  assert.equal(exitCode, 0, stderr);
  assert.match(stdout, /^local\nclient does not belong to this copy of the orkestr package.*\nlocal\n$/);
});

test("500 streams at once", async () => {
  const streams = Array.from({ length: 500 }, (_, number) => sandbox.execStream(`sleep 0.1; echo ${number}`, { timeoutSeconds: 600 }));
  const outputs = await Promise.all(streams.map(async (stream) => {
    let text = "";
    for await (const chunk of stream) text += chunk.data;
    return text;
  }));
  assert.deepEqual(outputs, Array.from({ length: 500 }, (_, number) => `${number}\n`));
});

test("the event loop turns while commands run", async () => {
  let ticks = 0;
  const timer = setInterval(() => ++ticks, 5);
  await Promise.all(Array.from({ length: 8 }, () => sandbox.exec("sleep 0.5")));
  clearInterval(timer);
  assert.ok(ticks > 40, `${ticks} ticks`);
});

test("libuv's pool stays free while many calls wait", async () => {
  const { access } = await import("node:fs/promises");
  const waiting = Array.from({ length: 30 }, () => sandbox.exec("sleep 1"));
  const start = performance.now();
  await access("/");
  assert.ok(performance.now() - start < 500);
  await Promise.all(waiting);
});

test("no descriptor left: an error, and the process goes on", async () => {
  const { exitCode, stdout, stderr } = await script(
    `import { openSync, closeSync } from "node:fs";
     await sandbox.exec("true");
     const open = [];
     try { while (true) open.push(openSync("/dev/null")); } catch {}
     try { await sandbox.files.stat("/"); console.log("worked"); } catch (error) { console.log(error instanceof Error); }
     open.forEach((fd) => closeSync(fd));
     console.log((await sandbox.exec("echo on")).stdout.trim());`,
    { seconds: 60 },
  );
  assert.equal(exitCode, 0, stderr);
  assert.match(stdout, /^(worked|true)\non\n$/);
});
