// The code interpreter: of a service only, and there of one template only.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { after, test } from "node:test";
import { PROXIES, SCALE, TEMPLATE, failure, orkestr, runScript, shareSandbox, startService, waitUntil } from "./support.mjs";

const { Cancelled, CodeContext, CodeStream, InterpreterUnavailable, InvalidArgument, OrkestrClient, Sandbox, SandboxNotFound, SandboxNotReady } = orkestr;
const local = await shareSandbox();
for (const name of PROXIES) delete process.env[name];
let client, sandbox;
after(async () => { // before the service's own
  await sandbox?.terminate();
  await client?.close();
});
const service = await startService();
client = new OrkestrClient({ apiKey: "test-key", baseUrl: service.url });
const interpreter = () => Sandbox.create({ template: "code-interpreter", client });
sandbox = await interpreter();

async function all(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}
const waitFor = (promise, ms) => Promise.race([promise, new Promise((_, reject) => setTimeout(reject, ms, new Error(`not within ${ms} ms`)).unref())]);

test("a sandbox without an interpreter says so: every local one, and those of other templates", async () => {
  const other = await Sandbox.create({ template: TEMPLATE, client });
  for (const one of [local, other]) {
    await failure(one.runCode("1"), InterpreterUnavailable);
    await failure(async () => one.runCodeStream("1").next(), InterpreterUnavailable);
    await failure(one.createCodeContext(), InterpreterUnavailable);
    await failure(one.codeContexts(), InterpreterUnavailable);
  }
  assert.match((await failure(local.runCode("1"), InterpreterUnavailable)).message, /local/);
  await other.terminate();
});

test("wrong arguments name themselves, before anything is sent", async () => {
  const context = await sandbox.createCodeContext();
  const cases = [
    [(one) => one.runCode(), TypeError, /code is undefined; allowed: a string/],
    [(one) => one.runCode(Buffer.from("1")), TypeError, /code is .*; allowed: a string/],
    [(one) => one.runCode("'\ud800'"), RangeError, /code has a lone surrogate at index 1/],
    [(one) => one.runCode(" ".repeat(2 ** 24 + 1)), RangeError, /code has 16777217 bytes/],
    [(one) => one.runCode("1", { language: 3 }), TypeError, /language is 3; allowed: a string/],
    [(one) => one.runCode("1", { language: "" }), RangeError, /language is ''/],
    [(one) => one.runCode("1", { contextId: context }), TypeError, /contextId is .*; allowed: a string/],
    [(one) => one.runCode("1", { timeoutSeconds: 0 }), RangeError, /timeout is 0 ms/],
    [(one) => one.runCode("1", { timeoutSeconds: "1" }), TypeError, /timeoutSeconds is '1'; allowed: a number/],
    [(one) => one.runCode("1", { timeout: 1 }), TypeError, /'timeout', which is no option here/],
    [(one) => one.runCode("1", { signal: 1 }), TypeError, /signal is 1; allowed: an AbortSignal/],
    [(one) => one.runCodeStream(1), TypeError, /code is 1; allowed: a string/],
    [(one) => one.runCodeStream("1", { timeoutSeconds: 1e6 }), RangeError, /timeout is 1000000000 ms/],
    [(one) => one.createCodeContext({ cwd: 1 }), TypeError, /cwd is 1; allowed: a string/],
    [(one) => one.createCodeContext({ cwd: "tmp" }), RangeError, /cwd is 'tmp'/],
    [(one) => one.codeContexts({ cwd: "/" }), TypeError, /'cwd', which is no option here; allowed: signal/],
    [() => context.runCode(1), TypeError, /code is 1/],
    [() => context.runCode("1", { contextId: "x" }), TypeError, /'contextId', which is no option here/],
    [() => context.restart(1), TypeError, /options is 1/],
    [() => new CodeContext(), TypeError, /createCodeContext/],
    [() => CodeContext.prototype.runCode.call({}, "1"), TypeError, /this is \{\}/],
    [() => CodeStream.prototype.next.call({}), TypeError, /this is \{\}/],
  ];
  for (const [work, builtin, message] of cases) {
    for (const one of [local, sandbox]) {
      const error = await failure(async () => work(one), InvalidArgument).catch((other) => assert.fail(`${work}: ${other.message}`));
      assert.ok(error instanceof builtin, `${work}: ${error.stack}`);
      assert.match(error.message, message, String(work));
    }
  }
  for (const one of [local, sandbox]) await failure(one.runCode("1", { contextId: "a/b" }), SandboxNotFound);
  await context.remove();
});

