"use strict";
// Sandboxes: throwaway Linux computers with a kernel of their own.
const { inspect } = require("node:util");
const check = require("./arguments.js");
const { CHOICE, choose } = require("./client.js");
const { CodeContext, CodeStream, toExecution } = require("./code.js");
const { collect } = require("./collect.js");
const { BackgroundCommand } = require("./command.js");
const { Cancelled } = require("./errors.js");
const { follow, look } = require("./events.js");
const { Files } = require("./files.js");
const { asyncDispose, make, partOf, toDate, toDateOrNull } = require("./handles.js");
const { ask, call, core } = require("./native.js");
const { ExecResult, ExecStream } = require("./process.js");
const { Snapshot } = require("./snapshot.js");
const { callWithProgress } = require("./template.js");

const RETRIES = { maxRetries: check.integer, retryMaxSeconds: check.seconds };
const CREATE = {
  template: check.text, size: check.text, cpu: check.number, memoryMb: check.integer, diskMb: check.integer, network: check.text,
  timeoutSeconds: check.seconds, onTimeout: check.text, autoResume: check.flag, pausedTtlSeconds: check.seconds,
  previewAuth: check.flag, env: check.textMap, metadata: check.textMap, region: check.text, allowDomains: check.texts,
  volume: check.text, snapshot: check.text, autoBuild: check.flag, onProgress: check.callback, ...RETRIES, ...CHOICE,
};
const LIST = { status: check.text, metadata: check.textMap, limit: check.integer, maxResults: check.offset, ...CHOICE };
const SIGNAL = { signal: check.signal };
const EXEC = { cwd: check.text, env: check.textMap, timeoutSeconds: check.milliseconds, ...SIGNAL };
const TERMINAL = { user: check.text, tty: check.flag, cols: check.integer, rows: check.integer, stdin: check.anything };
const RUN = { ...EXEC, ...TERMINAL, maxOutputBytes: check.offset, onStdout: check.callback, onStderr: check.callback };
const CODE = { language: check.text, contextId: check.text, timeoutSeconds: check.milliseconds, ...SIGNAL };
const SINCE = { since: check.moment, ...SIGNAL };

const command = (value) => (Array.isArray(value) ? check.texts("command", value) : check.text("command", value));
const isPieces = (value) =>
  typeof value === "object" && !ArrayBuffer.isView(value) && (Symbol.asyncIterator in value || Symbol.iterator in value);

// What the native module takes: milliseconds, and no names that are only ours.
function native({ timeoutSeconds, signal, onStdout, onStderr, background, ...rest }) {
  return { ...rest, timeoutMs: timeoutSeconds };
}

const ATTRIBUTES = {
  id: null, status: null, template: null, network: null, cpu: null, cpuReason: null, memoryMb: null, diskMb: null, region: null,
  createdAt: toDate, expiresAt: toDate, metadata: Object.fromEntries, onTimeout: null, autoResume: null, volume: null,
  nodeId: null, pausedExpiresAt: toDateOrNull, previewAuth: null, previewAuthToken: null, backend: null, endReason: null,
  accelerator: null, acceleratorReason: null, isolation: null, jail: null,
};

class Sandbox {
  constructor() {
    throw check.wrongType("new Sandbox()", undefined, "Sandbox.create(), Sandbox.get() and Sandbox.list()");
  }

  static async create(template, options) {
    if (typeof template === "object" && template !== null) [template, options] = [undefined, template];
    const { apiKey, client, signal, onProgress, ...given } = check.options(options, CREATE);
    if (template !== undefined) given.template = check.text("template", template);
    const chosen = choose({ apiKey, client });
    // An aborted create must not leave behind a sandbox that nobody has the id of.
    const end = (handle) => call(undefined, () => core.terminate(handle)).catch(() => {});
    return of(await callWithProgress(signal, onProgress, (report) => core.create(given, report, chosen), end), chosen);
  }

  static async withTemp(options, body) {
    check.callback("fn", body);
    const sandbox = await Sandbox.create(options);
    let result;
    try {
      result = await body(sandbox);
    } catch (error) {
      await sandbox.terminate().catch((failure) => note(error, `and terminating ${sandbox.id} failed: ${failure.message}`));
      throw error;
    }
    await sandbox.terminate();
    return result;
  }

  static async get(sandboxId, options) {
    const given = check.options(options, CHOICE);
    const [id, chosen] = [check.text("sandboxId", sandboxId), choose(given)];
    return of(await call(given.signal, () => core.get(id, chosen)), chosen);
  }

  static async list(options) {
    const { apiKey, client, signal, ...given } = check.options(options, LIST);
    const chosen = choose({ apiKey, client });
    const records = await call(signal, () => core.list(given, chosen));
    return records.map((record) => make(Sandbox, { handle: undefined, record, client: chosen }));
  }

