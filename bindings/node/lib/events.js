"use strict";
// The activity log of a sandbox.
const { setTimeout: sleep } = require("node:timers/promises");
const { Cancelled } = require("./errors.js");
const { toDate } = require("./handles.js");
const { call, core } = require("./native.js");

const PAUSE_MS = 250;
const toEvent = (record) => ({ ...record, time: toDate(record.time) });

async function look(native, since, signal) {
  return (await call(signal, () => core.events(native, since))).map(toEvent);
}

// All events from `since` on, as they come, until the sandbox has ended.
async function* follow(handle, since, hasEnded, signal) {
  const native = await handle();
  let shown = 0; // those at the time `since`: events of one moment may come in several looks
  while (true) {
    const over = await hasEnded(); // before the look: what was logged last is in the log by then
    let skip = shown;
    for (const record of await call(signal, () => core.events(native, since))) {
      if (skip > 0 && record.time === since) {
        --skip;
        continue;
      }
      if (since === undefined || record.time > since) [since, shown] = [record.time, 0];
      if (record.time === since) ++shown;
      yield toEvent(record);
    }
    if (over) return;
    try {
      await sleep(PAUSE_MS, undefined, { signal });
    } catch (error) {
      throw signal?.aborted ? Cancelled.bySignal(signal) : error;
    }
  }
}

module.exports = { follow, look };
