"use strict";
// What the public objects hold and nobody else may touch: the native handle and what belongs to it.
const { wrongType } = require("./arguments.js");

const parts = new WeakMap();

// Makes an object of `type` that holds `part`, past its constructor.
function make(type, part) {
  const object = Object.create(type.prototype);
  parts.set(object, part);
  return object;
}

function hold(object, part) {
  parts.set(object, part);
}

// What `object` holds. `name` is what a person calls the argument, "this" in methods.
function partOf(type, object, name = "this") {
  const part = object instanceof type ? parts.get(object) : undefined;
  if (part === undefined) {
    throw wrongType(name, object, `a ${type.name} that this copy of orkestr made${name === "this" ? "; call it as a method" : ""}`);
  }
  return part;
}

function toDate(ms) {
  return new Date(Math.max(-8.64e15, Math.min(ms, 8.64e15)));
}
const toDateOrNull = (ms) => (ms === null ? null : toDate(ms));

const asyncDispose = Symbol.asyncDispose ?? Symbol.for("nodejs.asyncDispose");
const dispose = Symbol.dispose ?? Symbol.for("nodejs.dispose");

module.exports = { asyncDispose, dispose, hold, make, partOf, toDate, toDateOrNull };
