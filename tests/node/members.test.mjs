// What index.d.ts declares is there when it runs: every export, every static and every method of a class, every property of an object.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { after, before, test } from "node:test";
import { ROOT, TEMPLATE, orkestr } from "./support.mjs";

const ts = createRequire(path.join(ROOT, "bindings/node/package.json"))("typescript");
const types = ts.createSourceFile("index.d.ts", readFileSync(path.join(ROOT, "bindings/node/index.d.ts"), "utf8"), ts.ScriptTarget.Latest, true);
const has = (node, kind) => (node.modifiers ?? []).some((one) => one.kind === kind);
const exported = types.statements.filter((one) => has(one, ts.SyntaxKind.ExportKeyword));
const classes = exported.filter(ts.isClassDeclaration);
const interfaces = exported.filter(ts.isInterfaceDeclaration);

// "iterator" of `[Symbol.iterator]`, else the name.
const keyOf = (member) => (ts.isComputedPropertyName(member.name) ? Symbol[member.name.expression.name.text] : member.name.text);
const isStatic = (member) => has(member, ts.SyntaxKind.StaticKeyword);
const named = (declared) => declared.members.filter((member) => member.name && !has(member, ts.SyntaxKind.PrivateKeyword));

test("every exported class, function and constant", () => {
  const names = exported.flatMap((one) => {
    if (ts.isVariableStatement(one)) return one.declarationList.declarations.map((declared) => declared.name.text);
    return ts.isClassDeclaration(one) || ts.isFunctionDeclaration(one) ? [one.name.text] : [];
  });
  assert.ok(names.length > 40, `only ${names.length} exports are declared: the test looks in the wrong place`);
  assert.deepEqual(names.filter((name) => orkestr[name] === undefined), []);
});

test("every static and every method", () => {
  const missing = [];
  let count = 0;
  for (const declared of classes) {
    const type = orkestr[declared.name.text];
    for (const member of named(declared)) {
      if (!ts.isMethodDeclaration(member) && !isStatic(member)) continue;
      const owner = isStatic(member) ? type : type.prototype;
      const key = keyOf(member);
      ++count;
      if (key !== undefined && !(ts.isMethodDeclaration(member) ? typeof owner[key] === "function" : key in owner)) missing.push(`${type.name}.${String(key)}`);
    }
  }
  assert.ok(count > 60, `only ${count} members are declared: the test looks in the wrong place`);
  assert.deepEqual(missing, []);
});

// An object of each, and of what is no class but given by one.
const samples = {};
let sandbox;
before(async () => {
  sandbox = await orkestr.Sandbox.create({ template: TEMPLATE });
  const chunks = [];
  const stream = sandbox.execStream("echo x");
  for await (const chunk of stream) chunks.push(chunk);
  const command = await sandbox.exec("echo x", { background: true });
  await command.wait();
  await sandbox.files.write("/tmp/x", "x");
  Object.assign(samples, {
    OrkestrClient: orkestr.getDefaultClient() ?? new orkestr.OrkestrClient({ backend: "local" }),
    Sandbox: sandbox,
    ExecResult: await sandbox.exec("true"),
    ExecChunk: chunks[0],
    ExecStream: stream,
    BackgroundCommand: command,
    CommandLogs: await command.logs(),
    FileEntry: (await sandbox.files.list("/tmp"))[0],
    FileStat: await sandbox.files.stat("/tmp"),
    BatchWriteResult: (await sandbox.files.writeBatch({ "/tmp/y": "y" }))[0],
    Event: (await sandbox.events())[0],
    SandboxMetrics: await sandbox.metrics(),
    SandboxLimits: await orkestr.Sandbox.limits(),
    TemplateInfo: await orkestr.Template.inspect(TEMPLATE),
  });
  samples.TemplatePart = samples.TemplateInfo.parts[0];
  for (const { name } of classes) {
    if (orkestr[name.text] === orkestr.OrkestrError || orkestr[name.text].prototype instanceof orkestr.OrkestrError) samples[name.text] = new orkestr[name.text]("x");
  }
});
after(() => sandbox?.terminate());

test("every property", () => {
  const missing = [];
  const unseen = [];
  for (const declared of [...classes, ...interfaces]) {
    const properties = named(declared).filter((member) => (ts.isPropertyDeclaration(member) || ts.isPropertySignature(member) || ts.isGetAccessor(member)) && !isStatic(member));
    const sample = samples[declared.name.text];
    if (sample === undefined && properties.length > 0) unseen.push(declared.name.text);
    if (sample === undefined) continue;
    missing.push(...properties.filter((member) => !(keyOf(member) in sample)).map((member) => `${declared.name.text}.${String(keyOf(member))}`));
  }
  assert.deepEqual(missing, []);
  // Those of a service, of the pool and of a build, which other tests look at; and what is given, not got.
  assert.deepEqual(
    unseen.filter((name) => !name.endsWith("Options")).sort(),
    [
      "ClientChoice", "CodeContext", "CodeError", "CodeExecution", "CodeResult", "CodeStreamEvent", "ErrorFields", "PoolInfo", "PoolMember", "PresignedURL",
      "Snapshot", "TemplateProgress", "Volume", "VolumeLifetime", "Webhook",
    ],
  );
});