test("variables stay, results come with all their forms", async () => {
  const own = await interpreter();
  const { durationMs, ...first } = await own.runCode("import sys\nx = 6\nprint('out ü')\nprint('err', file=sys.stderr)");
  assert.ok(Number.isInteger(durationMs) && durationMs >= 0);
  assert.deepEqual(first, {
    results: [], stdout: "out ü\n", stderr: "err\n", error: null, executionCount: 1, contextId: "default", interrupted: false, restarted: false, truncated: [],
    text: null,
  });
  const second = await own.runCode("display('shown')\nx * 7", { language: "python", contextId: "default" });
  const plain = { type: "text", html: null, png: null, json: null, chart: null };
  assert.deepEqual(second.results, [{ ...plain, text: "'shown'" }, { ...plain, text: "42" }]);
  assert.deepEqual([second.text, second.executionCount], ["42", 2]);
  const { results } = await own.runCode(`class Rich:
  def __init__(self, size): self.size = size
  def __repr__(self): return "rich"
  def _repr_html_(self): return "<b>ü</b>"
  def _repr_png_(self): return bytes(range(256)) * self.size
  def _repr_json_(self): return {"b": [1, 2.5, None, True, "x"], "a": {}, "__proto__": 7}
  def _repr_chart_(self): return {"type": "bar"}
display(Rich(1))
Rich(4000)`);
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  const [small, large] = results;
  assert.deepEqual({ ...small, json: null }, { type: "chart", text: "rich", html: "<b>ü</b>", png: bytes, json: null, chart: { type: "bar" } });
  assert.equal(JSON.stringify(small.json), '{"b":[1,2.5,null,true,"x"],"a":{},"__proto__":7}');
  assert.ok(Buffer.isBuffer(large.png) && large.png.length === 1_024_000 && large.png.subarray(-256).equals(bytes));
  assert.deepEqual((await own.runCode("print('x' * 3_000_000)")).truncated, ["stdout"]);
  await own.terminate();
  await failure(own.runCode("x"), SandboxNotReady);
});

test("what the code raises is a result; a timeout interrupts it and its variables are kept", async () => {
  const raised = await sandbox.runCode("x = 5\nprint('before')\n1 / 0");
  assert.deepEqual([raised.stdout, raised.error.name, raised.error.value, raised.interrupted], ["before\n", "ZeroDivisionError", "division by zero", false]);
  assert.ok(raised.error.traceback.length > 1 && raised.error.traceback.every((line) => typeof line === "string"));
  const late = await sandbox.runCode("import time\ntime.sleep(30)", { timeoutSeconds: 0.3 });
  assert.deepEqual([late.interrupted, late.error.name], [true, "KeyboardInterrupt"]);
  assert.equal((await sandbox.runCode("x")).text, "5");
  const died = await sandbox.runCode("import os\nos._exit(3)");
  assert.deepEqual([died.error.name, died.executionCount, died.restarted], ["KernelDied", null, false]);
  const anew = await sandbox.runCode("x");
  assert.deepEqual([anew.restarted, anew.error.name], [true, "NameError"]);
});

test("a stream has the events as they come, and at its end what runCode would give", async () => {
  const [listed] = (await Sandbox.list({ client })).filter((one) => one.id === sandbox.id); // opened at its first use
  const stream = listed.runCodeStream("import sys, time\nsys.stdout.write('one')\ndisplay(1)\ntime.sleep(1)\nsys.stderr.write('two')\n1 / 0");
  const started = performance.now();
  const nothing = { stream: null, text: null, result: null, error: null, execution: null };
  const first = await stream.next();
  assert.deepEqual(first, { done: false, value: { ...nothing, kind: "stream", stream: "stdout", text: "one" } });
  assert.equal((await stream.next()).value.result.text, "1");
  assert.ok(performance.now() - started < 900, `the first events took ${performance.now() - started} ms`);
  const [second, error, done, ...more] = await all(stream);
  assert.deepEqual(second, { ...nothing, kind: "stream", stream: "stderr", text: "two" });
  assert.deepEqual(error, { ...nothing, kind: "error", error: { name: "ZeroDivisionError", value: "division by zero", traceback: error.error.traceback } });
  assert.deepEqual(done, { ...nothing, kind: "done", execution: done.execution });
  const { stdout, stderr, text, contextId, results } = done.execution;
  assert.deepEqual([stdout, stderr, text, contextId, results.length, done.execution.error.name], ["one", "two", "1", "default", 1, "ZeroDivisionError"]);
  assert.ok(Object.hasOwn(done.execution, "interrupted") && done.execution.durationMs >= 1000);
  assert.deepEqual([more, await stream.next()], [[], { done: true, value: undefined }]);

  const rich = (await all(sandbox.runCodeStream("class Rich:\n  def _repr_json_(self): return [1]\n  def _repr_png_(self): return b'x'\nRich()")))[0].result;
  assert.deepEqual([rich.type, rich.json, rich.png], ["image_png", [1], Buffer.from("x")]);

  const unknown = await failure(sandbox.runCodeStream("1", { contextId: "ctx_none" }).next(), SandboxNotFound);
  assert.match(unknown.message, /ctx_none/);

  // One that is not read slows the run down, and nothing is lost.
  const large = sandbox.runCodeStream("for i in range(3000): print('x' * 999)");
  await new Promise((next) => setTimeout(next, 300));
  const events = await all(large);
  const text_ = events.filter((event) => event.kind === "stream").map((event) => event.text).join("");
  assert.ok(text_.length === 2 ** 20 && events.at(-1).execution.stdout === text_);
});

