// Wrong arguments: an error that names the argument, before anything is sent; never a crash.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { test } from "node:test";
import { failure, orkestr, ROOT, runScript, shareSandbox, TEMPLATE } from "./support.mjs";

const { Files, InvalidArgument, OrkestrClient, OrkestrError, Sandbox, Template, pool, setDefaultClient } = orkestr;
const core = createRequire(import.meta.url)(process.env.ORKESTR_NODE_ADDON);
const sandbox = await shareSandbox();

function detached() {
  const bytes = new Uint8Array(16);
  structuredClone(bytes, { transfer: [bytes.buffer] });
  return bytes;
}

test("wrong values are InvalidArgument and name the argument", async () => {
  const fail = () => { throw new Error("no such luck"); };
  const throwing = { get cwd() { return fail(); } };
  const throwingItem = Object.defineProperty(["x"], 0, { get: fail });
  const throwingPair = Object.defineProperty(["/tmp/x", "x"], 1, { get: fail });
  const throwingKeys = new Proxy({}, { ownKeys: fail });
  const cases = [
    [() => Sandbox.create({ template: 7 }), TypeError, /template is 7; allowed: a string/],
    [() => Sandbox.create(TEMPLATE, { memoryMb: "lots" }), TypeError, /memoryMb is 'lots'; allowed: an integer/],
    [() => Sandbox.create(TEMPLATE, { memoryMb: 1.5 }), RangeError, /memoryMb is 1\.5; allowed: an integer/],
    [() => Sandbox.create(TEMPLATE, { memoryMb: 1 }), RangeError, /memory_mb/],
    [() => Sandbox.create(TEMPLATE, { memoryMb: 1e20 }), RangeError, /memoryMb is 1000.*256 to 65536/],
    [() => Sandbox.create(TEMPLATE, { size: "huge" }), RangeError, /huge/],
    [() => Sandbox.create(TEMPLATE, { memory_mb: 512 }), TypeError, /'memory_mb', which is no option here; allowed: .*memoryMb/],
    [() => Sandbox.create(TEMPLATE, { timeoutSeconds: NaN }), RangeError, /timeoutSeconds is NaN/],
    [() => Sandbox.create(TEMPLATE, { env: { A: 1 } }), TypeError, /env\.A is 1; allowed: a string/],
    [() => Sandbox.create(TEMPLATE, { metadata: ["a"] }), TypeError, /metadata is \[ 'a' \]/],
    [() => Sandbox.create(TEMPLATE, { signal: {} }), TypeError, /signal is \{\}; allowed: an AbortSignal/],
    [() => Sandbox.create(TEMPLATE, { client: {} }), TypeError, /client is \{\}; allowed: a OrkestrClient/],
    [() => Sandbox.create(TEMPLATE, { onProgress: 3 }), TypeError, /onProgress is 3; allowed: a function/],
    [() => Sandbox.create({}), RangeError, /template/],
    [() => Sandbox.withTemp({ template: TEMPLATE }), TypeError, /fn is undefined; allowed: a function/],
    [() => Sandbox.get(), TypeError, /sandboxId is undefined; allowed: a string/],
    [() => Sandbox.list({ limit: 0 }), RangeError, /limit/],
    [() => Sandbox.list({ status: "asleep" }), RangeError, /asleep/],
    [() => sandbox.exec(), TypeError, /command is undefined; allowed: a string/],
    [() => sandbox.exec(["ls"]), TypeError, /command is \[ 'ls' \]; allowed: .*run\(\) takes a list/],
    [() => sandbox.exec("true", "x"), TypeError, /options is 'x'; allowed: an object/],
    [() => sandbox.exec("true", throwing), TypeError, /cwd cannot be read: no such luck/],
    [() => sandbox.exec("true", throwingKeys), TypeError, /options cannot be read: no such luck/],
    [() => sandbox.exec("true", { env: throwingKeys }), TypeError, /env cannot be read: no such luck/],
    [() => sandbox.exec("true", { env: new Proxy({}, { getPrototypeOf: fail }) }), TypeError, /env cannot be read: no such luck/],
    [() => sandbox.run(throwingItem), TypeError, /command cannot be read: no such luck/],
    [() => sandbox.files.read(Object.create(null)), TypeError, /path is .*; allowed: a string/],
    [() => sandbox.files.stat(Object.create(null)), TypeError, /path is .*; allowed: a string/],
    [() => sandbox.files.writeBatch({ get "/tmp/x"() { return fail(); } }), TypeError, /files cannot be read: no such luck/],
    [() => sandbox.files.writeBatch(throwingKeys), TypeError, /files cannot be read: no such luck/],
    [() => sandbox.files.writeBatch([throwingPair]), TypeError, /files cannot be read: no such luck/],
    [() => sandbox.exec("\ud800"), RangeError, /command has a lone surrogate at index 0/],
    [() => sandbox.exec("a\udc00b"), RangeError, /command has a lone surrogate at index 1/],
    [() => sandbox.exec("true", { env: { A: "\udfff" } }), RangeError, /env\.A has a lone surrogate/],
    [() => sandbox.exec("true\0"), RangeError, /NUL/],
    [() => sandbox.exec("true", { timeoutSeconds: 0 }), RangeError, /timeout/],
    [() => sandbox.exec("true", { cwd: "relative" }), RangeError, /cwd/],
    [() => sandbox.run(["true", 1]), TypeError, /command\[1\] is 1; allowed: a string/],
    [() => sandbox.run("cat", { stdin: 5 }), TypeError, /stdin is 5; allowed: a string or bytes/],
    [() => sandbox.run("cat", { stdin: detached() }), TypeError, /stdin is detached/],
    [() => sandbox.run("cat", { stdin: detached().buffer }), TypeError, /stdin is detached/],
    [() => sandbox.run("true", { onStdout: 1 }), TypeError, /onStdout is 1/],
    [() => sandbox.files.write("/tmp/x", detached()), TypeError, /content is detached/],
    [() => sandbox.files.write("/tmp/x", 12), TypeError, /content is 12; allowed: a string or bytes/],
    [() => sandbox.files.write("/tmp/x", "\ud800"), RangeError, /content has a lone surrogate/],
    [() => sandbox.files.write("/tmp/../x", ""), RangeError, /path/],
    [() => sandbox.files.write("/tmp/x", "", { mode: 0o1777 }), RangeError, /mode/],
    [() => sandbox.files.read("x".repeat(5000)), RangeError, /path/],
    [() => sandbox.files.writeBatch(3), TypeError, /files is 3/],
    [() => sandbox.files.writeBatch([["/tmp/a"]]), TypeError, /files\[0\]/],
    [() => sandbox.setTimeout("soon"), TypeError, /timeoutSeconds is 'soon'/],
    [() => sandbox.getHost(1.5), RangeError, /port is 1\.5/],
    [() => sandbox.events({ since: new Date(NaN) }), RangeError, /since is NaN/],
    [() => sandbox.metrics({ since: "now" }), TypeError, /since is 'now'; allowed: a Date/],
    [() => sandbox.execStream("true", { cols: "a" }), TypeError, /cols is 'a'/],
    [() => sandbox.execStream("cat", { tty: true, cols: 5000 }), RangeError, /cols|5000/],
    [() => Template.inspect({}), TypeError, /name is \{\}/],
    [() => Template.build({ recipe: "./mine.json" }), RangeError, /recipe is '\.\/mine\.json'.*Is this a path\?.*pathToFileURL/],
    [() => pool.set("x", -1.5), RangeError, /count is -1\.5/],
    [() => setDefaultClient({}), TypeError, /client is \{\}/],
    [() => new OrkestrClient({ backend: "cloud" }), RangeError, /backend is 'cloud'; allowed: 'local', 'remote'/],
    [() => new OrkestrClient({ apiKey: "k", timeout: 0 }), RangeError, /timeout/],
    [() => new Sandbox(), TypeError, /Sandbox\.create/],
  ];
  for (const [work, builtin, message] of cases) {
    const error = await failure(async () => work(), InvalidArgument).catch((other) => assert.fail(`${work}: ${other.message}`));
    assert.ok(error instanceof builtin, `${work}: ${error.stack}`);
    assert.ok(error instanceof OrkestrError, String(work));
    assert.match(error.message, message, String(work));
    assert.equal(error.code, "invalid_argument");
    assert.equal(error.name, "InvalidArgument");
  }
});

