"use strict";
// What all streams have in common: the native one is pulled, by one consumer, when its descriptor says that there is something.
const { performance } = require("node:perf_hooks");
const { setImmediate: turn } = require("node:timers/promises");
const { Cancelled, fromNative } = require("./errors.js");
const { asyncDispose, hold, partOf } = require("./handles.js");
const { core } = require("./native.js");

const LONGEST_MS = 5;

// While there is always more to do, every `await` is a microtask: timers, sockets and signals would never have their turn.
class Breath {
  #last = performance.now();
  taken() {
    this.#last = performance.now();
  }
  get due() {
    return performance.now() - this.#last > LONGEST_MS;
  }
  async take() {
    await turn();
    this.taken();
  }
}

// `opening` is the native stream, or a promise of it where its sandbox has to be found first; `calls` are those of the native module
// for it. `reader` makes of each native item what next() gives, with `over` after the last, and has the `rest` when it breaks off.
class Puller {
  #native;
  #opening;
  #calls;
  #reader;
  #ready = []; // items, and last of all maybe an error
  #waiting = 0; // id of the wait for more
  #turn = Promise.resolve();
  #breath = new Breath();
  closed = false;

  constructor(opening, calls, reader) {
    this.#calls = calls;
    this.#reader = reader;
    if (!(opening instanceof Promise)) {
      this.#native = opening;
      return;
    }
    this.#opening = opening.then((native) => {
      this.#native = native;
      if (this.closed) calls.close(native);
      return native;
    });
    this.#opening.catch(() => {}); // next() tells
  }
  // undefined while it is being opened.
  get native() {
    return this.#native;
  }
  opened() {
    return this.#native ?? this.#opening;
  }

  // Calls of next() are answered one after the other.
  next() {
    const mine = this.#turn.then(() => this.#next());
    this.#turn = mine.catch(() => {});
    return mine;
  }
  async #next() {
    if (this.#native === undefined && !this.closed) await this.#opening;
    while (this.#ready.length === 0 && !this.closed) await this.#pull();
    if (this.#ready.length === 0) return { done: true, value: undefined };
    const item = this.#ready.shift();
    if (item instanceof Error) throw item;
    return { done: false, value: item };
  }

  async #pull() {
    if (this.#breath.due) {
      await this.#breath.take();
      if (this.closed) return;
    }
    let item;
    try {
      item = this.#calls.next(this.#native);
      if (item === undefined) {
        const [promise, id] = this.#calls.ready(this.#native);
        this.#waiting = id;
        await promise;
        this.#waiting = 0;
        this.#breath.taken();
        return;
      }
    } catch (thrown) {
      this.#ready.push(...this.#reader.rest(), fromNative(thrown));
      this.close();
      return;
    }
    if (item === null) {
      this.close();
      return;
    }
    this.#ready.push(...this.#reader.take(item));
    if (this.#reader.over) this.close();
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    if (this.#waiting !== 0) core.cancel(this.#waiting);
    if (this.#native !== undefined) this.#calls.close(this.#native);
  }
}

// A stream that is read and nothing more. Leaving the loop, and an aborted signal, leave alone what it is the output of.
class OutputStream {
  constructor(puller, signal) {
    const abort = signal && (() => this.close());
    hold(this, { puller, signal, stop: () => signal?.removeEventListener("abort", abort) });
    signal?.addEventListener("abort", abort, { once: true });
  }
  [Symbol.asyncIterator]() {
    partOf(OutputStream, this);
    return this;
  }
  async next() {
    const { puller, signal, stop } = partOf(OutputStream, this);
    try {
      const item = await puller.next();
      if (signal?.aborted) throw Cancelled.bySignal(signal);
      if (puller.closed) stop();
      return item;
    } catch (error) {
      stop();
      throw signal?.aborted ? Cancelled.bySignal(signal) : error;
    }
  }
  async return(value) {
    this.close();
    return { done: true, value };
  }
  close() {
    const { puller, stop } = partOf(OutputStream, this);
    stop();
    puller.close();
  }
  async [asyncDispose]() {
    this.close();
  }
}

module.exports = { Breath, OutputStream, Puller };
