// What the tests of the Node package share. Each file is a process of its own, with a state directory of its own; templates come from the
// cache that a program started here would use (ORKESTR_TEST_CACHE overrides it). At a file's end nothing may be left but records.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync, symlinkSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import path from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
export const TEMPLATE = "python-3.12-bare";
export const SCALE = Number(process.env.ORKESTR_TEST_SCALE ?? 1);

function realCache() {
  if (process.env.ORKESTR_TEST_CACHE) return process.env.ORKESTR_TEST_CACHE;
  if (process.env.ORKESTR_HOME) return path.join(process.env.ORKESTR_HOME, "cache");
  if (process.getuid() === 0) return "/var/lib/orkestr/cache";
  return path.join(process.env.XDG_CACHE_HOME ?? path.join(homedir(), ".cache"), "orkestr");
}

const cache = realCache();
export const home = mkdtempSync(path.join(tmpdir(), "orkestr-node-"));
symlinkSync(cache, path.join(home, "cache"));
process.env.ORKESTR_HOME = home;
process.env.ORKESTR_BACKEND = "local";
// What makes node begin with a sanitizer's runtime is for node only, not for supervisors and machines.
const preload = process.env.LD_PRELOAD;
delete process.env.LD_PRELOAD;
export const orkestr = await import("orkestr");
const { Sandbox } = orkestr;

export async function waitUntil(condition, seconds = 10) {
  const end = performance.now() + seconds * 1000;
  let value;
  while (!(value = await condition()) && performance.now() < end) await new Promise((done) => setTimeout(done, 50));
  return value;
}

// Every other process that holds something under `home` open: supervisors and machines.
export function processesOfHome() {
  return readdirSync("/proc").filter((entry) => {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) return false;
    try {
      return readdirSync(`/proc/${entry}/fd`).some((fd) => {
        try {
          return readlinkSync(`/proc/${entry}/fd/${fd}`).startsWith(`${home}/`);
        } catch {
          return false;
        }
      });
    } catch {
      return false;
    }
  });
}

// What ended sandboxes left but their records.
export function leftFiles() {
  const entries = readdirSync(path.join(home, "state", "sandboxes"), { recursive: true, withFileTypes: true });
  return entries.filter((entry) => !entry.isDirectory() && !["record.json", "events.jsonl"].includes(entry.name)).map((entry) => entry.name);
}

after(async () => {
  for (const sandbox of await Sandbox.list()) await sandbox.terminate();
  assert.ok(await waitUntil(() => processesOfHome().length === 0), `processes of ended sandboxes: ${processesOfHome()}`);
  assert.deepEqual(leftFiles(), [], "files of ended sandboxes");
  rmSync(home, { recursive: true });
});

// One running sandbox that the tests of a file share.
export const shareSandbox = () => Sandbox.create({ template: TEMPLATE, timeoutSeconds: 1800, metadata: { suite: "node" } });

// A running sandbox whose machine stands still: it takes nothing and gives nothing until `goOn` is called.
export async function stalledSandbox() {
  const before = new Set(processesOfHome());
  const stalled = await Sandbox.create({ template: TEMPLATE, timeoutSeconds: 1800 });
  const machine = processesOfHome().find((pid) => !before.has(pid) && readFileSync(`/proc/${pid}/comm`, "utf8").startsWith("qemu"));
  process.kill(machine, "SIGSTOP");
  return { stalled, goOn: () => process.kill(machine, "SIGCONT") };
}

// JavaScript in another process that has the package and the same state directory: its code, signal and output.
export function runScript(code, { args = [], env = {}, seconds = 120 } = {}) {
  const execArgv = process.execArgv.filter((one, i, all) => one === "--import" || all[i - 1] === "--import" || one.startsWith("--import="));
  const child = spawn(process.execPath, [...execArgv, "--expose-gc", "--input-type=module", "-e", code, "--", ...args], {
    env: { ...process.env, NODE_TEST_CONTEXT: undefined, LD_PRELOAD: preload, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const output = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"]) child[name].setEncoding("utf8").on("data", (text) => (output[name] += text));
  const timer = setTimeout(() => child.kill("SIGKILL"), seconds * 1000);
  const done = new Promise((resolve) => {
    child.on("close", (exitCode, signal) => {
      clearTimeout(timer);
      resolve({ exitCode, signal, ...output });
    });
  });
  return Object.assign(done, { child, output });
}

export const PROXIES = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

// The test service, and the environment of a process that is to use it.
export async function startService(...args) {
  const child = spawn(path.join(ROOT, "build/bin/orkestr-test-service"), args, { stdio: ["pipe", "pipe", "inherit"] });
  after(async () => {
    child.stdin.end();
    if (child.exitCode === null) await once(child, "exit");
  });
  const [line] = await once(child.stdout.setEncoding("utf8"), "data");
  const [url, caFile] = line.trim().split(" ");
  const env = { ...Object.fromEntries(PROXIES.map((name) => [name, undefined])), CURL_CA_BUNDLE: undefined, ORKESTR_BACKEND: undefined, ORKESTR_API_KEY: "test-key", ORKESTR_BASE_URL: url };
  return { url, caFile, env };
}

// Rejects, and gives the error.
export async function failure(promise, type) {
  try {
    await (typeof promise === "function" ? promise() : promise);
  } catch (error) {
    assert.ok(error instanceof type, `${error?.stack ?? error}, not ${type.name}`);
    return error;
  }
  assert.fail(`no ${type.name}`);
}

export async function collect(stream) {
  const out = { stdout: "", stderr: "", chunks: [], exitCode: null };
  for await (const chunk of stream) {
    out.chunks.push(chunk);
    out[chunk.stream] += chunk.data;
    out.exitCode = chunk.exitCode;
  }
  return out;
}

// Command lines in the guest that contain `marker`, the ones of this question left out.
export async function guestProcesses(sandbox, marker) {
  const { stdout } = await sandbox.exec("for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' 2>/dev/null < $f && echo; done 2>/dev/null; true");
  return stdout.split("\n").filter((line) => line.includes(marker) && !line.includes("/proc/"));
}