test("a method with another `this` is an error", async () => {
  for (const wrong of [undefined, null, 1, {}, Sandbox.prototype, Object.create(Sandbox.prototype), new Proxy(sandbox, {})]) {
    await failure(() => Sandbox.prototype.exec.call(wrong, "true"), InvalidArgument);
    await failure(() => Sandbox.prototype.terminate.call(wrong), InvalidArgument);
    await failure(() => Files.prototype.read.call(wrong, "/x"), InvalidArgument);
    await failure(() => orkestr.ExecStream.prototype.next.call(wrong), InvalidArgument);
    await failure(() => orkestr.BackgroundCommand.prototype.kill.call(wrong), InvalidArgument);
    await failure(async () => OrkestrClient.prototype.close.call(wrong), InvalidArgument);
    await failure(async () => Object.getOwnPropertyDescriptor(Sandbox.prototype, "id").get.call(wrong), InvalidArgument);
  }
});

test("the native module takes no handle that is not its own", () => {
  const forged = [undefined, null, 1, "x", {}, [], () => {}, new Date(), new Proxy({}, {}), Buffer.alloc(64)];
  const names = Object.keys(core).filter((name) => typeof core[name] === "function");
  assert.ok(names.length > 40);
  const client = core.getDefaultClient(); // a true one, of another type
  for (const name of names) {
    for (const one of [...forged, client]) {
      if (["getDefaultClient", "listPools", "limits", "clearPool", "listSnapshots", "listTemplates", "setDefaultClient", "closeClient", "clientBackend"].includes(name)) continue;
      for (const rest of [[], [one], [one, one], ["x", {}, undefined]]) {
        let result;
        try {
          result = core[name](one, ...rest);
        } catch (error) {
          assert.ok(error instanceof Error || typeof error.code === "string", name);
          continue;
        }
        if (Array.isArray(result)) result[0].catch(() => {}); // (a text is a good id, and nothing of that id is there)
      }
    }
  }
});

