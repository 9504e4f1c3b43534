// Commands: results, errors, streams, input, terminals, cancelling.
import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { test } from "node:test";
import { collect, failure, guestProcesses, orkestr, SCALE, shareSandbox, waitUntil } from "./support.mjs";

const { Cancelled, ExecKilled, ExecTimeout } = orkestr;
const sandbox = await shareSandbox();

test("a result: output, exit code, times", async () => {
  const result = await sandbox.exec("echo out; echo err >&2; exit 3");
  assert.deepEqual([result.stdout, result.stderr, result.exitCode], ["out\n", "err\n", 3]);
  assert.deepEqual(result.stdoutBytes, Buffer.from("out\n"));
  assert.ok(Number.isInteger(result.durationMs) && result.durationMs >= 0 && result.maxRssKb > 100);
  assert.ok(result instanceof orkestr.ExecResult && !result.truncated);
  assert.deepEqual(result.networkDenied, []);
});

test("bytes of every value, both ways", async () => {
  const all = Buffer.from(Uint8Array.from({ length: 1024 }, (_, i) => i % 256));
  assert.deepEqual((await sandbox.run(["cat"], { stdin: all })).stdoutBytes, all);
  const view = new DataView(all.buffer, all.byteOffset + 5, 100);
  assert.deepEqual((await sandbox.run(["cat"], { stdin: view })).stdoutBytes, all.subarray(5, 105));
  const sharedMemory = new SharedArrayBuffer(8);
  new Uint8Array(sharedMemory).fill(7);
  assert.deepEqual((await sandbox.run(["cat"], { stdin: sharedMemory })).stdoutBytes, Buffer.alloc(8, 7));
});

test("options: cwd, env, user, argv, output cap", async () => {
  assert.equal((await sandbox.exec("pwd; echo $A", { cwd: "/tmp", env: { A: "ä 'x'" } })).stdout, "/tmp\nä 'x'\n");
  assert.equal((await sandbox.exec("echo $A", { env: new Map([["A", "map"]]) })).stdout, "map\n");
  assert.equal((await sandbox.run(["echo", "$HOME", "a  b"])).stdout, "$HOME a  b\n");
  assert.equal((await sandbox.run("id -un", { user: "nobody" })).stdout, "nobody\n");
  const capped = await sandbox.run("head -c 100000 /dev/zero", { maxOutputBytes: 2048 });
  assert.deepEqual([capped.stdoutBytes.length, capped.stdoutTotalBytes, capped.truncated], [2048, 100000, true]);
});

test("a timeout has the output so far, and the sandbox lives", async () => {
  const error = await failure(sandbox.exec("echo before; sleep 60", { timeoutSeconds: 0.7 }), ExecTimeout);
  assert.deepEqual([error.code, error.stdout, error.stderr], ["exec_timeout", "before\n", ""]);
  assert.equal((await sandbox.exec("echo alive")).stdout, "alive\n");
});

test("killed by a signal", async () => {
  const error = await failure(sandbox.exec("echo x; kill -9 $$"), ExecKilled);
  assert.deepEqual([error.code, error.signal, error.oom, error.stdout], ["exec_killed", 9, false, "x\n"]);
});

test("a stream: chunks, order, the final one", async () => {
  const { chunks, stdout, stderr, exitCode } = await collect(sandbox.execStream("for i in 1 2 3; do echo $i; sleep 0.1; done; echo e >&2; exit 4"));
  assert.deepEqual([stdout, stderr, exitCode], ["1\n2\n3\n", "e\n", 4]);
  const last = chunks.at(-1);
  assert.ok(last.isFinal && last.data === "" && last.durationMs > 200 && chunks.slice(0, -1).every((chunk) => !chunk.isFinal));
  assert.ok(chunks.length >= 4);
});

test("text is whole wherever the bytes were cut", async () => {
  const text = "aä€😀".repeat(3);
  const cut = [...Buffer.from(text)].map((byte) => `printf '\\x${byte.toString(16).padStart(2, "0")}'; sleep 0.01`).join("; ");
  const { chunks, stdout } = await collect(sandbox.execStream(cut));
  assert.equal(stdout, text);
  assert.ok(chunks.every((chunk) => !chunk.data.includes("\ufffd")));
  assert.equal(Buffer.concat(chunks.map((chunk) => chunk.dataBytes)).toString(), text);
  const broken = await collect(sandbox.execStream("printf 'x\\xe2\\x82'; sleep 0.2; printf '\\xff\\xf0\\x9f'"));
  assert.equal(Buffer.concat(broken.chunks.map((chunk) => chunk.dataBytes)).toString("hex"), "78e282fff09f");
  assert.equal(broken.stdout, "x\ufffd\ufffd\ufffd");
});

test("errors come out of the iteration, after the output", async () => {
  const seen = [];
  const error = await failure(async () => {
    for await (const chunk of sandbox.execStream("echo first; sleep 60", { timeoutSeconds: 0.7 })) seen.push(chunk.data);
  }, ExecTimeout);
  assert.deepEqual(seen, ["first\n"]);
  assert.equal(error.code, "exec_timeout");
});

