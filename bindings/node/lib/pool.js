"use strict";
// The warm pool of this machine: machines that are ready before anybody asks for a sandbox.
const check = require("./arguments.js");
const { toDate } = require("./handles.js");
const { call, core } = require("./native.js");

const SIGNAL = { signal: check.signal };
const SET = {
  size: check.text, cpu: check.number, memoryMb: check.integer, diskMb: check.integer, idleSeconds: check.seconds,
  minAvailableMb: check.integer, ...SIGNAL,
};
const toInfo = (record) => ({
  ...record,
  members: record.members.map((member) => ({ ...member, createdAt: toDate(member.createdAt) })),
});

async function set(template, count = 1, options) {
  const { signal, ...machine } = check.options(options, SET);
  const [name, many] = [check.text("template", template), check.integer("count", count)];
  return toInfo(await call(signal, () => core.setPool(name, many, machine)));
}

async function list(options) {
  const { signal } = check.options(options, SIGNAL);
  return (await call(signal, () => core.listPools())).map(toInfo);
}

async function clear(template, options) {
  const { signal } = check.options(options, SIGNAL);
  const name = template === undefined || template === null ? "" : check.text("template", template);
  return call(signal, () => core.clearPool(name));
}

module.exports = { clear, list, set };
