"use strict";
const errors = require("./errors.js");
const { OrkestrClient, getDefaultClient, setDefaultClient } = require("./client.js");
const { CodeContext, CodeStream } = require("./code.js");
const { BackgroundCommand, CommandLogs, LogStream } = require("./command.js");
const { FileReader, FileWriter, Files } = require("./files.js");
const pool = require("./pool.js");
const { ExecChunk, ExecResult, ExecStream } = require("./process.js");
const { Sandbox } = require("./sandbox.js");
const { Snapshot } = require("./snapshot.js");
const { Template } = require("./template.js");
const { Volume } = require("./volume.js");
const { Webhook, verifyWebhookSignature } = require("./webhook.js");
const { version } = require("../package.json");

const { InvalidArgumentType, InvalidArgumentRange, fromNative, ...classes } = errors;

module.exports = {
  BackgroundCommand, CodeContext, CodeStream, CommandLogs, ExecChunk, ExecResult, ExecStream, FileReader, FileWriter, Files, LogStream,
  OrkestrClient, Sandbox, Snapshot, Template, Volume, Webhook, getDefaultClient, pool, setDefaultClient, verifyWebhookSignature, version,
  ...classes,
};