  static async resume(sandboxId, options) {
    const { maxRetries = 5, retryMaxSeconds = 60, ...given } = check.options(options, { ...RETRIES, ...CHOICE });
    const [id, chosen] = [check.text("sandboxId", sandboxId), choose(given)];
    return of(await call(given.signal, () => core.resume(id, maxRetries, retryMaxSeconds, chosen)), chosen);
  }

  static async limits(options) {
    const given = check.options(options, CHOICE);
    const chosen = choose(given);
    return call(given.signal, () => core.limits(chosen));
  }

  // Commands.

  async exec(line, options) {
    const part = partOf(Sandbox, this);
    const given = check.options(options, { ...EXEC, background: check.flag });
    if (Array.isArray(line)) throw check.wrongType("command", line, "a string, a shell command line; run() takes a list");
    const what = check.text("command", line);
    const handle = await live(part);
    if (given.background) {
      const end = (started) => call(undefined, () => core.killCommand(started)).catch(() => {});
      return BackgroundCommand._of(await call(given.signal, () => core.startCommand(handle, what, native(given)), end));
    }
    return new ExecResult(await call(given.signal, () => core.run(handle, what, native(given))));
  }

  async run(line, options) {
    const part = partOf(Sandbox, this);
    const { stdin, ...given } = check.options(options, RUN);
    const what = command(line);
    const pieces = stdin !== undefined && check.reading("stdin", () => isPieces(stdin)) ? stdin : undefined;
    const arguments_ = native(given);
    if (pieces === undefined && stdin !== undefined) arguments_.stdin = check.content("stdin", stdin);
    const handle = await live(part);
    if (!given.tty && pieces === undefined && given.onStdout === undefined && given.onStderr === undefined) {
      return new ExecResult(await call(given.signal, () => core.run(handle, what, arguments_)));
    }
    if (given.signal?.aborted) throw Cancelled.bySignal(given.signal);
    arguments_.stdinOpen = pieces !== undefined;
    const stream = new ExecStream(ask(() => core.execStream(handle, what, arguments_)), given.signal);
    const callbacks = { stdout: given.onStdout, stderr: given.onStderr };
    return collect(stream, pieces, given.tty === true, callbacks, given.maxOutputBytes);
  }

  execStream(line, options) {
    const part = partOf(Sandbox, this);
    const { stdin, ...given } = check.options(options, { ...EXEC, ...TERMINAL });
    const what = command(line);
    if (given.signal?.aborted) throw Cancelled.bySignal(given.signal);
    const arguments_ = native(given);
    if (typeof stdin === "boolean") arguments_.stdinOpen = stdin;
    else if (stdin !== undefined) arguments_.stdin = check.content("stdin", stdin);
    const open = (handle) => ask(() => core.execStream(handle, what, arguments_));
    return new ExecStream(part.handle === undefined ? live(part).then(open) : open(part.handle), given.signal);
  }

  async commands(options) {
    const part = partOf(Sandbox, this);
    const { signal } = check.options(options, SIGNAL);
    const handle = await live(part);
    return (await call(signal, () => core.listCommands(handle))).map(BackgroundCommand._of);
  }

  async command(commandId, options) {
    const part = partOf(Sandbox, this);
    const { signal } = check.options(options, SIGNAL);
    const id = check.text("commandId", commandId);
    const handle = await live(part);
    return BackgroundCommand._of(await call(signal, () => core.getCommand(handle, id)));
  }

  // Code.

  async runCode(code, options) {
    const part = partOf(Sandbox, this);
    const given = check.options(options, CODE);
    const what = check.text("code", code);
    const handle = await live(part);
    return toExecution(await call(given.signal, () => core.runCode(handle, what, native(given))));
  }

  runCodeStream(code, options) {
    const part = partOf(Sandbox, this);
    const given = check.options(options, CODE);
    const what = check.text("code", code);
    if (given.signal?.aborted) throw Cancelled.bySignal(given.signal);
    const open = (handle) => ask(() => core.runCodeStream(handle, what, native(given)));
    return new CodeStream(part.handle === undefined ? live(part).then(open) : open(part.handle), given.signal);
  }

  async createCodeContext(options) {
    const part = partOf(Sandbox, this);
    const { cwd = "", signal } = check.options(options, { cwd: check.text, ...SIGNAL });
    const handle = await live(part);
    const end = (made) => call(undefined, () => core.removeCodeContext(made)).catch(() => {});
    return CodeContext._of(await call(signal, () => core.createCodeContext(handle, cwd), end));
  }