test("leaving a stream, closing and aborting it let the run go on", async () => {
  const run = (name) => `print("here", flush=True)\nimport time\ntime.sleep(0.3)\n${name} = "alone"`;
  const ran = async (name) => assert.equal((await sandbox.runCode(name)).text, "'alone'");
  for await (const event of sandbox.runCodeStream(run("a"))) {
    assert.equal(event.text, "here");
    break;
  }
  await ran("a");

  const closed = sandbox.runCodeStream(run("b"));
  await closed.next();
  const pending = all(closed);
  closed.close();
  closed.close();
  assert.deepEqual((await waitFor(pending, 5000)).filter((event) => event.text !== "\n"), []);
  assert.deepEqual(await closed.next(), { done: true, value: undefined });
  await ran("b");

  const controller = new AbortController();
  const aborted = sandbox.runCodeStream(run("c"), { signal: controller.signal });
  await aborted.next();
  const waiting = failure(all(aborted), Cancelled);
  setTimeout(() => controller.abort("enough"), 50);
  const error = await waitFor(waiting, 5000);
  assert.deepEqual([error.name, error.cause], ["AbortError", "enough"]);
  await failure(aborted.next(), Cancelled);
  assert.throws(() => sandbox.runCodeStream("1", { signal: controller.signal }), Cancelled);
  await ran("c");

  const started = performance.now();
  await failure(sandbox.runCode("time.sleep(1)\nd = 'alone'", { signal: AbortSignal.timeout(100) }), Cancelled);
  assert.ok(performance.now() - started < 900);
  await ran("d");

  const disposed = sandbox.runCodeStream("time.sleep(0.2)");
  await disposed[Symbol.asyncDispose ?? Symbol.for("nodejs.asyncDispose")]();
  assert.deepEqual(await all(disposed), []);
});

test("contexts have variables of their own, survive a pause, and are found again", async () => {
  const own = await interpreter();
  assert.deepEqual(await own.codeContexts(), []);
  const context = await own.createCodeContext({ cwd: "/tmp" });
  assert.ok(context instanceof CodeContext && context.createdAt instanceof Date && context.id.length > 0);
  const { id, createdAt } = context;
  assert.deepEqual({ ...context }, { id, language: "python", cwd: "/tmp", createdAt, lastUsedAt: null, executions: 0, alive: true });
  const inside = await context.runCode("y = 1\nimport os\nos.getcwd()", { timeoutSeconds: 20 });
  assert.deepEqual([inside.text, inside.contextId], ["'/tmp'", id]);
  assert.equal((await own.runCode("y")).error.name, "NameError");
  await own.pause();
  const again = await Sandbox.resume(own.id, { client });
  const [found, standard] = await again.codeContexts();
  assert.deepEqual([found.id, found.executions, standard.id], [id, 1, "default"]);
  assert.ok(found.lastUsedAt instanceof Date);
  assert.equal((await again.runCode("y + 1", { contextId: id })).text, "2");
  assert.equal(await found.restart(), found);
  assert.equal(found.alive, true);
  assert.equal((await found.runCode("y")).error.name, "NameError");
  assert.equal(await found.remove(), undefined);
  await failure(found.remove(), SandboxNotFound);
  await failure(context.runCode("1"), SandboxNotFound);
  await failure(again.createCodeContext({ cwd: "/nowhere" }), orkestr.FileNotFound);
  await failure(again.createCodeContext({ signal: AbortSignal.abort() }), Cancelled);
  assert.deepEqual((await again.codeContexts()).map((one) => one.id), ["default"]);
  await again.terminate();
});

