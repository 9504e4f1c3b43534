"use strict";
// Named snapshots: frozen copies of a sandbox that any number of new ones can start from.
const check = require("./arguments.js");
const { CHOICE, choose } = require("./client.js");
const { toDate, toDateOrNull } = require("./handles.js");
const { call, core } = require("./native.js");

class Snapshot {
  constructor() {
    throw check.wrongType("new Snapshot()", undefined, "sandbox.snapshot(), Snapshot.get() and Snapshot.list()");
  }
  static _of(record) {
    const times = { createdAt: toDate(record.createdAt), readyAt: toDateOrNull(record.readyAt) };
    return Object.assign(Object.create(Snapshot.prototype), record, times);
  }
  static async list(options) {
    const given = check.options(options, CHOICE);
    const chosen = choose(given);
    return (await call(given.signal, () => core.listSnapshots(chosen))).map(Snapshot._of);
  }
  static async get(snapshotId, options) {
    const given = check.options(options, CHOICE);
    const [id, chosen] = [check.text("snapshotId", snapshotId), choose(given)];
    return Snapshot._of(await call(given.signal, () => core.getSnapshot(id, chosen)));
  }
  static async delete(snapshotId, options) {
    const given = check.options(options, CHOICE);
    const [id, chosen] = [check.text("snapshotId", snapshotId), choose(given)];
    await call(given.signal, () => core.deleteSnapshot(id, chosen));
  }
}

module.exports = { Snapshot };
