"use strict";
// The code interpreter: runs, their events as they come, and the contexts they happen in.
const check = require("./arguments.js");
const { make, partOf, toDateOrNull } = require("./handles.js");
const { ask, call, core } = require("./native.js");
const { OutputStream, Puller } = require("./puller.js");

const parsed = (json) => (json === null ? null : JSON.parse(json));
const toResult = (record) => ({ ...record, json: parsed(record.json), chart: parsed(record.chart) });

function toExecution(record) {
  const results = record.results.map(toResult);
  const last = results.filter((one) => one.text !== null).at(-1);
  return { ...record, results, text: last?.text ?? null };
}

function toEvent(record) {
  const { result, execution } = record;
  return { ...record, result: result && toResult(result), execution: execution && toExecution(execution) };
}

// What Puller's reader is for the events of a run.
class EventReader {
  over = false;
  take(record) {
    this.over = record.kind === "done";
    return [toEvent(record)];
  }
  rest() {
    return [];
  }
}

const EVENTS = { next: core.codeNext, ready: core.codeReady, close: core.codeClose };

class CodeStream extends OutputStream {
  constructor(opening, signal) {
    super(new Puller(opening, EVENTS, new EventReader()), signal);
  }
}

const ONLY_SIGNAL = { signal: check.signal };
const RUN = { timeoutSeconds: check.milliseconds, ...ONLY_SIGNAL };

class CodeContext {
  constructor() {
    throw check.wrongType("new CodeContext()", undefined, "sandbox.createCodeContext() and sandbox.codeContexts()");
  }
  static _of(native) {
    const context = make(CodeContext, native);
    takeOver(context, native);
    return context;
  }

  async runCode(code, options) {
    const native = partOf(CodeContext, this);
    const { timeoutSeconds: timeoutMs, signal } = check.options(options, RUN);
    const what = check.text("code", code);
    return toExecution(await call(signal, () => core.runCodeIn(native, what, { timeoutMs })));
  }

  async restart(options) {
    const native = partOf(CodeContext, this);
    const { signal } = check.options(options, ONLY_SIGNAL);
    await call(signal, () => core.restartCodeContext(native));
    takeOver(this, native);
    return this;
  }

  async remove(options) {
    const native = partOf(CodeContext, this);
    const { signal } = check.options(options, ONLY_SIGNAL);
    await call(signal, () => core.removeCodeContext(native));
  }
}

function takeOver(context, native) {
  const record = ask(() => core.codeContextInfo(native));
  Object.assign(context, { ...record, createdAt: toDateOrNull(record.createdAt), lastUsedAt: toDateOrNull(record.lastUsedAt) });
}

module.exports = { CodeContext, CodeStream, toExecution };
