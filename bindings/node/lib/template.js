"use strict";
// Templates: the images that sandboxes start from.
const { readFile } = require("node:fs/promises");
const check = require("./arguments.js");
const { CHOICE, choose } = require("./client.js");
const { toDateOrNull } = require("./handles.js");
const { call, core } = require("./native.js");

const LOCAL = { client: CHOICE.client, signal: check.signal };
function recipe(name, value) {
  if (value instanceof URL) return value;
  const text = check.text(name, value);
  if (text.trimStart().startsWith("{")) return text;
  throw check.wrongValue(name, value, "the JSON text of a recipe, which begins with '{'. Is this a path? Then give a URL: pathToFileURL(path)");
}
const BUILD = { force: check.flag, recipe, onProgress: check.callback, ...LOCAL };
const PREPARE = {
  size: check.text, cpu: check.number, memoryMb: check.integer, diskMb: check.integer, onProgress: check.callback, ...LOCAL,
};

const toInfo = (record) => ({ ...record, createdAt: toDateOrNull(record.createdAt) });

// A line on the terminal's stderr that shows how far a build is.
function bar() {
  let shown = false;
  return {
    report(progress) {
      const filled = Math.floor((20 * Math.max(progress.index - 1, 0)) / Math.max(progress.count, 1));
      // What tools print must not move the cursor or colour the rest of the terminal.
      const line = progress.line.replace(/[^\p{L}\p{N}\p{P}\p{S} ]/gu, "");
      const text =
        `${progress.template} [${"=".repeat(filled)}${" ".repeat(20 - filled)}] ${progress.index}/${progress.count} ` +
        `${progress.step} (${Math.round(progress.elapsedSeconds)} s) ${line}`;
      process.stderr.write(`\r\x1b[K${text.slice(0, (process.stderr.columns ?? 80) - 1)}`);
      shown = true;
    },
    end() {
      if (shown) process.stderr.write("\r\x1b[K");
    },
  };
}

// One line on stderr, for logs: a call that takes minutes must not look as if it hung.
function line() {
  let said = false;
  return {
    report(progress) {
      if (said || progress.step === "snapshot") return; // (that is one of a template that is built)
      process.stderr.write(`orkestr: building template ${progress.template}, once; takes minutes\n`);
      said = true;
    },
    end() {},
  };
}

// call() for what may build a template: `begin` is given the function to report to. Without `onProgress` a bar is shown where stderr is
// a terminal, else a line. What `onProgress` throws ends the build and is thrown.
async function callWithProgress(signal, onProgress, begin, late) {
  const own = onProgress !== undefined ? undefined : process.stderr.isTTY ? bar() : line();
  const target = onProgress ?? own.report;
  const stop = new AbortController();
  let failure;
  const report = (progress) => {
    if (stop.signal.aborted) return;
    try {
      target(progress);
    } catch (error) {
      failure = { error };
      stop.abort();
    }
  };
  const pass = () => stop.abort(signal.reason);
  if (signal?.aborted) pass();
  signal?.addEventListener("abort", pass, { once: true });
  try {
    const result = await call(stop.signal, () => begin(report), late);
    if (failure !== undefined) throw failure.error; // thrown at a time when there was nothing left to end
    return result;
  } catch (error) {
    throw failure === undefined ? error : failure.error;
  } finally {
    signal?.removeEventListener("abort", pass);
    own?.end();
  }
}

class Template {
  static async build(name, options) {
    if (typeof name === "object" && name !== null) [name, options] = ["", name];
    const given = check.options(options, BUILD);
    const [which, chosen] = [check.text("name", name ?? ""), choose(given)];
    const text = given.recipe instanceof URL ? await readFile(given.recipe, "utf8") : given.recipe;
    const what = { force: given.force, recipe: text };
    return toInfo(await callWithProgress(given.signal, given.onProgress, (report) => core.buildTemplate(which, what, report, chosen)));
  }
  static async prepare(name, options) {
    const { onProgress, signal, client, ...machine } = check.options(options, PREPARE);
    const [which, chosen] = [check.text("name", name), choose({ client })];
    return toInfo(await callWithProgress(signal, onProgress, (report) => core.prepareTemplate(which, machine, report, chosen)));
  }
  static async list(options) {
    const given = check.options(options, LOCAL);
    return (await call(given.signal, () => core.listTemplates(choose(given)))).map(toInfo);
  }
  static async inspect(name, options) {
    const given = check.options(options, LOCAL);
    const which = check.text("name", name);
    return toInfo(await call(given.signal, () => core.inspectTemplate(which, choose(given))));
  }
  static async remove(name, options) {
    const given = check.options(options, LOCAL);
    const which = check.text("name", name);
    await call(given.signal, () => core.removeTemplate(which, choose(given)));
  }
}

module.exports = { Template, callWithProgress };