test("50 streams at once neither block the loop nor take a thread each", async () => {
  const tasks = () => readdirSync("/proc/self/task").length;
  const before = tasks();
  const delay = monitorEventLoopDelay({ resolution: 10 });
  delay.enable();
  const running = Promise.all(Array.from({ length: 50 }, (_, i) => all(sandbox.runCodeStream(`import time\ntime.sleep(0.03)\nprint("x" * 9999)\n${i}`))));
  await new Promise((next) => setTimeout(next, 500));
  const during = tasks();
  const runs = await running;
  delay.disable();
  runs.forEach((events, i) => {
    const { stdout, text } = events.at(-1).execution;
    assert.ok(stdout.length === 10_000 && text === String(i), `run ${i}: ${text}`);
  });
  assert.ok(during - before < 10, `${before} threads became ${during}`);
  assert.ok(delay.max / 1e6 < 500, `the loop stood still for ${delay.max / 1e6} ms`);
});

const START = `import { Sandbox } from "orkestr"; const sandbox = await Sandbox.get(process.argv[1]);`;
const script = (code, options) => runScript(`${START}\n${code}`, { args: [sandbox.id], env: service.env, ...options });

test("an open stream does not keep the process, a pending next does", async () => {
  const { exitCode, stdout, stderr } = await script(
    `const open = sandbox.runCodeStream("import time\\ntime.sleep(60)", { contextId: (await sandbox.createCodeContext()).id });
     globalThis.open = open;
     const stream = sandbox.runCodeStream("import time\\ntime.sleep(0.5)\\nprint('pending')", { contextId: (await sandbox.createCodeContext()).id });
     stream.next().then(({ value }) => console.log(value.text));`,
    { seconds: 30 },
  );
  assert.deepEqual([exitCode, stdout, stderr], [0, "pending\n", ""]);
});

test("thousands of runs and streams: flat memory and descriptors", async () => {
  const { exitCode, stdout, stderr } = await script(
    `import { readFileSync, readdirSync } from "node:fs";
     const rss = () => Number(/VmRSS:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) / 1024;
     const fds = () => readdirSync("/proc/self/fd").length;
     const code = "class Rich:\\n  def _repr_png_(self): return bytes(300_000)\\n  def _repr_json_(self): return [1] * 1000\\nprint('x' * 999)\\nRich()";
     const context = await sandbox.createCodeContext();
     const kinds = [
       () => sandbox.runCode("1"), () => context.runCode(code), () => sandbox.codeContexts(),
       async () => { for await (const _ of sandbox.runCodeStream(code)); },
       async () => { for await (const _ of sandbox.runCodeStream("1\\nprint(2)")) break; },
       async () => { const one = sandbox.runCodeStream("1"); await one.next(); },
       () => sandbox.runCode("1", { signal: AbortSignal.timeout(1) }).catch(() => {}),
       () => sandbox.runCodeStream("1", { contextId: "none" }).next().catch(() => {}),
     ];
     async function some(count) {
       for (let done = 0; done < count; done += 8) await Promise.all(kinds.map((kind) => kind()));
       for (let i = 0; i < 5; ++i) { gc(); await new Promise((next) => setTimeout(next, 50)); }
       return [rss(), fds()];
     }
     const before = await some(800);
     const after = await some(${2400 * SCALE});
     console.log(JSON.stringify({ before, after }));`,
    // (Large blocks of their own, so that what is freed does not stay as gaps between what is not.)
    { env: { ...service.env, MALLOC_MMAP_THRESHOLD_: "131072" }, seconds: 300 * SCALE },
  );
  assert.equal(exitCode, 0, stderr);
  const { before, after: later } = JSON.parse(stdout);
  console.log(`memory ${before[0].toFixed(1)} MiB, then ${later[0].toFixed(1)}; descriptors ${before[1]}, then ${later[1]}`);
  const growth = process.env.ASAN_OPTIONS ? 48 : 12; // (a sanitizer's allocator gives little back)
  assert.ok(later[0] - before[0] < growth, `${before[0]} MiB became ${later[0]}`);
  assert.ok(later[1] - before[1] <= 4, `${before[1]} descriptors became ${later[1]}`);
});

test("a dropped stream is closed", async () => {
  const open = () => readdirSync("/proc/self/fd").length;
  const before = open();
  await Promise.all(Array.from({ length: 20 }, () => sandbox.runCodeStream("print(1, flush=True)\nimport time\ntime.sleep(0.1)").next()));
  assert.ok(await waitUntil(() => (gc(), open() <= before + 2)), `${before} descriptors became ${open()}`);
});
