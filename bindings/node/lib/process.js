"use strict";
// Commands: what they return, and their output as it comes.
const { performance } = require("node:perf_hooks");
const { setImmediate: turn, setTimeout: sleep } = require("node:timers/promises");
const check = require("./arguments.js");
const { Cancelled, ExecTimeout, SandboxNotReady, fromNative } = require("./errors.js");
const { asyncDispose, hold, partOf } = require("./handles.js");
const { ask, core } = require("./native.js");

const hidden = (object, values) => {
  for (const [name, value] of Object.entries(values)) Object.defineProperty(object, name, { value, enumerable: false });
};

class ExecResult {
  constructor(record) {
    const { stdoutBytes, stderrBytes, ...rest } = record;
    this.stdout = stdoutBytes.toString("utf8");
    this.stderr = stderrBytes.toString("utf8");
    Object.assign(this, rest);
    hidden(this, { stdoutBytes, stderrBytes });
    Object.freeze(this);
  }
}

class ExecChunk {
  constructor(stream, data, dataBytes, exitCode = null, durationMs = null) {
    this.stream = stream;
    this.data = data;
    this.exitCode = exitCode;
    this.durationMs = durationMs;
    hidden(this, { dataBytes });
    Object.freeze(this);
  }
  get isFinal() {
    return this.exitCode !== null;
  }
}

const NOTHING = Buffer.alloc(0);
const LONGEST_MS = 5;

// While there is always more to do, every `await` is a microtask: timers, sockets and signals would never have their turn.
class Breath {
  #last = performance.now();
  taken() {
    this.#last = performance.now();
  }
  get due() {
    return performance.now() - this.#last > LONGEST_MS;
  }
  async take() {
    await turn();
    this.taken();
  }
}

// How many bytes at the end are the beginning of a character whose rest is still to come.
function unfinished(data) {
  for (let back = 1; back <= Math.min(3, data.length); ++back) {
    const byte = data[data.length - back];
    if (byte >= 0xc2 && byte <= 0xf4) {
      const whole = byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
      return back < whole ? back : 0;
    }
    if (byte < 0x80 || byte > 0xbf) return 0;
  }
  return 0;
}

// One stream's bytes as text, wherever they were cut. Each result is [text, the bytes it stands for].
class StreamDecoder {
  #held = NOTHING;
  decode(data) {
    const all = this.#held.length === 0 ? data : Buffer.concat([this.#held, data]);
    const end = all.length - unfinished(all);
    this.#held = all.subarray(end);
    return [all.toString("utf8", 0, end), all.subarray(0, end)];
  }
  // The bytes of a character that never became whole, as U+FFFD.
  flush() {
    const data = this.#held;
    this.#held = NOTHING;
    return [data.toString("utf8"), data];
  }
}

// The part that the output of a command and that of a background command have in common: pulled, decoded, one consumer.
// `opening` is the native stream, or a promise of it where its sandbox has to be found first.
class Puller {
  #native;
  #opening;
  #calls;
  #decoders = { stdout: new StreamDecoder(), stderr: new StreamDecoder() };
  #ready = []; // chunks, and last of all maybe an error
  #waiting = 0; // id of the wait for more
  #turn = Promise.resolve();
  #breath = new Breath();
  closed = false;

