"use strict";
// Commands: what they return, and their output as it comes.
const { setTimeout: sleep } = require("node:timers/promises");
const check = require("./arguments.js");
const { Cancelled, ExecTimeout, SandboxNotReady } = require("./errors.js");
const { asyncDispose, hold, partOf } = require("./handles.js");
const { ask, core } = require("./native.js");
const { Breath, Puller } = require("./puller.js");

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

// The output of a command and that of a background command: what Puller's reader is for them.
class ChunkReader {
  #decoders = { stdout: new StreamDecoder(), stderr: new StreamDecoder() };
  over = false;

  take([isStdout, data, exitCode, durationMs]) {
    const stream = isStdout ? "stdout" : "stderr";
    if (exitCode !== null) {
      this.over = true;
      return [...this.rest(), new ExecChunk(stream, "", NOTHING, exitCode, durationMs)];
    }
    const [text, exact] = this.#decoders[stream].decode(data);
    return text === "" ? [] : [new ExecChunk(stream, text, exact)];
  }
  rest() {
    return Object.entries(this.#decoders).flatMap(([stream, decoder]) => {
      const [text, exact] = decoder.flush();
      return text === "" ? [] : [new ExecChunk(stream, text, exact)];
    });
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
    const puller = new Puller(opening, OUTPUT, new ChunkReader());
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

module.exports = { ChunkReader, ExecChunk, ExecResult, ExecStream, sendTo, unfinished };
