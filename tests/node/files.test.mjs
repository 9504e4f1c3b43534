// The files of a sandbox.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { test } from "node:test";
import { failure, orkestr, shareSandbox, stalledSandbox } from "./support.mjs";

const sandbox = await shareSandbox();
const { files } = sandbox;
const { Sandbox, Template } = orkestr;

test("write and read: text and bytes", async () => {
  await files.write("/workspace/a/b.txt", "grüße\n");
  assert.equal(await files.read("/workspace/a/b.txt"), "grüße\n");
  const bytes = randomBytes(3 * 2 ** 20);
  await files.writeBytes("/workspace/a/blob", bytes, { mode: 0o600 });
  assert.deepEqual(await files.readBytes("/workspace/a/blob"), bytes);
  const error = await failure(files.read("/workspace/a/blob"), orkestr.InvalidArgument);
  assert.match(error.message, /is not UTF-8 text: byte 0x[0-9a-f]{2} at offset \d+; use readBytes/);
  await files.writeBytes("/workspace/cut", Buffer.from("ok\xe2\x82", "latin1"));
  assert.match((await failure(files.read("/workspace/cut"), orkestr.InvalidArgument)).message, /byte 0xe2 at offset 2/);
  await files.write("/workspace/empty", "");
  assert.equal((await files.readBytes("/workspace/empty")).length, 0);
  await files.write("/workspace/bom", "\ufeffx");
  assert.equal(await files.read("/workspace/bom"), "\ufeffx");
});

test("list, stat, exists, mkdir, move, delete", async () => {
  await files.mkdir("/workspace/dir/sub");
  await files.write("/workspace/dir/x", "123", { mode: 0o640 });
  const entries = await files.list("/workspace/dir");
  assert.deepEqual(entries.map(({ name, isDir, size, mode }) => [name, isDir, size, mode]).map((one) => one.slice(0, 2)), [["sub", true], ["x", false]]);
  assert.deepEqual([entries[1].size, entries[1].mode], [3, 0o640]);
  assert.ok(Math.abs(entries[1].modifiedAt - Date.now()) < 120_000);
  assert.deepEqual(await files.stat("/workspace/none"), { path: "/workspace/none", exists: false, isDir: false, size: 0, mode: null, modifiedAt: null });
  assert.equal(await files.exists("/workspace/dir"), true);
  await files.move("/workspace/dir/x", "/workspace/dir/y");
  await files.delete("/workspace/dir/y");
  assert.equal(await files.exists("/workspace/dir/y"), false);
});

test("names that are not UTF-8 go there and back", async () => {
  await sandbox.exec("mkdir -p odd && printf x > $'odd/\\xff\\xfe'");
  const [entry] = await files.list("/workspace/odd");
  assert.equal(entry.name, "\ufffd\ufffd");
  assert.deepEqual(entry.nameBytes, Buffer.from([0xff, 0xfe]));
  assert.equal(await files.read(Buffer.concat([Buffer.from("/workspace/odd/"), entry.nameBytes])), "x");
});

test("each error has its class", async () => {
  const cases = [
    [() => files.read("/workspace/none"), orkestr.FileNotFound, "file_not_found"],
    [() => files.read("/workspace"), orkestr.IsADirectory, "is_a_directory"],
    [() => files.list("/etc/hostname"), orkestr.NotADirectory, "not_a_directory"],
    [() => files.write("/etc/x", ""), orkestr.NotPermitted, "not_permitted"],
    [() => files.delete("/workspace"), orkestr.OrkestrError, undefined],
    [() => files.mkdir("/tmp", { parents: false }), orkestr.OrkestrError, undefined],
    [() => files.presignDownload("/tmp/x"), orkestr.NotSupported, "not_supported"],
  ];
  for (const [work, type, code] of cases) {
    const error = await failure(work, type);
    if (code !== undefined) assert.equal(error.code, code);
    assert.equal(error.name, error.constructor.name);
  }
  assert.ok((await failure(files.read("/none"), orkestr.FileNotFound)) instanceof orkestr.SandboxNotFound);
});

test("a batch", async () => {
  const results = await files.writeBatch({ "/workspace/1": "one", "/workspace/2": Buffer.from("two") });
  assert.deepEqual(results.map((one) => [one.path, one.bytesWritten, one.error]), [["/workspace/1", 3, null], ["/workspace/2", 3, null]]);
  await files.mkdir("/workspace/isdir");
  const mixed = await files.writeBatch([["/workspace/isdir", "x"], ["/workspace/3", "x"]]);
  assert.deepEqual([mixed[0].error, mixed[0].bytesWritten, mixed[1].error], ["is_a_directory", null, null]);
});

