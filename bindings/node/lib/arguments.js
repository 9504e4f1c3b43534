"use strict";
// Types of arguments, checked before anything is sent. Ranges are the native library's business: one place decides.
//
// A check is a function (name, value) that returns what the native module takes, or throws an InvalidArgument that names the
// argument, the value and what is allowed.
const { inspect, types } = require("node:util");
const { InvalidArgument, InvalidArgumentRange, InvalidArgumentType } = require("./errors.js");
const { core } = require("./native.js");

const MOST_SECONDS = 1e9; // beyond every limit of the library, within its integers
// What the library allows, for values that do not even fit into its integers.
const ALLOWED = { memoryMb: "256 to 65536 MiB", diskMb: "8192 to 131072 MiB" };

function shown(value) {
  let text;
  try {
    text = inspect(value, { depth: 0, breakLength: Infinity, maxArrayLength: 8, maxStringLength: 64, customInspect: false });
  } catch {
    text = `a ${typeof value}`;
  }
  return text.length <= 80 ? text : `${text.slice(0, 77)}...`;
}

function wrongType(name, value, allowed) {
  return new InvalidArgumentType(`${name} is ${shown(value)}; allowed: ${allowed}`);
}

function wrongValue(name, value, allowed) {
  return new InvalidArgumentRange(`${name} is ${shown(value)}; allowed: ${allowed}`);
}

function text(name, value) {
  if (typeof value !== "string") throw wrongType(name, value, "a string");
  return wellFormed(name, value);
}

const LONE_SURROGATE = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/;
function wellFormed(name, value) {
  if (value.isWellFormed?.() ?? !LONE_SURROGATE.test(value)) return value;
  const at = value.search(LONE_SURROGATE);
  throw new InvalidArgumentRange(`${name} has a lone surrogate at index ${at}; allowed: text that UTF-8 can encode`);
}

// A path in the guest: text, or bytes for a name that is not UTF-8.
function path(name, value) {
  if (typeof value === "string") return wellFormed(name, value);
  if (ArrayBuffer.isView(value)) return bytes(name, value);
  throw wrongType(name, value, "a string, or a Buffer for a path that is not UTF-8");
}

function texts(name, value) {
  return reading(name, () => {
    if (!Array.isArray(value)) throw wrongType(name, value, "an array of strings");
    return Array.from(value, (item, index) => text(`${name}[${index}]`, item));
  });
}

// An object's own properties as pairs, or a Map.
function textMap(name, value) {
  return reading(name, () => {
    if (value instanceof Map) {
      return Array.from(value, ([key, item]) => [text(`a key of ${name}`, key), text(`${name}.${String(key)}`, item)]);
    }
    if (typeof value !== "object" || Array.isArray(value)) throw wrongType(name, value, "an object of strings, or a Map");
    return Object.keys(value).map((key) => [text(`a key of ${name}`, key), text(`${name}.${key}`, get(`${name}.${key}`, value, key))]);
  });
}

// Bytes, or text as UTF-8.
function content(name, value) {
  return typeof value === "string" ? Buffer.from(wellFormed(name, value), "utf8") : bytes(name, value, "a string or bytes");
}

// A copy: what is sent is sent later, and the memory is the caller's as soon as the call has returned.
function bytes(name, value, allowed = "bytes") {
  const isBuffer = types.isAnyArrayBuffer(value);
  if (!isBuffer && !ArrayBuffer.isView(value)) {
    throw wrongType(name, value, `${allowed} (Buffer, Uint8Array or another view, ArrayBuffer)`);
  }
  const memory = isBuffer ? value : value.buffer;
  if (!types.isSharedArrayBuffer(memory) && core.isDetached(memory)) {
    throw new InvalidArgumentType(`${name} is detached: its memory was transferred away; allowed: ${allowed}`);
  }
  return Buffer.from(isBuffer ? new Uint8Array(memory) : new Uint8Array(memory, value.byteOffset, value.byteLength));
}

function integer(name, value) {
  return integerIn(-(2 ** 31), 2 ** 31 - 1)(name, value);
}
function integerIn(low, high) {
  return (name, value) => {
    if (typeof value !== "number") throw wrongType(name, value, "an integer");
    if (!Number.isInteger(value) || value < low || value > high) {
      throw new InvalidArgumentRange(`${name} is ${value}; allowed: an integer from ${ALLOWED[name] ?? `${low} to ${high}`}`);
    }
    return value;
  };
}
const offset = integerIn(0, Number.MAX_SAFE_INTEGER);

function number(name, value) {
  if (typeof value !== "number") throw wrongType(name, value, "a number");
  if (!Number.isFinite(value)) throw new InvalidArgumentRange(`${name} is ${value}; allowed: a finite number`);
  return value;
}

function flag(name, value) {
  if (typeof value !== "boolean") throw wrongType(name, value, "true or false");
  return value;
}

// Whole seconds, rounded up: what is asked for is the least that is given.
function seconds(name, value) {
  return Math.ceil(Math.max(-MOST_SECONDS, Math.min(number(name, value), MOST_SECONDS)));
}
function milliseconds(name, value) {
  return Math.ceil(Math.max(-MOST_SECONDS, Math.min(number(name, value), MOST_SECONDS)) * 1000);
}

// A moment, as milliseconds since the epoch.
function moment(name, value) {
  const time = types.isDate(value) ? Date.prototype.getTime.call(value) : value;
  if (typeof time !== "number") throw wrongType(name, value, "a Date, or milliseconds since 1970");
  if (!(Math.abs(time) <= 8.64e15)) throw new InvalidArgumentRange(`${name} is ${time}; allowed: a valid Date`);
  return time;
}

function callback(name, value) {
  if (typeof value !== "function") throw wrongType(name, value, "a function");
  return value;
}

function signal(name, value) {
  if (!(value instanceof AbortSignal)) throw wrongType(name, value, "an AbortSignal");
  return value;
}

const anything = (name, value) => value;

// The properties of `value` that `checks` names, read once each and checked; undefined and null are absent. A name that is not
// there is a mistake, not something to pass over.
function options(value, checks) {
  if (value === undefined || value === null) return {};
  const keys = reading("options", () => {
    if (typeof value !== "object" || Array.isArray(value)) throw wrongType("options", value, "an object");
    return Object.keys(value);
  });
  for (const key of keys) {
    if (!Object.hasOwn(checks, key)) {
      throw new InvalidArgumentType(`options has ${shown(key)}, which is no option here; allowed: ${Object.keys(checks).join(", ")}`);
    }
  }
  const out = {};
  for (const [name, check] of Object.entries(checks)) {
    const given = get(name, value, name);
    if (given !== undefined && given !== null) out[name] = check(name, given);
  }
  return out;
}

function get(name, object, key) {
  return reading(name, () => object[key]);
}

// Reading a value may run code of its owner's, a getter or a proxy. What that throws is about the argument.
function reading(name, read) {
  try {
    return read();
  } catch (error) {
    if (error instanceof InvalidArgument) throw error;
    throw new InvalidArgumentType(`${name} cannot be read: ${error?.message ?? shown(error)}`, { cause: error });
  }
}

module.exports = {
  anything, bytes, callback, content, flag, get, integer, milliseconds, moment, number, offset, options, path, reading, seconds,
  signal, text, textMap, texts, wrongType, wrongValue,
};
