"use strict";
// The files of a sandbox.
const { Readable, Writable } = require("node:stream");
const check = require("./arguments.js");
const { Cancelled, InvalidArgumentRange } = require("./errors.js");
const { make, partOf, toDate, toDateOrNull } = require("./handles.js");
const { ask, call, core } = require("./native.js");
const { unfinished } = require("./process.js");
const { Breath } = require("./puller.js");

const PIECE = 2 ** 20;
const SIGNAL = { signal: check.signal };
const MODE = { mode: check.integer, signal: check.signal };
const DEFAULT_MODE = 0o644;

// Where the first byte is that is no UTF-8, or of a character without its end.
function firstDamage(bytes) {
  const isGood = (end) => {
    try {
      new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, end), { stream: true });
      return true;
    } catch {
      return false;
    }
  };
  let [good, bad] = [0, bytes.length + 1];
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    if (isGood(middle)) good = middle;
    else bad = middle;
  }
  return good - unfinished(bytes.subarray(0, good));
}

function decode(path, bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    const at = firstDamage(bytes);
    const byte = `0x${bytes[at].toString(16).padStart(2, "0")}`;
    throw new InvalidArgumentRange(`${path} is not UTF-8 text: byte ${byte} at offset ${at}; use readBytes()`, { cause: error });
  }
}

// Between two pieces nothing else listens to the signal. What is returned stops that.
function destroyWith(stream, signal) {
  const abort = () => stream.destroy(Cancelled.bySignal(signal));
  signal?.addEventListener("abort", abort, { once: true });
  return () => signal?.removeEventListener("abort", abort);
}

// A native reader or writer, which is only ever looked at: nothing waits in it.
class Transfer {
  #native;
  #ready;
  #drop;
  #waiting = 0; // id of the wait for more
  #breath = new Breath();
  constructor(native, ready, drop) {
    this.#native = native;
    this.#ready = ready;
    this.#drop = drop;
  }
  // What step(native) answers as soon as that is not undefined; undefined once it was dropped.
  async until(step) {
    if (this.#breath.due) await this.#breath.take();
    while (this.#native !== undefined) {
      const value = ask(() => step(this.#native));
      if (value !== undefined) return value;
      const [promise, id] = ask(() => this.#ready(this.#native));
      this.#waiting = id;
      await promise;
      this.#waiting = 0;
      this.#breath.taken();
    }
    return undefined;
  }
  drop(cancel) {
    if (this.#waiting !== 0) core.cancel(this.#waiting);
    this.#drop(this.#native, cancel);
    this.#native = undefined;
  }
}

// A piece is asked for when somebody reads; bounded memory.
class FileReader extends Readable {
  #transfer;
  #open;
  #stop;
  constructor(open, signal) {
    super({ highWaterMark: PIECE });
    this.#open = open;
    this.#stop = destroyWith(this, signal);
  }
  _construct(done) {
    this.#open().then((native) => {
      this.#transfer = new Transfer(native, core.readerReady, core.dropReader);
      done();
    }, done);
  }
  _read(size) {
    this.#transfer.until((native) => core.readPiece(native, Math.max(size, PIECE))).then(
      (bytes) => bytes !== undefined && this.push(bytes.length === 0 ? null : bytes),
      (error) => this.destroy(error),
    );
  }
  _destroy(error, done) {
    this.#stop();
    this.#transfer?.drop(!this.readableEnded);
    done(error);
  }
}

// The file appears under its name, whole, at "finish"; destroyed before, nothing of it appears.
class FileWriter extends Writable {
  #transfer;
  #open;
  #stop;
  constructor(open, signal) {
    super({ highWaterMark: PIECE, decodeStrings: false });
    this.#open = open;
    this.#stop = destroyWith(this, signal);
  }
  _construct(done) {
    this.#open().then((native) => {
      this.#transfer = new Transfer(native, core.writerReady, core.dropWriter);
      done();
    }, done);
  }
  _write(chunk, encoding, done) {
    let bytes;
    try {
      bytes = typeof chunk === "string" && encoding !== "utf8" && encoding !== "utf-8" ? Buffer.from(chunk, encoding) : check.content("chunk", chunk);
    } catch (error) {
      done(error);
      return;
    }
    this.#send(bytes).then(() => done(), done);
  }
  async #send(bytes) {
    for (let rest = bytes, taken; rest.length > 0; rest = rest.subarray(taken)) {
      taken = await this.#transfer.until((native) => core.writePiece(native, rest.subarray(0, PIECE)) || undefined);
      if (taken === undefined) return; // destroyed
    }
  }
  _final(done) {
    this.#transfer.until((native) => core.finishFile(native) || undefined).then(() => done(), done);
  }
  _destroy(error, done) {
    this.#stop();
    this.#transfer?.drop(!this.writableFinished);
    done(error);
  }
}

