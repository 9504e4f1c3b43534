"use strict";
// The Node driver of the parity suite: a call a line on standard input, its answer a line on standard output; see ../README.md.
const readline = require("node:readline");
const { finished } = require("node:stream/promises");
const orkestr = require("orkestr");
const { OrkestrClient, OrkestrError, Sandbox, Snapshot, Template, Volume, Webhook, pool, verifyWebhookSignature } = orkestr;

const handles = new Map();

// "%XX" as bytes.
function unquote(text) {
  const out = [];
  for (let i = 0; i < text.length; ++i) {
    if (text[i] === "%") {
      out.push(Number.parseInt(text.slice(i + 1, i + 3), 16));
      i += 2;
    } else {
      out.push(text.charCodeAt(i));
    }
  }
  return Buffer.from(out);
}

class Impossible extends Error {}

class Call {
  constructor(line) {
    const at = line.indexOf("?");
    this.name = at < 0 ? line : line.slice(0, at);
    this.raw = new Map();
    for (const pair of at < 0 ? [] : line.slice(at + 1).split("&").filter(Boolean)) {
      const equals = pair.indexOf("=");
      this.raw.set(unquote(pair.slice(0, equals)).toString("latin1"), unquote(pair.slice(equals + 1)));
    }
  }
  on() {
    return handles.get(Number(this.raw.get("on")));
  }
  choice() {
    return this.raw.has("client") ? { client: handles.get(Number(this.raw.get("client"))) } : {};
  }
  has(name) {
    return [...this.raw.keys()].some((key) => key === name || key.startsWith(`${name}.`));
  }
  below(name) {
    return [...this.raw].filter(([key]) => key.startsWith(`${name}.`)).map(([key, value]) => [key.slice(name.length + 1), value]);
  }
  // The arguments that are there, each read by its kind: { camelCase: [snake_case, kind] } or { name: kind }.
  given(kinds) {
    const out = {};
    for (const [name, kind] of Object.entries(kinds)) {
      const sent = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
      if (this.has(sent)) out[name] = kind(this, sent);
    }
    return out;
  }
}

function decode(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Impossible("a string of JavaScript cannot hold bytes that are not UTF-8");
  }
}
const text = (call, name) => decode(call.raw.get(name));
const path = (call, name) => {
  const bytes = call.raw.get(name);
  return bytes.equals(Buffer.from(bytes.toString("utf8"))) ? bytes.toString("utf8") : bytes;
};
const data = (call, name) => call.raw.get(name);
const number = (call, name) => {
  const sent = String(call.raw.get(name));
  return sent === "nan" ? NaN : Number(sent.replace(/^(-?)inf$/, "$1Infinity"));
};
const flag = (call, name) => String(call.raw.get(name)) === "true";
const map = (call, name) => new Map(call.below(name).map(([key, value]) => [decode(Buffer.from(key, "latin1")), decode(value)]));
const texts = (call, name) => call.below(name).map(([, value]) => decode(value));
const paths = (call, name) => call.below(name).map(([, value]) => path({ raw: new Map([["x", value]]) }, "x"));
const pieces = (call, name) => call.below(name).map(([, value]) => value);

// ---- values: camelCase to snake_case, Dates to milliseconds, null to "" or 0 where the record says text or integer