  constructor(opening, calls) {
    this.#calls = calls;
    if (!(opening instanceof Promise)) {
      this.#native = opening;
      return;
    }
    this.#opening = opening.then((native) => {
      this.#native = native;
      if (this.closed) calls.close(native);
      return native;
    });
    this.#opening.catch(() => {}); // next() tells
  }
  // undefined while it is being opened.
  get native() {
    return this.#native;
  }
  opened() {
    return this.#native ?? this.#opening;
  }

  // Calls of next() are answered one after the other.
  next() {
    const mine = this.#turn.then(() => this.#next());
    this.#turn = mine.catch(() => {});
    return mine;
  }
  async #next() {
    if (this.#native === undefined && !this.closed) await this.#opening;
    while (this.#ready.length === 0 && !this.closed) await this.#pull();
    if (this.#ready.length === 0) return { done: true, value: undefined };
    const item = this.#ready.shift();
    if (item instanceof Error) throw item;
    return { done: false, value: item };
  }

  async #pull() {
    if (this.#breath.due) {
      await this.#breath.take();
      if (this.closed) return;
    }
    let chunk;
    try {
      chunk = this.#calls.next(this.#native);
      if (chunk === undefined) {
        const [promise, id] = this.#calls.ready(this.#native);
        this.#waiting = id;
        await promise;
        this.#waiting = 0;
        this.#breath.taken();
        return;
      }
    } catch (thrown) {
      this.#end(fromNative(thrown));
      return;
    }
    if (chunk === null) {
      this.close();
      return;
    }
    const [isStdout, data, exitCode, durationMs] = chunk;
    const stream = isStdout ? "stdout" : "stderr";
    if (exitCode !== null) {
      this.#end(new ExecChunk(stream, "", NOTHING, exitCode, durationMs));
      return;
    }
    const [text, exact] = this.#decoders[stream].decode(data);
    if (text !== "") this.#ready.push(new ExecChunk(stream, text, exact));
  }

  #end(last) {
    for (const [stream, decoder] of Object.entries(this.#decoders)) {
      const [text, exact] = decoder.flush();
      if (text !== "") this.#ready.push(new ExecChunk(stream, text, exact));
    }
    this.#ready.push(last);
    this.close();
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    if (this.#waiting !== 0) core.cancel(this.#waiting);
    if (this.#native !== undefined) this.#calls.close(this.#native);
  }
}

const OUTPUT = { next: core.streamNext, ready: core.streamReady, close: core.streamClose };
const WRITE_CHECKS = { timeoutSeconds: check.milliseconds, signal: check.signal };

const PIECE = 256 * 1024;
const LONGEST_PAUSE_MS = 20;
const MOST_MS = 2 ** 31 - 1; // of a timer

// Gives `bytes` to the command, after what was to be written before. Nothing of it is written any more when this has thrown.
async function send(part, bytes, timeoutMs, signal) {
  if (signal?.aborted) throw Cancelled.bySignal(signal);
  const stop = new AbortController();
  const halt = () => stop.abort();
  const stopped = new Promise((_, reject) => stop.signal.addEventListener("abort", reject, { once: true }));
  stopped.catch(() => {}); // nobody may be waiting for it
  signal?.addEventListener("abort", halt, { once: true });
  const timer = timeoutMs === undefined ? undefined : setTimeout(halt, Math.max(0, Math.min(timeoutMs, MOST_MS)));
  const before = part.writing;
  let taken = 0;
  const mine = (async () => {
    await Promise.race([before, stopped]);
    await Promise.race([part.puller.opened(), stopped]);
    const breath = new Breath();
    let pause = 1;
    while (taken < bytes.length) {
      if (stop.signal.aborted) throw stop.signal.reason;
      const some = ask(() => core.streamWrite(part.puller.native, bytes.subarray(taken, taken + PIECE)));
      taken += some;
      if (some > 0) {
        pause = 1;
        if (breath.due) await breath.take();
      } else {
        await sleep(pause, undefined, { signal: stop.signal });
        pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
        breath.taken();
      }
    }
  })();
  part.writing = Promise.allSettled([before, mine]); // who gives up does not let the next one overtake
  try {
    await mine;
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    if (signal?.aborted) throw Cancelled.bySignal(signal);
    throw new ExecTimeout(
      `write: within ${timeoutMs} ms the command took ${taken} of ${bytes.length} bytes; it still runs. Read its output beside writing, ` +
        "wait longer, or cancel it",
    );
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", halt);
  }
}

// The output of a running command: an async iterator of ExecChunk, and its input.
class ExecStream {
  constructor(opening, signal) {
    const puller = new Puller(opening, OUTPUT);
    const abort = signal && (() => this.cancel());
    hold(this, { puller, signal, writing: Promise.resolve(), stop: () => signal?.removeEventListener("abort", abort) });
    signal?.addEventListener("abort", abort, { once: true });
  }

  [Symbol.asyncIterator]() {
    partOf(ExecStream, this);
    return this;
  }
  async next() {
    const part = partOf(ExecStream, this);
    try {
      const item = await part.puller.next();
      if (part.puller.closed) part.stop();
      return item;
    } catch (error) {
      part.stop();
      throw part.signal?.aborted && error?.code === "cancelled" ? Cancelled.bySignal(part.signal) : error;
    }
  }
  // Leaving the loop detaches.
  async return(value) {
    this.close();
    return { done: true, value };
  }

  async write(data, options) {
    const part = partOf(ExecStream, this);
    const { timeoutSeconds, signal } = check.options(options, WRITE_CHECKS);
    await send(part, check.content("data", data), timeoutSeconds, signal);
  }
  // After all that was written.
  closeInput() {
    const part = partOf(ExecStream, this);
    part.writing = part.writing.then(async () => core.streamCloseInput(await part.puller.opened()));
    const mine = part.writing;
    part.writing = mine.catch(() => {});
    return mine;
  }
  resize(cols, rows) {
    const { puller } = partOf(ExecStream, this);
    const size = [check.integer("cols", cols), check.integer("rows", rows)];
    if (puller.native === undefined) throw new SandboxNotReady("resize: the stream is being opened; read from it first");
    ask(() => core.streamResize(puller.native, ...size));
  }
  get pid() {
    const { puller } = partOf(ExecStream, this);
    return puller.native === undefined ? 0 : ask(() => core.streamPid(puller.native));
  }
  cancel() {
    const { puller } = partOf(ExecStream, this);
    if (puller.native !== undefined) ask(() => core.streamCancel(puller.native));
    else puller.opened().then(core.streamCancel, () => {});
  }
  close() {
    const { puller, stop } = partOf(ExecStream, this);
    stop();
    puller.close();
  }
  async [asyncDispose]() {
    this.close();
  }
}

// For who has checked the bytes already.
const sendTo = (stream, bytes) => send(partOf(ExecStream, stream), bytes);

module.exports = { Breath, ExecChunk, ExecResult, ExecStream, Puller, StreamDecoder, sendTo, unfinished };