test("aborted before, twice, and after the end", async () => {
  const aborted = AbortSignal.abort("enough");
  for (const work of [
    () => Sandbox.create(TEMPLATE, { signal: aborted }), () => sandbox.exec("true", { signal: aborted }),
    () => sandbox.files.read("/etc/hostname", { signal: aborted }), () => sandbox.refresh({ signal: aborted }),
    () => sandbox.execStream("true", { signal: aborted }), () => pool.list({ signal: aborted }), () => Template.list({ signal: aborted }),
    () => sandbox.run("cat", { stdin: ["x"], signal: aborted }),
  ]) {
    const error = await failure(async () => work(), orkestr.Cancelled);
    assert.equal(error.name, "AbortError");
    assert.equal(error.code, "cancelled");
    assert.equal(error.cause, "enough");
  }
  const controller = new AbortController();
  const pending = sandbox.exec("sleep 60", { signal: controller.signal });
  setTimeout(() => {
    controller.abort();
    controller.abort();
    controller.signal.dispatchEvent(new Event("abort"));
  }, 200);
  await failure(pending, orkestr.Cancelled);
  const late = new AbortController();
  assert.equal((await sandbox.exec("echo done", { signal: late.signal })).stdout, "done\n");
  late.abort();
});

test("events() without follow rejects, with follow it throws", async () => {
  const wrong = [{ since: "x" }, { follow: 1 }, { none: 1 }, 7];
  for (const options of wrong) await failure(sandbox.events(options), InvalidArgument);
  await failure(Sandbox.prototype.events.call({}), InvalidArgument);
  assert.throws(() => sandbox.events({ follow: true, since: "x" }), InvalidArgument);
});

test("an instance of nothing is no error of ours", () => {
  assert.ok(!(new TypeError("x") instanceof OrkestrError));
  assert.ok(!(new RangeError("x") instanceof InvalidArgument));
  assert.ok(!(null instanceof OrkestrError));
  assert.ok(!(new orkestr.NotPermitted("x") instanceof InvalidArgument));
});

test("each code has the class, the status and the hint of the table of all languages", () => {
  const { fromNative } = createRequire(import.meta.url)(path.join(ROOT, "bindings/node/lib/errors.js"));
  const table = readFileSync(path.join(ROOT, "src/base/errors.def"), "utf8");
  const rows = [...table.matchAll(/^ORKESTR_ERROR\((\w+), (\w+), (\d+), "(?:.*?)", "(.*)"\)$/gm)];
  assert.ok(rows.length > 20 && rows.length === table.match(/^ORKESTR_ERROR/gm).length);
  const seen = new Set();
  for (const [, code, type, status, hint] of rows) {
    const error = fromNative({ code, message: "what happened", statusCode: 0 });
    assert.deepEqual([error.name, error.code, error.message, error.hint], [type, code, "what happened", hint]);
    if (seen.has(type)) continue; // a class answers with its first code
    seen.add(type);
    const own = new orkestr[type]("x");
    assert.deepEqual([own.code, own.statusCode], [code, Number(status) || null], type);
  }
  const unknown = fromNative({ code: "from_the_future", message: "x" });
  assert.deepEqual([unknown.name, unknown.code], ["OrkestrError", "from_the_future"]);
});

test("a hint is there once, and empty where the native module cannot be loaded", async () => {
  const error = new orkestr.RateLimitError("x");
  assert.deepEqual([Object.hasOwn(error, "hint"), error.hint.length > 0, new OrkestrError("x", { code: "none" }).hint], [false, true, ""]);
  const { stdout, stderr } = await runScript(`await import("orkestr").catch((error) => console.log(JSON.stringify([error.code, error.hint])));`, {
    env: { ORKESTR_NODE_ADDON: "/none.node" },
  });
  assert.equal(stdout, '["internal",""]\n', stderr);
});
