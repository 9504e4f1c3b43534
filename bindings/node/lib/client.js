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
  const native = partOf(OrkestrClient, client, "client");
  ask(() => core.setDefaultClient(native));
}

// Of every static call; besides them `signal`.
const CHOICE = {
  apiKey: check.text,
  client: (name, value) => partOf(OrkestrClient, value, name),
  signal: check.signal,
};

// The native client of a call: `client`, else a remote one for `apiKey`, else undefined for the default.
function choose({ client, apiKey }) {
  if (client !== undefined || apiKey === undefined) return client;
  return partOf(OrkestrClient, new OrkestrClient({ apiKey }));
}

module.exports = { CHOICE, OrkestrClient, choose, getDefaultClient, setDefaultClient };