// `handle`: a function that answers the native sandbox, for one that came from list() only later.
class Files {
  constructor() {
    throw check.wrongType("new Files()", undefined, "sandbox.files");
  }
  static _of(handle) {
    return make(Files, handle);
  }

  async read(path, options) {
    const where = check.path("path", path);
    return decode(String(where), await Files.prototype.readBytes.call(this, where, options));
  }

  async readBytes(path, options) {
    const handle = partOf(Files, this);
    const { signal } = check.options(options, SIGNAL);
    const where = check.path("path", path);
    const native = await handle();
    return call(signal, () => core.readFile(native, where));
  }

  async write(path, content, options) {
    await write(this, path, check.content, content, options);
  }

  async writeBytes(path, content, options) {
    await write(this, path, check.bytes, content, options);
  }

  async list(path, options) {
    const handle = partOf(Files, this);
    const { signal } = check.options(options, SIGNAL);
    const where = check.path("path", path);
    const native = await handle();
    const records = await call(signal, () => core.listFiles(native, where));
    return records.map(({ nameBytes, ...entry }) => {
      const out = { ...entry, modifiedAt: toDate(entry.modifiedAt) };
      Object.defineProperty(out, "nameBytes", { value: nameBytes, enumerable: false });
      return out;
    });
  }

  async delete(path, options) {
    const handle = partOf(Files, this);
    const { signal } = check.options(options, SIGNAL);
    const where = check.path("path", path);
    const native = await handle();
    await call(signal, () => core.deleteFile(native, where));
  }

  async mkdir(path, options) {
    const handle = partOf(Files, this);
    const { parents = true, signal } = check.options(options, { parents: check.flag, signal: check.signal });
    const where = check.path("path", path);
    const native = await handle();
    await call(signal, () => core.mkdir(native, where, parents));
  }

  async move(source, destination, options) {
    const handle = partOf(Files, this);
    const { signal } = check.options(options, SIGNAL);
    const [from, to] = [check.path("source", source), check.path("destination", destination)];
    const native = await handle();
    await call(signal, () => core.moveFile(native, from, to));
  }

  async stat(path, options) {
    const handle = partOf(Files, this);
    const { signal } = check.options(options, SIGNAL);
    const where = check.path("path", path);
    const native = await handle();
    const record = await call(signal, () => core.statFile(native, where));
    return { path: String(where), ...record, modifiedAt: toDateOrNull(record.modifiedAt) };
  }

  async exists(path, options) {
    return (await this.stat(path, options)).exists;
  }

  async writeBatch(files, options) {
    const handle = partOf(Files, this);
    const { mode = DEFAULT_MODE, signal } = check.options(options, MODE);
    const pairs = check.reading("files", () => toPairs(files));
    const native = await handle();
    return call(signal, () => core.writeBatch(native, pairs, mode));
  }

  async presignDownload(path, options) {
    return presign(this, false, path, options);
  }
  async presignUpload(path, options) {
    return presign(this, true, path, options);
  }

  readStream(path, options) {
    const handle = partOf(Files, this);
    const { signal } = check.options(options, SIGNAL);
    const where = check.path("path", path);
    return new FileReader(async () => {
      const native = await handle();
      if (signal?.aborted) throw Cancelled.bySignal(signal);
      return ask(() => core.openReader(native, where));
    }, signal);
  }

  writeStream(path, options) {
    const handle = partOf(Files, this);
    const { mode = DEFAULT_MODE, signal } = check.options(options, MODE);
    const where = check.path("path", path);
    return new FileWriter(async () => {
      const native = await handle();
      if (signal?.aborted) throw Cancelled.bySignal(signal);
      return ask(() => core.openWriter(native, where, mode));
    }, signal);
  }
}

function toPairs(files) {
  if (typeof files !== "object" || files === null) throw check.wrongType("files", files, "an object, a Map or an array of pairs of path and content");
  const pairs = Array.isArray(files) || files instanceof Map ? files : Object.entries(files);
  return Array.from(pairs, (pair, index) => {
    if (!Array.isArray(pair) || pair.length !== 2) throw check.wrongType(`files[${index}]`, pair, "a pair of path and content");
    return [check.path(`files[${index}]: path`, pair[0]), check.content(`files[${index}]: content`, pair[1])];
  });
}

async function write(files, path, toBytes, content, options) {
  const handle = partOf(Files, files);
  const { mode = DEFAULT_MODE, signal } = check.options(options, MODE);
  const [where, bytes] = [check.path("path", path), toBytes("content", content)];
  const native = await handle();
  await call(signal, () => core.writeFile(native, where, bytes, mode));
}

async function presign(files, upload, path, options) {
  const handle = partOf(Files, files);
  const { expiresIn = 600, signal } = check.options(options, { expiresIn: check.seconds, signal: check.signal });
  const where = check.path("path", path);
  const native = await handle();
  const record = await call(signal, () => core.presign(native, where, upload, expiresIn));
  return { ...record, expiresAt: toDate(record.expiresAt) };
}

module.exports = { FileReader, FileWriter, Files };
