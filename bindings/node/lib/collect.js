"use strict";
// A stream driven to its end: what Sandbox.run does where the output is shown, or the input made, as it goes.
const check = require("./arguments.js");
const { Cancelled, ExecKilled, ExecTimeout } = require("./errors.js");
const { ExecResult, sendTo } = require("./process.js");

const DEFAULT_CAP = 64 * 2 ** 20;

// The first and the last half of `cap` bytes, as the native library keeps them.
class KeptOutput {
  #head = [];
  #headSize = 0;
  #tail = [];
  #tailSize = 0;
  #half;
  #tailCap;
  total = 0;

  constructor(cap) {
    this.#half = Math.floor(cap / 2);
    this.#tailCap = cap - this.#half;
  }
  append(data) {
    this.total += data.length;
    const room = data.subarray(0, this.#half - this.#headSize);
    if (room.length > 0) {
      this.#head.push(room);
      this.#headSize += room.length;
    }
    const rest = data.subarray(room.length);
    if (rest.length > 0) {
      this.#tail.push(rest);
      this.#tailSize += rest.length;
    }
    while (this.#tail.length > 1 && this.#tailSize - this.#tail[0].length >= this.#tailCap) {
      this.#tailSize -= this.#tail.shift().length;
    }
  }
  bytes() {
    const tail = Buffer.concat(this.#tail);
    return Buffer.concat([...this.#head, tail.subarray(Math.max(0, tail.length - this.#tailCap))]);
  }
}

// Writes the pieces; whatever they throw ends the command.
async function feed(stream, pieces, state) {
  try {
    state.iterator = Symbol.asyncIterator in pieces ? pieces[Symbol.asyncIterator]() : pieces[Symbol.iterator]();
    while (!state.stopped) {
      const { done, value } = await state.iterator.next();
      if (state.stopped) return;
      if (done) {
        state.iterator = undefined;
        break;
      }
      await sendTo(stream, check.content("a piece of stdin", await value));
    }
    await stream.closeInput();
  } catch (error) {
    if (state.stopped) return;
    state.error = error;
    state.failed = true;
    stream.cancel();
  }
}

// Lets go of a source that is not at its end: the command ended first. An iterator that is asked for a piece hears of it only
// afterwards, a stream at once.
async function leave(pieces, { iterator }) {
  if (iterator === undefined) return;
  try {
    pieces.destroy?.();
    await iterator.return?.();
  } catch {
    // The command's own end is what counts.
  }
}

async function collect(stream, pieces, tty, callbacks, maxOutputBytes = DEFAULT_CAP) {
  const kept = { stdout: new KeptOutput(maxOutputBytes), stderr: new KeptOutput(maxOutputBytes) };
  const feeding = { stopped: false, failed: false, error: undefined, iterator: undefined };
  if (pieces !== undefined) void feed(stream, pieces, feeding);
  else if (tty) void stream.closeInput();
  let last;
  try {
    // Not `for await`: what a callback throws must cancel the stream, not close it first.
    while (!last?.isFinal) {
      last = (await stream.next()).value;
      if (last === undefined) throw new Cancelled("the stream was closed before the command had ended");
      if (last.isFinal) break;
      kept[last.stream].append(last.dataBytes);
      await callbacks[last.stream]?.(last.data);
    }
  } catch (error) {
    stream.cancel();
    if (feeding.failed) throw feeding.error;
    if (error instanceof ExecTimeout || error instanceof ExecKilled) {
      error.stdoutBytes = kept.stdout.bytes();
      error.stderrBytes = kept.stderr.bytes();
    }
    throw error;
  } finally {
    feeding.stopped = true;
    void leave(pieces, feeding);
    stream.close();
  }
  const [stdoutBytes, stderrBytes] = [kept.stdout.bytes(), kept.stderr.bytes()];
  return new ExecResult({
    stdoutBytes,
    stderrBytes,
    exitCode: last.exitCode,
    durationMs: last.durationMs,
    stdoutTotalBytes: kept.stdout.total,
    stderrTotalBytes: kept.stderr.total,
    truncated: stdoutBytes.length < kept.stdout.total || stderrBytes.length < kept.stderr.total,
    userMs: 0,
    systemMs: 0,
    maxRssKb: 0,
    networkDenied: [],
  });
}

module.exports = { collect };