test("breaking off leaves the command running, cancel and an aborted signal end it", async () => {
  for await (const chunk of sandbox.execStream("echo go; sleep 41")) {
    if (chunk.data) break;
  }
  assert.equal((await guestProcesses(sandbox, "sleep 41")).length, 1);
  const stream = sandbox.execStream("echo go; sleep 42");
  const seen = [];
  await failure(async () => {
    for await (const chunk of stream) {
      seen.push(chunk.data);
      stream.cancel();
      stream.cancel();
    }
  }, Cancelled);
  const controller = new AbortController();
  const error = await failure(async () => {
    for await (const _ of sandbox.execStream("echo go; sleep 43", { signal: controller.signal })) controller.abort("stop");
  }, Cancelled);
  assert.deepEqual([error.name, error.cause], ["AbortError", "stop"]);
  await failure(sandbox.exec("sleep 44", { signal: AbortSignal.timeout(300) }), Cancelled);
  assert.ok(await waitUntil(async () => (await guestProcesses(sandbox, "sleep 4")).length === 1));
  await sandbox.exec("pkill -x sleep; true");
});

test("output without end leaves the event loop its turns", async () => {
  const busy = () => {
    for (const end = performance.now() + 1; performance.now() < end; );
  };
  const start = performance.now();
  await failure(async () => {
    for await (const _ of sandbox.execStream("yes", { signal: AbortSignal.timeout(300) })) busy();
  }, Cancelled);
  await failure(sandbox.run("yes", { onStdout: busy, signal: AbortSignal.timeout(300) }), Cancelled);
  assert.ok(performance.now() - start < 20_000 * SCALE);
});

test("closed while somebody waits: the iteration ends", async () => {
  const stream = sandbox.execStream("sleep 5");
  const pending = stream.next();
  setTimeout(() => stream.close(), 100);
  assert.deepEqual(await pending, { done: true, value: undefined });
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
  assert.equal(stream.pid, 0);
  stream.close();
  stream.cancel();
});

test("several next() at once are answered in order", async () => {
  const stream = sandbox.execStream("for i in 1 2 3; do echo $i; sleep 0.1; done");
  const items = await Promise.all([stream.next(), stream.next(), stream.next(), stream.next()]);
  assert.equal(items.filter((item) => !item.done).map((item) => item.value.data).join(""), "1\n2\n3\n");
  stream.close();
});

test("a conversation, and more input than fits", async () => {
  const cat = sandbox.execStream("cat", { stdin: true });
  await cat.write("hello ");
  await cat.write(Buffer.from("wörld\n"));
  assert.equal((await cat.next()).value.data.startsWith("hello"), true);
  assert.ok(cat.pid > 0);
  const big = Buffer.alloc(8 * 2 ** 20, "x");
  const writing = cat.write(big).then(() => cat.closeInput());
  let size = 0;
  for await (const chunk of cat) size += chunk.dataBytes.length;
  await writing;
  assert.ok(size >= big.length, String(size));
  const stuck = sandbox.execStream("sleep 20", { stdin: true });
  const error = await failure(stuck.write(Buffer.alloc(4 * 2 ** 20), { timeoutSeconds: 0.5 }), ExecTimeout);
  assert.match(error.message, /within 500 ms/);
  stuck.cancel();
  await failure(collect(stuck), Cancelled);
  await failure(() => sandbox.execStream("true").write("x"), orkestr.InvalidArgument);
});

test("writes come one after the other, and one that was given up writes nothing any more", async () => {
  const sizes = (text) => {
    const runs = [];
    for (let at = 0, end; at < text.length; at = end) {
      for (end = at + 1; text[end] === text[at]; ) ++end;
      runs.push([text[at], end - at]);
    }
    return runs;
  };
  const cat = sandbox.execStream("sleep 3; exec cat", { stdin: true });
  const all = collect(cat);
  const size = 8 * 2 ** 20;
  const aborted = await failure(cat.write("a".repeat(size), { signal: AbortSignal.timeout(300) }), Cancelled);
  assert.equal(aborted.name, "AbortError");
  const late = await failure(cat.write("b".repeat(size), { timeoutSeconds: 0.2 }), ExecTimeout);
  const took = Number(/took (\d+) of 8388608 bytes/.exec(late.message)[1]);
  const waiting = cat.write("c".repeat(size));
  const behind = cat.write("d".repeat(1000));
  const gone = cat.write("e", { timeoutSeconds: 0.1 });
  const last = cat.write("f");
  await failure(gone, ExecTimeout);
  await Promise.all([waiting, behind, last, cat.closeInput()]);
  const [[letter, first], ...rest] = sizes((await all).stdout);
  assert.ok(letter === "a" && first < size, `${first} of ${letter}`);
  assert.deepEqual(rest, [...(took === 0 ? [] : [["b", took]]), ["c", size], ["d", 1000], ["f", 1]]);
});

