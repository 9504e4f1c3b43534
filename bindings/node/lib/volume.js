"use strict";
// Volumes: storage that outlives sandboxes.
const check = require("./arguments.js");
const { CHOICE, choose } = require("./client.js");
const { InvalidArgumentRange } = require("./errors.js");
const { toDateOrNull } = require("./handles.js");
const { call, core } = require("./native.js");

const LIFETIME = { maxLifetimeDays: check.integer, maxLifetimeHours: check.integer };
const CREATE = { sizeGb: check.number, region: check.text, ...LIFETIME, ...CHOICE };

// Null is a value here, "no end", and so is told from what is left out.
function lifetimeOf(options) {
  const given = Object.keys(LIFETIME).filter((name) => check.get(name, options ?? {}, name) !== undefined);
  if (given.length !== 1) {
    throw new InvalidArgumentRange("maxLifetimeDays and maxLifetimeHours: give exactly one of them, null to let the volume live on");
  }
  return given[0];
}

class Volume {
  constructor() {
    throw check.wrongType("new Volume()", undefined, "Volume.create() and Volume.list()");
  }
  static _of(record) {
    return Object.assign(Object.create(Volume.prototype), record, { expiresAt: toDateOrNull(record.expiresAt) });
  }
  static async create(name, options) {
    const given = check.options(options, CREATE);
    const { sizeGb = 10, region = "", maxLifetimeDays = null, maxLifetimeHours = null } = given;
    const [called, chosen] = [check.text("name", name), choose(given)];
    return Volume._of(await call(given.signal, () => core.createVolume(called, sizeGb, region, maxLifetimeDays, maxLifetimeHours, chosen)));
  }
  static async update(volumeId, options) {
    const given = check.options(options, { ...LIFETIME, ...CHOICE });
    const name = lifetimeOf(options);
    const [id, chosen] = [check.text("volumeId", volumeId), choose(given)];
    return Volume._of(await call(given.signal, () => core.updateVolume(id, name === "maxLifetimeHours", given[name] ?? null, chosen)));
  }
  static async move(volumeId, region, options) {
    const given = check.options(options, CHOICE);
    const [id, where, chosen] = [check.text("volumeId", volumeId), check.text("region", region), choose(given)];
    return Volume._of(await call(given.signal, () => core.moveVolume(id, where, chosen)));
  }
  static async list(options) {
    const given = check.options(options, CHOICE);
    const chosen = choose(given);
    return (await call(given.signal, () => core.listVolumes(chosen))).map(Volume._of);
  }
  static async delete(volumeId, options) {
    const given = check.options(options, CHOICE);
    const [id, chosen] = [check.text("volumeId", volumeId), choose(given)];
    await call(given.signal, () => core.deleteVolume(id, chosen));
  }
}

module.exports = { Volume };
