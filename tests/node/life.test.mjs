// The life of a sandbox, and what belongs to no sandbox.
import assert from "node:assert/strict";
import { appendFileSync, mkdirSync, readdirSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { test } from "node:test";
import { inspect } from "node:util";
import { collect, failure, home, orkestr, runScript, shareSandbox, TEMPLATE, waitUntil } from "./support.mjs";

const { NotSupported, OrkestrClient, Sandbox, SandboxNotFound, SandboxNotReady, Snapshot, Template, pool } = orkestr;
const core = createRequire(import.meta.url)(process.env.ORKESTR_NODE_ADDON);
const shared = { sandbox: await shareSandbox() };

// Calls `body` while the native module has another function of this name.
async function replaced(name, other, body) {
  const before = core[name];
  core[name] = (...given) => other(before, ...given);
  try {
    await body();
  } finally {
    core[name] = before;
  }
}

test("attributes", () => {
  const { sandbox } = shared;
  assert.match(sandbox.id, /^sbx_[0-9A-Z]{26}$/);
  const { status, template, network, cpu, memoryMb, backend, onTimeout, autoResume, endReason, region } = sandbox;
  assert.deepEqual(
    { status, template, network, cpu, memoryMb, backend, onTimeout, autoResume, endReason, region },
    { status: "running", template: TEMPLATE, network: "off", cpu: 1, memoryMb: 1024, backend: "local", onTimeout: "kill", autoResume: false, endReason: null, region: null },
  );
  assert.deepEqual(sandbox.metadata, { suite: "node" });
  assert.ok(sandbox.createdAt instanceof Date && sandbox.expiresAt - sandbox.createdAt > 1_700_000);
  assert.match(inspect(sandbox), new RegExp(`^Sandbox ${sandbox.id} running ${TEMPLATE} local/`));
  assert.equal(JSON.parse(JSON.stringify(sandbox)).id, sandbox.id);
});

test("require and import are one module", () => {
  const required = createRequire(import.meta.url)("orkestr");
  assert.equal(required.Sandbox, Sandbox);
  assert.deepEqual(Object.keys(required).sort(), Object.keys(orkestr).filter((name) => name !== "default").sort());
  assert.equal(orkestr.default, required);
});

test("create, get, list, terminate; metadata of any name", async () => {
  const metadata = { run: "life", __proto__: null, ["__proto__"]: "x", constructor: "y" };
  const sandbox = await Sandbox.create(TEMPLATE, { metadata, timeoutSeconds: 300, env: { GREETING: "hi" } });
  assert.deepEqual(Object.entries(sandbox.metadata).sort(), Object.entries(metadata).sort());
  assert.equal((await sandbox.exec("echo $GREETING")).stdout, "hi\n");
  const same = await Sandbox.get(sandbox.id);
  assert.equal((await same.exec("echo same")).stdout, "same\n");
  const listed = await Sandbox.list({ metadata: { run: "life" } });
  assert.deepEqual(listed.map((one) => one.id), [sandbox.id]);
  assert.equal((await listed[0].exec("echo listed")).stdout, "listed\n");
  const [fresh] = await Sandbox.list({ maxResults: 1 });
  const stream = fresh.execStream("cat", { stdin: true });
  assert.equal(stream.pid, 0);
  await stream.write("through a stream");
  await stream.closeInput();
  assert.equal((await collect(stream)).stdout, "through a stream");
  await sandbox.terminate();
  await sandbox.terminate();
  assert.equal(sandbox.status, "terminated");
  await failure(sandbox.exec("true"), SandboxNotReady);
  await failure(sandbox.files.read("/x"), SandboxNotReady);
  await failure(async () => {
    for await (const _ of sandbox.execStream("true"));
  }, SandboxNotReady);
  await failure(Sandbox.get("sbx_01ARZ3NDEKTSV4RRFFQ69G5FAV"), SandboxNotFound);
  assert.equal((await Sandbox.get(sandbox.id)).status, "terminated");
});

test("first calls at the same time open a listed sandbox once; after a failure the next one tries again", async () => {
  const [listed] = await Sandbox.list({ metadata: { suite: "node" } });
  let opened = 0;
  const get = (real, ...given) => {
    if (++opened === 1) throw new Error("not this time");
    return real(...given);
  };
  await replaced("get", get, async () => {
    const first = await Promise.allSettled([listed.refresh(), listed.exec("true"), listed.files.exists("/")]);
    assert.deepEqual(first.map((one) => one.reason?.message), ["not this time", "not this time", "not this time"]);
    const results = await Promise.all([listed.exec("echo a"), listed.run(["echo", "b"]), collect(listed.execStream("echo c"))]);
    assert.equal(results.map((one) => one.stdout).join(""), "a\nb\nc\n");
    await listed.refresh();
  });
  assert.equal(opened, 2);
});

test("withTemp and asyncDispose end it, also when the body throws", async () => {
  let kept;
  assert.equal(await Sandbox.withTemp({ template: TEMPLATE }, (sandbox) => ((kept = sandbox), 42)), 42);
  assert.equal(kept.status, "terminated");
  const broken = new Error("body");
  assert.equal(await failure(Sandbox.withTemp(TEMPLATE, (sandbox) => { kept = sandbox; throw broken; }), Error), broken);
  assert.equal(kept.status, "terminated");
  const disposed = await Sandbox.create(TEMPLATE);
  await disposed[Symbol.asyncDispose ?? Symbol.for("nodejs.asyncDispose")]();
  assert.equal(disposed.status, "terminated");
});

test("an aborted create leaves no sandbox", async () => {
  for (const ms of [0, 5, 40, 120]) {
    const signal = ms === 0 ? AbortSignal.abort() : AbortSignal.timeout(ms);
    try {
      await (await Sandbox.create({ template: TEMPLATE, metadata: { run: "abort" }, signal })).terminate();
    } catch (error) {
      assert.equal(error.name, "AbortError");
    }
  }
  const alive = async () => (await Sandbox.list({ metadata: { run: "abort" } })).filter((one) => !["terminated", "failed"].includes(one.status));
  assert.ok(await waitUntil(async () => (await alive()).length === 0), inspect(await alive()));
});

test("pause and resume", async () => {
  const sandbox = await Sandbox.create(TEMPLATE);
  await sandbox.files.write("/tmp/x", "kept");
  assert.equal(await sandbox.pause(), sandbox.id);
  assert.equal(sandbox.status, "paused");
  await failure(sandbox.exec("true"), SandboxNotReady);
  const resumed = await Sandbox.resume(sandbox.id);
  assert.equal(await resumed.files.read("/tmp/x"), "kept");
  await resumed.setTimeout(100);
  assert.ok(Math.abs(resumed.expiresAt - Date.now() - 100_000) < 10_000);
  await resumed.terminate();
  await failure(Sandbox.resume(sandbox.id), SandboxNotReady);
});

test("events, also followed to the end", async () => {
  const sandbox = await Sandbox.create(TEMPLATE);
  const since = new Date();
  const kinds = [];
  const following = (async () => {
    for await (const event of sandbox.events({ follow: true })) kinds.push(event.kind);
  })();
  await sandbox.exec("exit 3");
  await sandbox.files.write("/tmp/a", "x");
  const events = await sandbox.events({ since });
  const [exec] = events.filter((event) => event.kind === "exec");
  assert.deepEqual([exec.command, exec.outcome, exec.exitCode], ["exit 3", "exit", 3]);
  assert.ok(exec.time instanceof Date && exec.time >= since - 1);
  await sandbox.terminate();
  await following;
  assert.ok(kinds.includes("created") && kinds.includes("exec") && kinds.at(-1) === "terminated", String(kinds));
  const controller = new AbortController();
  const endless = shared.sandbox.events({ follow: true, signal: controller.signal });
  setTimeout(() => controller.abort(), 300);
  await failure(async () => {
    for await (const _ of endless);
  }, orkestr.Cancelled);
});

test("following a large log leaves the event loop its turns", async () => {
  const sandbox = await Sandbox.create(TEMPLATE);
  const line = (i) => `{"time":"2026-01-01T00:00:00.000Z","kind":"exec","outcome":"exit","command":"echo ${"x".repeat(60)}","exit_code":0,"duration_ms":${i}}\n`;
  appendFileSync(path.join(home, "state/sandboxes", sandbox.id, "events.jsonl"), Array.from({ length: 90_000 }, (_, i) => line(i)).join(""));
  // The longest time without a turn, from the first look at all of it to looks for what is new.
  async function longestGap() {
    let [gap, last, count] = [0, performance.now(), 0];
    const timer = setInterval(() => {
      gap = Math.max(gap, performance.now() - last);
      last = performance.now();
    }, 5);
    const controller = new AbortController();
    const following = failure(async () => {
      for await (const _ of sandbox.events({ follow: true, signal: controller.signal })) ++count;
    }, orkestr.Cancelled);
    assert.ok(await waitUntil(() => count > 90_000, 30), `${count} events`);
    await new Promise((next) => setTimeout(next, 1000));
    controller.abort();
    await following;
    clearInterval(timer);
    return gap;
  }
  assert.ok((await sandbox.events()).length > 90_000);
  const gaps = [];
  while (gaps.length < 5 && !(Math.min(...gaps) < 100)) gaps.push(await longestGap()); // (a busy machine has gaps of its own)
  assert.ok(Math.min(...gaps) < 100, `the event loop stood still for ${gaps} ms`);
  await sandbox.terminate();
});

test("metrics and limits", async () => {
  const metrics = await shared.sandbox.metrics();
  assert.equal(metrics.sandboxId, shared.sandbox.id);
  assert.ok(metrics.memory.limitBytes === 1024 * 2 ** 20 && metrics.memory.usageBytes > 0 && metrics.asOf instanceof Date);
  assert.equal(metrics.cpu.cores, 1);
  const limits = await Sandbox.limits();
  assert.equal(limits.plan, "local");
  assert.ok(limits.maxConcurrent > 0 && limits.sizes.some((size) => size.size === "small" && size.memoryMb === 1024));
});

test("what a local sandbox does not have", async () => {
  for (const work of [() => shared.sandbox.snapshot({ name: "x" }), () => shared.sandbox.getHost(80), () => shared.sandbox.previewUrl(80), () => Snapshot.list(), () => Sandbox.create(TEMPLATE, { network: "open" })]) {
    assert.equal((await failure(work, NotSupported)).code, "not_supported");
  }
});

test("templates", async () => {
  const known = await Template.list();
  assert.ok(known.some((one) => one.name === TEMPLATE && one.built && one.createdAt instanceof Date));
  const info = await Template.inspect(TEMPLATE);
  assert.ok(info.parts.length > 5 && info.bytes > 1e6 && /^[0-9a-f]{64}$/.test(info.imageSha256));
  const error = await failure(Template.inspect("python-9"), orkestr.TemplateNotFound);
  assert.equal(error.code, "template_not_found");
  await failure(Template.build({ recipe: "{" }), orkestr.InvalidArgument);
  assert.equal((await Template.prepare(TEMPLATE, { size: "small" })).name, TEMPLATE);
  await failure(Sandbox.create("python-9"), orkestr.TemplateNotFound);
});

test("progress comes before the promise is settled", async () => {
  // With all of the cache but its snapshots, and of a size that no other test asks for, so that there is one to be made.
  const [cache, fresh] = [realpathSync(path.join(home, "cache")), path.join(home, "fresh")];
  mkdirSync(path.join(fresh, "cache"), { recursive: true, mode: 0o700 });
  for (const name of readdirSync(cache)) if (name !== "snapshots") symlinkSync(path.join(cache, name), path.join(fresh, "cache", name));
  const { stdout, stderr } = await runScript(
    `import { Template } from "orkestr";
     const seen = [];
     const onProgress = ({ template, step, line }) => seen.push([template, step, line]);
     await Template.prepare(process.argv[1], { memoryMb: 3001, onProgress });
     const before = seen.length;
     await new Promise((done) => setTimeout(done, 200));
     console.log(JSON.stringify({ before, seen }));`, { args: [TEMPLATE], env: { ORKESTR_HOME: fresh } });
  const { before, seen } = JSON.parse(stdout || assert.fail(stderr));
  assert.ok(before > 1 && before === seen.length, inspect({ before, seen }));
  assert.deepEqual([...new Set(seen.map(([template, step]) => `${template} ${step}`))], [`${TEMPLATE} snapshot`]);

  const broken = new Error("no more");
  const late = (_, name, machine, report) => [Promise.resolve().then(() => report({})).then(() => ({ name, createdAt: null })), 0];
  await replaced("prepareTemplate", late, async () => {
    assert.equal(await failure(Template.prepare(TEMPLATE, { onProgress() { throw broken; } }), Error), broken);
  });
});

test("a build without onProgress is one line where stderr is no terminal", async () => {
  const { exitCode, stderr } = await runScript(`
    import { createRequire } from "node:module";
    const { callWithProgress } = createRequire(${JSON.stringify(import.meta.url)})("../../bindings/node/lib/template.js");
    const progress = (step) => ({ template: "t", step, index: 1, count: 2, line: "x", elapsedSeconds: 1 });
    const build = (report) => { for (const step of ["snapshot", "base", "steps"]) report(progress(step)); return [Promise.resolve(), 0]; };
    await callWithProgress(undefined, undefined, build);
    await callWithProgress(undefined, () => {}, build);
  `);
  assert.deepEqual([exitCode, stderr], [0, "orkestr: building template t, once; takes minutes\n"]);
});

test("the pool", async () => {
  const info = await pool.set(TEMPLATE, 1);
  assert.deepEqual([info.template, info.count, info.ready, info.problem], [TEMPLATE, 1, 1, ""]);
  assert.ok(info.members[0].createdAt instanceof Date && info.members[0].ready);
  assert.equal((await pool.list()).length, 1);
  const sandbox = await Sandbox.create(TEMPLATE);
  assert.equal((await sandbox.exec("echo pooled")).stdout, "pooled\n");
  await sandbox.terminate();
  assert.ok((await pool.clear()) >= 0);
  assert.deepEqual(await pool.list(), []);
});

test("clients", async () => {
  const client = new OrkestrClient({ backend: "local" });
  assert.equal(client.backend, "local");
  const same = await Sandbox.get(shared.sandbox.id, { client });
  const pending = failure(same.exec("sleep 30"), orkestr.Cancelled);
  await new Promise((done) => setTimeout(done, 100));
  await client.close();
  await client.close();
  assert.equal((await pending).name, "Cancelled");
  assert.equal(orkestr.getDefaultClient().backend, "local");
  await failure(async () => new OrkestrClient({ backend: "remote", baseUrl: "http://127.0.0.1:1" }), orkestr.AuthError);
});

test("another process finds it by its id, and leaves it running", async () => {
  const { exitCode, stdout, stderr } = await runScript(
    `import { Sandbox } from "orkestr";
     const sandbox = await Sandbox.get(process.argv[1]);
     console.log((await sandbox.exec("echo from there")).stdout);`, { args: [shared.sandbox.id] });
  assert.deepEqual([exitCode, stdout, stderr], [0, "from there\n\n", ""]);
  assert.equal((await shared.sandbox.exec("echo here")).stdout, "here\n");
});

test("the first create after a boot, which verifies the template, does not do that in the event loop", async () => {
  const stamps = path.join(home, "state", "stamps");
  const verified = () => readdirSync(stamps).filter((name) => name.startsWith(TEMPLATE) && name.endsWith(".verified"));
  // Processor time, which other programs do not add to: a loop that stands still for a busy machine is not meant.
  const used = async () => {
    const before = process.cpuUsage();
    const creating = Sandbox.create(TEMPLATE);
    const { user, system } = process.cpuUsage(before);
    await (await creating).terminate();
    return (user + system) / 1000;
  };
  const usual = Math.min(await used(), await used());
  for (const name of verified()) rmSync(path.join(stamps, name));
  const first = await used();
  assert.equal(verified().length, 1);
  assert.ok(first < usual + 50, `the call took ${Math.round(first)} ms of processor time instead of ${Math.round(usual)}`);
});
