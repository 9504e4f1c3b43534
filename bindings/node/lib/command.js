"use strict";
// Background commands: started and left alone, found again by their id from any process.
const { setTimeout: sleep } = require("node:timers/promises");
const check = require("./arguments.js");
const { Cancelled, ExecTimeout } = require("./errors.js");
const { make, partOf, toDateOrNull } = require("./handles.js");
const { ask, call, core } = require("./native.js");
const { ChunkReader, unfinished } = require("./process.js");
const { OutputStream, Puller } = require("./puller.js");

const FIRST_PAUSE = 0.01;
const ONLY_SIGNAL = { signal: check.signal };

class CommandLogs {
  constructor(content, size, truncated, startOffset) {
    this.content = content.toString("utf8");
    this.size = size;
    this.truncated = truncated;
    this.startOffset = startOffset;
    this.nextOffset = startOffset + content.length;
    Object.defineProperty(this, "contentBytes", { value: content, enumerable: false });
    Object.freeze(this);
  }
}

const LOGS = { next: core.logsNext, ready: core.logsReady, close: core.logsClose };

// The output of a background command as it comes: an async iterator of ExecChunk.
class LogStream extends OutputStream {
  constructor(native, signal) {
    super(new Puller(native, LOGS, new ChunkReader()), signal);
  }
}

const WAIT_CHECKS = { pollSeconds: check.number, timeoutSeconds: check.number, signal: check.signal };
const LOGS_CHECKS = { offset: check.offset, signal: check.signal };
const STREAM_CHECKS = { offset: check.offset, timeoutSeconds: check.seconds, signal: check.signal };

class BackgroundCommand {
  constructor() {
    throw check.wrongType("new BackgroundCommand()", undefined, "sandbox.exec(…, { background: true }) and sandbox.commands()");
  }
  static _of(native) {
    const command = make(BackgroundCommand, native);
    takeOver(command, native);
    return command;
  }

  async refresh(options) {
    const native = partOf(BackgroundCommand, this);
    const { signal } = check.options(options, ONLY_SIGNAL);
    await call(signal, () => core.refreshCommand(native));
    takeOver(this, native);
    return this;
  }

  async kill(options) {
    const native = partOf(BackgroundCommand, this);
    const { signal } = check.options(options, ONLY_SIGNAL);
    await call(signal, () => core.killCommand(native));
    takeOver(this, native);
  }

  async wait(options) {
    const { pollSeconds = 1, timeoutSeconds, signal } = check.options(options, WAIT_CHECKS);
    const longest = Math.max(0, pollSeconds);
    const limit = timeoutSeconds === undefined ? Infinity : performance.now() + timeoutSeconds * 1000;
    let pause = Math.min(FIRST_PAUSE, longest);
    while ((await this.refresh({ signal })).status === "running") {
      const left = limit - performance.now();
      if (left <= 0) throw new ExecTimeout(`wait: command ${this.id} had not ended after ${Math.round(timeoutSeconds * 1000)} ms; it runs on`);
      try {
        await sleep(Math.min(pause * 1000, left), undefined, { signal });
      } catch (error) {
        throw signal?.aborted ? Cancelled.bySignal(signal) : error;
      }
      pause = Math.min(2 * pause, longest);
    }
    return this.exitCode;
  }

  async logs(options) {
    const native = partOf(BackgroundCommand, this);
    const { offset = 0, signal } = check.options(options, LOGS_CHECKS);
    const { content, size, startOffset, truncated } = await call(signal, () => core.commandLogs(native, offset));
    const more = startOffset + content.length < size || this.status === "running";
    // Without the beginning of a character whose rest is still to come; never without everything.
    const held = more ? unfinished(content) : 0;
    const whole = held < content.length ? content.subarray(0, content.length - held) : content;
    return new CommandLogs(whole, size, truncated, startOffset);
  }

  stream(options) {
    const native = partOf(BackgroundCommand, this);
    const { offset = 0, timeoutSeconds = 300, signal } = check.options(options, STREAM_CHECKS);
    if (signal?.aborted) throw Cancelled.bySignal(signal);
    return new LogStream(ask(() => core.openLogs(native, offset, timeoutSeconds)), signal);
  }
}

function takeOver(command, native) {
  const record = ask(() => core.commandInfo(native));
  Object.assign(command, { ...record, startedAt: toDateOrNull(record.startedAt) });
}

module.exports = { BackgroundCommand, CommandLogs, LogStream };
