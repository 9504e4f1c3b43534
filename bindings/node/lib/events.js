"use strict";
// The activity log of a sandbox.
const { setTimeout: sleep } = require("node:timers/promises");
const { Cancelled } = require("./errors.js");
const { toDate } = require("./handles.js");
const { call, core } = require("./native.js");
const { Breath } = require("./puller.js");

const PAUSE_MS = 250;
const SOME = 250;
const toEvent = (record) => ({ ...record, time: toDate(record.time) });

// The log from `since` on, a few records at a time: there may be a hundred thousand.
async function* records(native, since, signal) {
  const all = await call(signal, () => core.events(native, since));
  const breath = new Breath();
  let at = 0;
  let some;
  do {
    if (breath.due) await breath.take();
    some = core.someEvents(all, at, SOME);
    at += some.length;
    yield some;
  } while (some.length === SOME);
}

async function look(native, since, signal) {
  const out = [];
  for await (const some of records(native, since, signal)) out.push(...some.map(toEvent));
  return out;
}

// All events from `since` on, as they come, until the sandbox has ended.
async function* follow(handle, since, hasEnded, signal) {
  const native = await handle();
  let shown = 0; // those at the time `since`: events of one moment may come in several looks
  while (true) {
    const over = await hasEnded(); // before the look: what was logged last is in the log by then
    let skip = shown;
    for await (const some of records(native, since, signal)) {
      for (const record of some) {
        if (skip > 0 && record.time === since) {
          --skip;
          continue;
        }
        if (since === undefined || record.time > since) [since, shown] = [record.time, 0];
        if (record.time === since) ++shown;
        yield toEvent(record);
      }
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
