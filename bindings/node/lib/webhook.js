"use strict";
// Webhooks: addresses that a service tells of what happens.
const check = require("./arguments.js");
const { CHOICE, choose } = require("./client.js");
const { toDateOrNull } = require("./handles.js");
const { ask, call, core } = require("./native.js");

const CREATE = { eventTypes: check.texts, ...CHOICE };

class Webhook {
  constructor() {
    throw check.wrongType("new Webhook()", undefined, "Webhook.create() and Webhook.list()");
  }
  static _of({ secret, ...record }) {
    const times = { lastDeliveryAt: toDateOrNull(record.lastDeliveryAt), createdAt: toDateOrNull(record.createdAt) };
    const out = Object.assign(Object.create(Webhook.prototype), record, times);
    return Object.defineProperty(out, "secret", { value: secret, enumerable: false }); // not in a log
  }
  static async create(url, options) {
    const given = check.options(options, CREATE);
    const [where, chosen] = [check.text("url", url), choose(given)];
    return Webhook._of(await call(given.signal, () => core.createWebhook(where, given.eventTypes ?? null, chosen)));
  }
  static async list(options) {
    const given = check.options(options, CHOICE);
    const chosen = choose(given);
    return (await call(given.signal, () => core.listWebhooks(chosen))).map(Webhook._of);
  }
  static async enable(webhookId, options) {
    const given = check.options(options, CHOICE);
    const [id, chosen] = [check.text("webhookId", webhookId), choose(given)];
    return Webhook._of(await call(given.signal, () => core.enableWebhook(id, chosen)));
  }
  static async delete(webhookId, options) {
    const given = check.options(options, CHOICE);
    const [id, chosen] = [check.text("webhookId", webhookId), choose(given)];
    await call(given.signal, () => core.deleteWebhook(id, chosen));
  }
}

// What a hostile sender put there is no reason to throw.
function verifyWebhookSignature(secret, body, signatureHeader) {
  const [key, bytes] = [check.text("secret", secret), check.content("body", body)];
  if (typeof signatureHeader !== "string") return false;
  return ask(() => core.verifyWebhookSignature(key, bytes, Buffer.from(signatureHeader, "utf8")));
}

module.exports = { Webhook, verifyWebhookSignature };