  async codeContexts(options) {
    const part = partOf(Sandbox, this);
    const { signal } = check.options(options, SIGNAL);
    const handle = await live(part);
    return (await call(signal, () => core.listCodeContexts(handle))).map(CodeContext._of);
  }

  get files() {
    const part = partOf(Sandbox, this);
    return Files._of(() => live(part));
  }

  // A promise of all until now, or an iterator; what is wrong with the options comes the same way as the result.
  events(options) {
    let part, given;
    try {
      part = partOf(Sandbox, this);
      given = check.options(options, { ...SINCE, follow: check.flag });
    } catch (error) {
      if (isFollowing(options)) throw error;
      return Promise.reject(error);
    }
    const { since, signal } = given;
    if (!given.follow) return live(part).then((handle) => look(handle, since, signal));
    const hasEnded = async () => ["terminated", "failed"].includes((await this.refresh({ signal })).status);
    return follow(() => live(part), since, hasEnded, signal);
  }

  // Life.

  async refresh(options) {
    const part = partOf(Sandbox, this);
    const { signal } = check.options(options, SIGNAL);
    const handle = await live(part);
    await call(signal, () => core.refresh(handle));
    return this;
  }

  async pause(options) {
    const part = partOf(Sandbox, this);
    const { signal } = check.options(options, SIGNAL);
    const handle = await live(part);
    return call(signal, () => core.pause(handle));
  }

  async setTimeout(timeoutSeconds, options) {
    const part = partOf(Sandbox, this);
    const { signal } = check.options(options, SIGNAL);
    const seconds = check.seconds("timeoutSeconds", timeoutSeconds);
    const handle = await live(part);
    await call(signal, () => core.setTimeout(handle, seconds));
  }

  async metrics(options) {
    const part = partOf(Sandbox, this);
    const { since, signal } = check.options(options, SINCE);
    const handle = await live(part);
    const record = await call(signal, () => core.metrics(handle, since));
    const samples = record.samples.map((sample) => ({ ...sample, t: toDate(sample.t) }));
    return { ...record, asOf: toDate(record.asOf), samples };
  }

  async snapshot(options) {
    const part = partOf(Sandbox, this);
    const { name = "", signal } = check.options(options, { name: check.text, ...SIGNAL });
    const handle = await live(part);
    return Snapshot._of(await call(signal, () => core.snapshot(handle, name)));
  }

  async getHost(port, options) {
    const part = partOf(Sandbox, this);
    const { signal } = check.options(options, SIGNAL);
    const number = check.integer("port", port);
    const handle = await live(part);
    return call(signal, () => core.getHost(handle, number));
  }

  async previewUrl(port, options) {
    const url = `https://${await this.getHost(port, options)}`;
    const token = this.previewAuth ? this.previewAuthToken : null;
    return token ? `${url}?ork_preview_token=${token}` : url;
  }

  async terminate(options) {
    const part = partOf(Sandbox, this);
    const { signal } = check.options(options, SIGNAL);
    const handle = await live(part);
    await call(signal, () => core.terminate(handle));
  }

  async [asyncDispose]() {
    await this.terminate();
  }

  [inspect.custom](depth, options) {
    const { id, status, template, backend, accelerator } = this;
    const where = [backend, accelerator].filter(Boolean).join("/");
    return `Sandbox ${(options ?? {}).stylize?.(id, "special") ?? id} ${status} ${template} ${where}`;
  }
  toJSON() {
    return Object.fromEntries(Object.keys(ATTRIBUTES).map((name) => [name, this[name]]));
  }
}

for (const [name, convert] of Object.entries(ATTRIBUTES)) {
  Object.defineProperty(Sandbox.prototype, name, {
    configurable: true,
    enumerable: true,
    get() {
      const part = partOf(Sandbox, this);
      const record = part.handle === undefined ? part.record : ask(() => core.info(part.handle));
      return convert === null ? record[name] : convert(record[name]);
    },
  });
}

const of = (handle, client) => make(Sandbox, { handle, record: undefined, client });

function isFollowing(options) {
  try {
    return options?.follow === true;
  } catch {
    return false;
  }
}

// The native handle; one that came from list() is opened when it is first used.
async function live(part) {
  if (part.handle !== undefined) return part.handle;
  // Calls at the same time share one handle, and with it what it knows; after a failure the next one tries again.
  part.opening ??= call(undefined, () => core.get(part.record.id, part.client)).then(
    (handle) => (part.handle = handle),
    (error) => {
      part.opening = undefined;
      throw error;
    },
  );
  return part.opening;
}

function note(error, text) {
  if (error instanceof Error) {
    try {
      error.message += ` (${text})`;
    } catch {
      // A frozen error stays as it is.
    }
  }
}

module.exports = { Sandbox };