const hexed = (bytes) => ({ hex: Buffer.from(bytes).toString("hex") });
const snake = (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
function fields(value, names, more = {}) {
  const out = {};
  for (const name of names.split(" ")) out[snake(name)] = value[name] instanceof Date ? Math.floor(value[name].getTime()) : value[name];
  return { ...out, ...more };
}

const sandboxRecord = (one) =>
  fields(one,
    "id status template network cpu cpuReason memoryMb region createdAt expiresAt metadata onTimeout autoResume pausedExpiresAt previewAuth " +
      "previewAuthToken volume nodeId backend endReason accelerator acceleratorReason isolation jail",
    { disk_mb: one.diskMb ?? 0 });
const resultRecord = (one) =>
  fields(one, "exitCode durationMs stdoutTotalBytes stderrTotalBytes truncated userMs systemMs maxRssKb networkDenied",
    { stdout: hexed(one.stdoutBytes), stderr: hexed(one.stderrBytes) });
const commandRecord = (one) => fields(one, "id command pid status exitCode startedAt");
const statRecord = (one) => fields(one, "exists isDir size", { mode: one.mode ?? 0, modified_at: one.modifiedAt === null ? 0 : Math.floor(one.modifiedAt.getTime()) });
const metricsRecord = (one) =>
  fields(one, "sandboxId asOf sampleIntervalSeconds windowSeconds", {
    status: one.sandboxStatus,
    cpu_cores: one.cpu.cores, cpu_usage_cores: one.cpu.usageCores, cpu_usage_percent: one.cpu.usagePercent,
    memory_limit_bytes: one.memory.limitBytes, memory_usage_bytes: one.memory.usageBytes, memory_usage_percent: one.memory.usagePercent,
    lifetime_cpu_seconds: one.lifetime.cpuSeconds, lifetime_gb_seconds: one.lifetime.gbSeconds,
    samples: one.samples.map((sample) => ({ time: sample.t.getTime(), cpu_percent: sample.cpuPercent, memory_bytes: sample.memBytes })),
  });
const limitsRecord = (one) =>
  fields(one,
    "plan maxConcurrent maxSnapshots allowedSizes customEgressAllowlist defaultEgressDomains trialCreditEur trialCreditUsedEur " +
      "maxRunningLifetimeSeconds maxNamedSnapshots maxTimeoutSeconds usageResetsAt",
    { sizes: one.sizes.map((size) => fields(size, "size cpu memoryMb allowed")), regions: one.regions.map((region) => fields(region, "id label")) });
const snapshotRecord = (one) =>
  fields(one, "id status template cpu memoryMb network name sourceSandboxId nodeId region errorMessage createdAt readyAt", { size_mb: one.sizeMb ?? 0 });
const volumeRecord = (one) =>
  fields(one, "id name sizeMb status region nodeId attachedSandboxId maxLifetimeDays maxLifetimeHours expiresAt");
const webhookRecord = (one) =>
  fields(one, "id url eventTypes active consecutiveFailures lastDeliveryAt lastError createdAt secret");
const json = (value) => (value === null ? null : JSON.stringify(value));
const codeResultRecord = (one) => fields(one, "type text html", { png: one.png && hexed(one.png), json: json(one.json), chart: json(one.chart) });
const codeErrorRecord = (one) => fields(one, "name value traceback");
const executionRecord = (one) =>
  fields(one, "stdout stderr executionCount contextId durationMs interrupted restarted truncated text",
    { results: one.results.map(codeResultRecord), error: one.error && codeErrorRecord(one.error) });
const codeEventRecord = (one) =>
  fields(one, "kind stream text", {
    result: one.result && codeResultRecord(one.result), error: one.error && codeErrorRecord(one.error),
    execution: one.execution && executionRecord(one.execution),
  });
const contextRecord = (one) => fields(one, "id language cwd createdAt lastUsedAt executions alive");
const templateRecord = (one) => fields(one, "name description built current buildId digest kernel", { bytes: one.bytes ?? 0 });
const eventRecord = (one) => fields(one, "time kind outcome command path exitCode durationMs reason");
const entryRecord = (one) => fields(one, "name isDir size mode modifiedAt");

function errorRecord(error) {
  const record = { code: error.code, class: error.constructor.name.replace(/^InvalidArgument.*/, "InvalidArgument"), message: error.message, hint: error.hint };
  for (const name of ["detail", "requestId", "retryAfter", "signal", "oom", "host", "port", "rule", "stage", "consoleTail"]) {
    if (error[name] !== undefined && error[name] !== null) record[snake(name)] = error[name];
  }
  if (error.stdoutBytes) Object.assign(record, { stdout: hexed(error.stdoutBytes), stderr: hexed(error.stderrBytes) });
  if (error instanceof orkestr.TemplateBuildError) Object.assign(record, { stage: error.step, console_tail: error.output });
  // Published statuses belong to the class; what a service answered is the error's own.
  if (Object.hasOwn(error, "statusCode")) record.status_code = error.statusCode;
  return record;
}

// ---- calls

const EXEC = { cwd: text, env: map, user: text, stdin: data, maxOutputBytes: number };
const seconds = (call) => (call.raw.has("timeout_ms") ? { timeoutSeconds: number(call, "timeout_ms") / 1000 } : {});

function keep(handle, record = null) {
  const key = Math.max(0, ...handles.keys()) + 1;
  handles.set(key, handle);
  return { value: record, handle: key };
}
const value = (of) => ({ value: of });
const found = (sandbox) => keep(sandbox, sandboxRecord(sandbox));
const command = (one) => keep(one, commandRecord(one));

async function ofSandbox(call, work) {
  await work(call.on());
  return value(sandboxRecord(call.on()));
}
async function ofCommand(call, work) {
  await work(call.on());
  return value(commandRecord(call.on()));
}

async function execute(call) {
  const options = { ...call.given(EXEC), ...seconds(call) };
  const full = ["user", "stdin", "max_output_bytes"].some((name) => call.raw.has(name));
  return value(resultRecord(await (full ? call.on().run(text(call, "command"), options) : call.on().exec(text(call, "command"), options))));
}

function openStream(call) {
  const options = { ...call.given({ cwd: text, env: map, user: text, stdin: data, tty: flag, cols: number, rows: number }), ...seconds(call) };
  if (call.raw.has("stdin_open")) options.stdin = flag(call, "stdin_open");
  return keep(call.on().execStream(text(call, "command"), options));
}

// (next(), not `for await`, which would close the stream when it is left.)
async function read(call) {
  const out = { stdout: [], stderr: [] };
  const until = call.raw.get("until");
  let final;
  while (true) {
    const { done, value: chunk } = await call.on().next();
    if (done) break;
    if (chunk.isFinal) final = chunk;
    else out[chunk.stream].push(chunk.dataBytes);
    if (until?.length > 0 && Buffer.concat(out.stdout).includes(until)) break;
  }
  return value({
    stdout: hexed(Buffer.concat(out.stdout)), stderr: hexed(Buffer.concat(out.stderr)),
    exit_code: final?.exitCode ?? null, duration_ms: final?.durationMs ?? null,
  });
}

const codeOptions = (call) => ({ ...call.given({ language: text, contextId: text }), ...seconds(call) });
async function codeEvents(call) {
  const all = [];
  for await (const event of call.on()) all.push(codeEventRecord(event));
  return value(all);
}

async function logs(call) {
  const one = await call.on().logs(call.given({ offset: number }));
  return value(fields(one, "startOffset size truncated nextOffset", { content: hexed(one.contentBytes) }));
}

async function readStream(call) {
  const out = [];
  for await (const piece of call.on().files.readStream(path(call, "path"))) out.push(piece);
  return value(hexed(Buffer.concat(out)));
}

async function writeStream(call) {
  const writer = call.on().files.writeStream(path(call, "path"), call.given({ mode: number }));
  const done = finished(writer);
  for (const piece of pieces(call, "pieces")) {
    await new Promise((next) => writer.write(piece, next)); // its error comes from `done`
  }
  if (String(call.raw.get("finish")) === "false") {
    writer.destroy();
    await done.catch((error) => {
      if (error.code !== "ERR_STREAM_PREMATURE_CLOSE") throw error;
    });
    return;
  }
  writer.end();
  await done;
}

async function writeBatch(call) {
  const contents = pieces(call, "contents");
  const results = await call.on().files.writeBatch(paths(call, "paths").map((one, index) => [one, contents[index]]));
  return value(results.map((one) => fields(one, "path error", { bytes_written: one.bytesWritten ?? 0 })));
}

async function presign(call, member) {
  const options = call.raw.has("expires_in_seconds") ? { expiresIn: number(call, "expires_in_seconds") } : {};
  return value(fields(await call.on().files[member](path(call, "path"), options), "url method path expiresAt"));
}

function openClient(call) {
  const options = call.given({ backend: text, apiKey: text, baseUrl: text });
  if (call.raw.has("timeout_seconds")) options.timeout = number(call, "timeout_seconds");
  const client = new OrkestrClient(options);
  return keep(client, { backend: client.backend });
}

const CREATE = {
  template: text, size: text, cpu: number, memoryMb: number, diskMb: number, network: text, timeoutSeconds: number, onTimeout: text, autoResume: flag,
  pausedTtlSeconds: number, previewAuth: flag, env: map, metadata: map, region: text, allowDomains: texts, volume: text, snapshot: text,
  maxRetries: number, retryMaxSeconds: number, autoBuild: flag,
};
const time = number;
const RESUME = { maxRetries: number, retryMaxSeconds: number };

const LIFETIME = { maxLifetimeDays: number, maxLifetimeHours: number };
const lifetime = (c) =>
  c.has("no_end") ? { [text(c, "no_end") === "hours" ? "maxLifetimeHours" : "maxLifetimeDays"]: null } : c.given(LIFETIME);
const MACHINE = { size: text, cpu: number, memoryMb: number, diskMb: number };
const POOL = { ...MACHINE, idleSeconds: number, minAvailableMb: number };
const poolRecord = (one) =>
  fields(one, "template count ready cpu memoryMb diskMb idleSeconds minAvailableMb problem",
    { members: one.members.map((member) => fields(member, "id ready createdAt")) });

const MEMBERS = {
  version: () => value(orkestr.version),
  release: (c) => void (c.on()?.close?.(), handles.delete(Number(c.raw.get("on")))),
  "client.open": openClient,
  "client.close": (c) => c.on().close(),
  "sandbox.create": async (c) => found(await Sandbox.create({ ...c.given(CREATE), ...c.choice() })),
  "sandbox.get": async (c) => found(await Sandbox.get(text(c, "sandbox_id"), c.choice())),
  "sandbox.resume": async (c) => found(await Sandbox.resume(text(c, "sandbox_id"), { ...c.given(RESUME), ...c.choice() })),
  "sandbox.list": async (c) =>
    value((await Sandbox.list({ ...c.given({ status: text, metadata: map, limit: number, maxResults: number }), ...c.choice() })).map(sandboxRecord)),
  "sandbox.limits": async (c) => value(limitsRecord(await Sandbox.limits(c.choice()))),
  "sandbox.refresh": (c) => ofSandbox(c, (one) => one.refresh()),
  "sandbox.exec": execute,
  "sandbox.run": async (c) => value(resultRecord(await c.on().run(texts(c, "argv"), { ...c.given(EXEC), ...seconds(c) }))),
  "sandbox.exec_stream": openStream,
  "sandbox.start": async (c) => command(await c.on().exec(text(c, "command"), { ...c.given({ cwd: text, env: map }), background: true })),
  "sandbox.commands": async (c) => value((await c.on().commands()).map(commandRecord)),
  "sandbox.command": async (c) => command(await c.on().command(text(c, "command_id"))),
  "sandbox.events": async (c) => value((await c.on().events(c.given({ since: time }))).map(eventRecord)),
  "sandbox.pause": async (c) => value(await c.on().pause()),
  "sandbox.set_timeout": (c) => ofSandbox(c, (one) => one.setTimeout(number(c, "timeout_seconds"))),
  "sandbox.metrics": async (c) => value(metricsRecord(await c.on().metrics(c.given({ since: time })))),
  "sandbox.snapshot": async (c) => value(snapshotRecord(await c.on().snapshot(c.given({ name: text })))),
  "sandbox.get_host": async (c) => value(await c.on().getHost(number(c, "port"))),
  "sandbox.run_code": async (c) => value(executionRecord(await c.on().runCode(text(c, "code"), codeOptions(c)))),
  "sandbox.run_code_stream": (c) => keep(c.on().runCodeStream(text(c, "code"), codeOptions(c))),
  "sandbox.create_code_context": async (c) => {
    const context = await c.on().createCodeContext(c.given({ cwd: text }));
    return keep(context, contextRecord(context));
  },
  "sandbox.code_contexts": async (c) => value((await c.on().codeContexts()).map(contextRecord)),
  "code_stream.read": codeEvents,
  "code_stream.close": (c) => c.on().close(),
  "code_context.run_code": async (c) => value(executionRecord(await c.on().runCode(text(c, "code"), seconds(c)))),
  "code_context.restart": async (c) => value(contextRecord(await c.on().restart())),
  "code_context.remove": (c) => c.on().remove(),
  "sandbox.terminate": (c) => ofSandbox(c, (one) => one.terminate()),
  "stream.read": read,
  "stream.write": (c) => c.on().write(data(c, "data"), seconds(c)),
  "stream.close_input": (c) => c.on().closeInput(),
  "stream.resize": (c) => c.on().resize(number(c, "cols"), number(c, "rows")),
  "stream.cancel": (c) => c.on().cancel(),
  "stream.close": (c) => c.on().close(),
  "command.refresh": (c) => ofCommand(c, (one) => one.refresh()),
  "command.kill": (c) => ofCommand(c, (one) => one.kill()),
  "command.wait": (c) => ofCommand(c, (one) => one.wait(seconds(c))),
  "command.logs": logs,
  "command.stream": (c) => keep(c.on().stream(c.given({ offset: number, timeoutSeconds: number }))),
  "files.read": async (c) => value(hexed(await c.on().files.readBytes(path(c, "path")))),
  "files.write": (c) => c.on().files.writeBytes(path(c, "path"), data(c, "content"), c.given({ mode: number })),
  "files.read_stream": readStream,
  "files.write_stream": writeStream,
  "files.list": async (c) => value((await c.on().files.list(path(c, "path"))).map(entryRecord)),
  "files.stat": async (c) => value(statRecord(await c.on().files.stat(path(c, "path")))),
  "files.exists": async (c) => value(await c.on().files.exists(path(c, "path"))),
  "files.delete": (c) => c.on().files.delete(path(c, "path")),
  "files.mkdir": (c) => c.on().files.mkdir(path(c, "path"), c.given({ parents: flag })),
  "files.move": (c) => c.on().files.move(path(c, "source"), path(c, "destination")),
  "files.write_batch": writeBatch,
  "files.presign_download": (c) => presign(c, "presignDownload"),
  "files.presign_upload": (c) => presign(c, "presignUpload"),
  "snapshot.list": async (c) => value((await Snapshot.list(c.choice())).map(snapshotRecord)),
  "snapshot.get": async (c) => value(snapshotRecord(await Snapshot.get(text(c, "snapshot_id"), c.choice()))),
  "snapshot.delete": (c) => Snapshot.delete(text(c, "snapshot_id"), c.choice()),
  "volume.create": async (c) =>
    value(volumeRecord(await Volume.create(text(c, "name"), { ...c.given({ sizeGb: number, region: text, ...LIFETIME }), ...c.choice() }))),
  "volume.list": async (c) => value((await Volume.list(c.choice())).map(volumeRecord)),
  "volume.update": async (c) => value(volumeRecord(await Volume.update(text(c, "volume_id"), { ...lifetime(c), ...c.choice() }))),
  "volume.move": async (c) => value(volumeRecord(await Volume.move(text(c, "volume_id"), text(c, "region"), c.choice()))),
  "volume.delete": (c) => Volume.delete(text(c, "volume_id"), c.choice()),
  "webhook.create": async (c) => value(webhookRecord(await Webhook.create(text(c, "url"), { ...c.given({ eventTypes: texts }), ...c.choice() }))),
  "webhook.list": async (c) => value((await Webhook.list(c.choice())).map(webhookRecord)),
  "webhook.enable": async (c) => value(webhookRecord(await Webhook.enable(text(c, "webhook_id"), c.choice()))),
  "webhook.delete": (c) => Webhook.delete(text(c, "webhook_id"), c.choice()),
  "webhook.verify": (c) => value(verifyWebhookSignature(text(c, "secret"), text(c, "body"), text(c, "signature"))),
  "template.build": async (c) =>
    value(templateRecord(await Template.build(text(c, "name"), { ...c.given({ force: flag, recipe: text }), ...c.choice() }))),
  "template.prepare": async (c) => value(templateRecord(await Template.prepare(text(c, "name"), { ...c.given(MACHINE), ...c.choice() }))),
  "template.remove": (c) => Template.remove(text(c, "name"), c.choice()),
  "pool.set": async (c) => value(poolRecord(await pool.set(text(c, "template"), c.given({ count: number }).count, c.given(POOL)))),
  "pool.list": async () => value((await pool.list()).map(poolRecord)),
  "pool.clear": async (c) => value(await pool.clear(c.given({ template: text }).template)),
  "template.list": async (c) => value((await Template.list(c.choice())).map(templateRecord)),
  "template.inspect": async (c) => value(templateRecord(await Template.inspect(text(c, "name"), c.choice()))),
};

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    const call = new Call(line);
    let answer;
    try {
      answer = (await MEMBERS[call.name](call)) ?? { value: null };
      if (!("value" in answer)) answer = { value: null };
    } catch (error) {
      if (error instanceof Impossible) answer = { impossible: error.message };
      else if (error instanceof OrkestrError) answer = { error: errorRecord(error) };
      else throw error;
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
}
void main();
