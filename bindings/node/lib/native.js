"use strict";
// The native module, and the two ways of calling it.
const { existsSync } = require("node:fs");
const path = require("node:path");
const { Cancelled, OrkestrError, fromNative } = require("./errors.js");
const { version } = require("../package.json");

const core = load();
process.once("exit", () => core.abandon()); // what is waited for then has nobody any more

function load() {
  const file = process.env.ORKESTR_NODE_ADDON ?? find();
  let loaded;
  try {
    loaded = require(file);
  } catch (error) {
    throw new OrkestrError(`orkestr cannot load its native module ${file}: ${error.message}. ${remedy(error)}`, { cause: error });
  }
  if (loaded.version !== version) {
    throw new OrkestrError(`orkestr ${version} found a native module of version ${loaded.version} in ${file}; install the package again`);
  }
  return loaded;
}

// The package carries it. In a checkout it is what was built last by ./dev, if that was done, before what npm made there once.
function find() {
  const package_ = path.join(__dirname, "..");
  const built = path.join(package_, "..", "..", "build", "node", "orkestr.node");
  return existsSync(path.join(package_, "src", "runtime.hpp")) && existsSync(built) ? built : path.join(package_, "prebuilt", "orkestr.node");
}

function remedy(error) {
  if (process.platform !== "linux" || process.arch !== "x64") {
    return `It is for Linux on x64; this is ${process.platform} on ${process.arch}.`;
  }
  // Of what the package needs and does not carry, these are what a machine may lack; QEMU is for the first create to miss.
  if (/lib(archive|curl-gnutls|nettle)\.so/.test(error.message)) {
    return "Run: apt-get install libarchive13 libcurl3-gnutls libnettle8";
  }
  if (/GLIBC(XX)?_/.test(error.message)) return "It needs the C and C++ libraries of Debian 12, or later ones.";
  if (error.code === "MODULE_NOT_FOUND") return "In a checkout build it: npm install ./bindings/node, or use ./dev node.";
  return "Install the package again.";
}

// Calls what answers at once.
function ask(work) {
  try {
    return work();
  } catch (thrown) {
    throw fromNative(thrown);
  }
}

// Calls what answers [promise, id]. An aborted signal cancels it; the promise is settled when the cancelling has had its effect,
// for a command when its process tree is gone. `late` undoes a result that came all the same.
async function call(signal, begin, late) {
  if (signal?.aborted) throw Cancelled.bySignal(signal);
  let promise, id;
  try {
    [promise, id] = begin();
  } catch (thrown) {
    throw fromNative(thrown);
  }
  const abort = signal && (() => core.cancel(id));
  signal?.addEventListener("abort", abort, { once: true });
  let result;
  try {
    result = await promise;
  } catch (thrown) {
    throw signal?.aborted && thrown?.code === "cancelled" ? Cancelled.bySignal(signal) : fromNative(thrown);
  } finally {
    signal?.removeEventListener("abort", abort);
  }
  if (signal?.aborted && late) {
    await late(result);
    throw Cancelled.bySignal(signal);
  }
  return result;
}

module.exports = { ask, call, core };