test("streams: piece by piece, with pipeline, broken off", async () => {
  const blob = randomBytes(5 * 2 ** 20);
  await pipeline(Readable.from([blob.subarray(0, 1000), blob.subarray(1000)]), files.writeStream("/workspace/big"));
  const pieces = [];
  for await (const piece of files.readStream("/workspace/big")) pieces.push(piece);
  assert.ok(pieces.length > 1);
  assert.deepEqual(Buffer.concat(pieces), blob);
  for await (const _ of files.readStream("/workspace/big")) break;
  const writer = files.writeStream("/workspace/big");
  writer.write("half");
  await new Promise((done) => setTimeout(done, 100));
  writer.destroy();
  await new Promise((done) => writer.on("close", done));
  assert.deepEqual(await files.readBytes("/workspace/big"), blob);
  const error = await failure(async () => {
    for await (const _ of files.readStream("/workspace/none"));
  }, orkestr.FileNotFound);
  assert.equal(error.code, "file_not_found");
  await failure(pipeline(Readable.from(["x"]), files.writeStream("/etc/x")), orkestr.NotPermitted);
  const text = files.writeStream("/workspace/text");
  text.write("ä", "latin1");
  text.end("ö");
  await new Promise((done) => text.on("finish", done));
  assert.deepEqual(await files.readBytes("/workspace/text"), Buffer.from([0xe4, 0xc3, 0xb6]));
});

test("an aborted signal ends a file's stream, also between two pieces", async () => {
  const closed = (stream) => new Promise((resolve) => {
    let failed;
    stream.on("error", (error) => (failed = error)).on("close", () => resolve(failed));
  });
  await sandbox.exec("head -c 8M /dev/zero > /workspace/zeros");
  const controllers = [new AbortController(), new AbortController()];
  const reader = files.readStream("/workspace/zeros", { signal: controllers[0].signal });
  const writer = files.writeStream("/workspace/unfinished", { signal: controllers[1].signal });
  await new Promise((done) => reader.once("readable", done));
  await new Promise((done) => writer.write("x", done));
  const ends = [closed(reader), closed(writer)];
  controllers.forEach((one) => one.abort("enough"));
  for (const error of await Promise.all(ends)) assert.deepEqual([error.name, error.code, error.cause], ["AbortError", "cancelled", "enough"]);
  assert.equal(await files.exists("/workspace/unfinished"), false);
  const controller = new AbortController();
  assert.equal((await files.readStream("/workspace/zeros", { signal: controller.signal }).toArray()).reduce((sum, one) => sum + one.length, 0), 8 * 2 ** 20);
  controller.abort(); // after the end: nothing
});

test("files of a guest that stands still hold nothing else up", async () => {
  const { stalled, goOn } = await stalledSandbox();
  const streams = Array.from({ length: 80 }, (_, i) => (i % 2 === 0 ? stalled.files.readStream("/etc/passwd") : stalled.files.writeStream(`/tmp/${i}`)));
  try {
    const ended = streams.map((stream) => new Promise((done) => stream.on("error", () => {}).on("close", done)));
    streams.forEach((stream, i) => (i % 2 === 0 ? stream.resume() : stream.end(Buffer.alloc(8 * 2 ** 20))));
    await new Promise((next) => setTimeout(next, 300));
    const start = performance.now();
    await Promise.all([Template.list(), orkestr.pool.list(), files.readStream("/etc/passwd").toArray()]);
    assert.ok(performance.now() - start < 1000, `${performance.now() - start} ms`);
    streams.slice(40).forEach((stream) => stream.destroy());
    await Promise.all(ended.slice(40));
    assert.ok(performance.now() - start < 2000, "a transfer that stalls can be given up");
    goOn();
    await Promise.all(ended.slice(0, 40));
    assert.equal((await stalled.files.stat("/tmp/1")).size, 8 * 2 ** 20);
    assert.equal(await stalled.files.exists("/tmp/41"), false);
  } finally {
    goOn();
    streams.forEach((stream) => stream.destroy());
    await stalled.terminate();
  }
});

test("bytes are those of the moment of the call", async () => {
  const [later] = await Sandbox.list({ metadata: { suite: "node" } }); // its first call has more to wait for
  const calls = {
    write: (path, bytes) => files.write(path, bytes),
    writeBytes: (path, bytes) => later.files.writeBytes(path, bytes),
    writeBatch: (path, bytes) => files.writeBatch([[path, bytes]]),
    run: (path, bytes) => sandbox.run(["tee", path], { stdin: bytes }),
    execStream: async (path, bytes) => {
      for await (const _ of sandbox.execStream(["tee", path], { stdin: bytes }));
    },
    "ExecStream.write": async (path, bytes) => {
      const stream = sandbox.execStream(["tee", path], { stdin: true });
      const writing = stream.write(bytes).then(() => stream.closeInput());
      for await (const _ of stream);
      await writing;
    },
  };
  const misuses = { fill: (bytes) => bytes.fill(0), transfer: (bytes) => structuredClone(bytes, { transfer: [bytes.buffer] }) };
  for (const [call, begin] of Object.entries(calls)) {
    for (const [misuse, spoil] of Object.entries(misuses)) {
      const bytes = new Uint8Array(1000).fill(7);
      const done = begin("/workspace/moment", bytes);
      spoil(bytes);
      await done;
      assert.deepEqual(await files.readBytes("/workspace/moment"), Buffer.alloc(1000, 7), `${call}, ${misuse}`);
    }
  }
});

test("100 reads at once", async () => {
  await files.write("/workspace/small", "s");
  assert.equal((await Promise.all(Array.from({ length: 100 }, () => files.read("/workspace/small")))).join(""), "s".repeat(100));
});