test("closing a stream ends a write that waits", async () => {
  const stream = sandbox.execStream("sleep 20", { stdin: true });
  const writing = stream.write(Buffer.alloc(4 * 2 ** 20));
  setTimeout(() => stream.close(), 200);
  await failure(writing, orkestr.SandboxNotReady);
  await sandbox.exec("pkill -x sleep; true");
});

test("a terminal", async () => {
  const shell = sandbox.execStream(["bash", "--norc"], { tty: true, cols: 100, rows: 30 });
  await shell.write("stty size\n");
  let seen = "";
  let step = 0;
  for await (const chunk of shell) {
    seen += chunk.data;
    if (step === 0 && seen.includes("30 100")) {
      step = 1;
      shell.resize(90, 20);
      await shell.write("stty size\n");
    }
    // Not before the prompt: an end of file that comes while the terminal changes its mode is lost.
    if (step === 1 && /20 90\r?\n[^]*[#$] $/.test(seen)) {
      step = 2;
      await shell.closeInput();
    }
  }
  assert.match(seen, /20 90/);
});

test("run: callbacks, pieces of input, what they throw", async () => {
  const pieces = [];
  async function* input() {
    yield "one ";
    yield new Uint8Array([0x32, 10]);
  }
  const result = await sandbox.run("cat; echo e >&2", { stdin: input(), onStdout: (text) => pieces.push(text), onStderr: (text) => pieces.push(text) });
  assert.deepEqual([result.stdout, result.stderr, result.exitCode], ["one 2\n", "e\n", 0]);
  assert.equal([...pieces].sort().join(""), ["e\n", "one 2\n"].sort().join(""));
  const broken = new Error("no more");
  assert.equal(await failure(sandbox.run("echo x; sleep 45", { onStdout() { throw broken; } }), Error), broken);
  async function* bad() {
    yield "x";
    throw broken;
  }
  assert.equal(await failure(sandbox.run("cat; sleep 45", { stdin: bad() }), Error), broken);
  assert.ok(await waitUntil(async () => (await guestProcesses(sandbox, "sleep 45")).length === 0));
  const capped = await sandbox.run("seq 100000", { maxOutputBytes: 2048, onStdout() {} });
  assert.ok(capped.truncated && capped.stdout.startsWith("1\n2\n") && capped.stdout.endsWith("100000\n") && capped.stdoutBytes.length === 2048);
  const timeout = await failure(sandbox.run("echo x; sleep 45", { timeoutSeconds: 0.5, onStdout() {} }), ExecTimeout);
  assert.equal(timeout.stdout, "x\n");
});

test("run: a source is let go of when the command ends first", async () => {
  let left = 0;
  async function* endless() {
    try {
      for (;;) {
        yield "x\n";
        await new Promise((done) => setTimeout(done, 10));
      }
    } finally {
      ++left;
    }
  }
  assert.equal((await sandbox.run("head -n 1", { stdin: endless() })).stdout, "x\n");
  assert.ok(await waitUntil(() => left === 1));
  const silent = new Readable({ read() {} });
  assert.equal((await sandbox.run("echo done", { stdin: silent })).stdout, "done\n");
  assert.ok(await waitUntil(() => silent.destroyed));
});

test("background commands", async () => {
  const command = await sandbox.exec("for i in 1 2 3; do echo é$i; sleep 0.1; done; exit 5", { background: true });
  assert.match(command.id, /^cmd_/);
  assert.equal(command.status, "running");
  assert.ok(command.startedAt instanceof Date && command.pid > 0);
  assert.equal((await collect(command.stream())).stdout, "é1\né2\né3\n");
  assert.equal(await command.wait({ pollSeconds: 0.1 }), 5);
  const logs = await command.logs({ offset: 4 });
  assert.deepEqual([logs.content, logs.size, logs.startOffset, logs.nextOffset], ["é2\né3\n", 12, 4, 12]);
  const forever = await sandbox.exec("sleep 46", { background: true });
  await failure(forever.wait({ timeoutSeconds: 0.2 }), ExecTimeout);
  const listed = await sandbox.commands();
  assert.deepEqual(listed.map((one) => one.id).slice(-2), [command.id, forever.id]);
  assert.equal((await sandbox.command(command.id)).exitCode, 5);
  await failure(sandbox.command("cmd_none"), orkestr.OrkestrError);
  const stream = forever.stream();
  const pending = failure(stream.next(), ExecKilled);
  await listed.at(-1).kill();
  await pending;
  assert.equal((await forever.refresh()).status, "killed");
  assert.equal(await forever.wait(), null);
  const controller = new AbortController();
  const waiting = (await sandbox.exec("sleep 3", { background: true })).wait({ signal: controller.signal });
  controller.abort();
  assert.equal((await failure(waiting, Cancelled)).name, "AbortError");
});
