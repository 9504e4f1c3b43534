"use strict";
// Clients: where sandboxes run.
const check = require("./arguments.js");
const { InvalidArgumentRange } = require("./errors.js");
const { asyncDispose, hold, make, partOf } = require("./handles.js");
const { ask, call, core } = require("./native.js");

const CHECKS = { apiKey: check.text, baseUrl: check.text, timeout: check.seconds, backend: check.text };

class OrkestrClient {
  constructor(options) {
    const { apiKey, baseUrl, timeout = 30, backend } = check.options(options, CHECKS);
    if (backend !== undefined && backend !== "local" && backend !== "remote") {
      throw new InvalidArgumentRange(`backend is '${backend}'; allowed: 'local', 'remote'`);
    }
    const chosen = backend ?? (apiKey !== undefined || baseUrl !== undefined ? "remote" : "automatic");
    hold(this, ask(() => core.openClient(chosen, apiKey ?? "", baseUrl ?? "", timeout)));
  }

  get backend() {
    const native = partOf(OrkestrClient, this);
    return ask(() => core.clientBackend(native));
  }

  async close() {
    const native = partOf(OrkestrClient, this);
    await call(undefined, () => core.closeClient(native));
  }

  [asyncDispose]() {
    return this.close();
  }
}

function getDefaultClient() {
  return make(OrkestrClient, ask(() => core.getDefaultClient()));
}

function setDefaultClient(client) {
  const native = client == null ? undefined : partOf(OrkestrClient, client, "client");
  ask(() => core.setDefaultClient(native));
}

// Of every static call; besides them `signal`.
const CHOICE = {
  apiKey: check.text,
  client: (name, value) => partOf(OrkestrClient, value, name),
  signal: check.signal,
};

// A client has a thread and connections: calls with the same key share one. Those that are not kept any more go when no sandbox
// uses them.
const MOST_CLIENTS = 16;
const byKey = new Map(); // the one used last is the last

function clientFor(apiKey) {
  const key = JSON.stringify([process.env.ORKESTR_BASE_URL ?? null, apiKey]);
  const client = byKey.get(key) ?? partOf(OrkestrClient, new OrkestrClient({ apiKey }));
  byKey.delete(key);
  byKey.set(key, client);
  if (byKey.size > MOST_CLIENTS) byKey.delete(byKey.keys().next().value);
  return client;
}

// The native client of a call: `client`, else a remote one for `apiKey`, else undefined for the default.
function choose({ client, apiKey }) {
  return client !== undefined || apiKey === undefined ? client : clientFor(apiKey);
}

module.exports = { CHOICE, OrkestrClient, choose, getDefaultClient, setDefaultClient };
