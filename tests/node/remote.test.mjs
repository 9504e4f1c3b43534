// The remote backend from Node, whose own OpenSSL is in the process beside the library's GnuTLS: against the test service, in plain
// HTTP and with TLS.
import assert from "node:assert/strict";
import { test } from "node:test";
import { runScript, startService } from "./support.mjs";

const LIFE = `
  import { Sandbox, getDefaultClient, OrkestrClient } from "orkestr";
  const sandbox = await Sandbox.create("python-3.12");
  console.log(sandbox.backend, getDefaultClient().backend, (await sandbox.exec("echo ok; exit 3")).exitCode);
  await sandbox.files.write("/workspace/x", Buffer.from([0, 255, 10]));
  console.log((await sandbox.files.readBytes("/workspace/x")).toString("hex"));
  let text = "";
  for await (const chunk of sandbox.execStream("echo a; echo é")) text += chunk.data;
  console.log(JSON.stringify(text));
  await sandbox.terminate();
  console.log(sandbox.status);
`;
const LIVED = 'remote remote 3\n00ff0a\n"a\\né\\n"\nterminated\n';

test("a life over HTTP", async () => {
  const { env } = await startService();
  const { exitCode, stdout, stderr } = await runScript(LIFE, { env });
  assert.deepEqual([exitCode, stdout, stderr], [0, LIVED, ""]);
});

test("TLS: a trusted certificate works, beside TLS of Node's own; an unknown one is refused", async () => {
  const service = await startService("--tls");
  const own = `
    import https from "node:https"; import { readFileSync } from "node:fs";
    const ca = readFileSync(process.env.SSL_CERT_FILE);
    const ask = () => new Promise((resolve, reject) => https.get(process.env.ORKESTR_BASE_URL + "/v1/none", { ca }, (answer) => { answer.resume(); answer.on("end", () => resolve(answer.statusCode)); }).on("error", reject));
    console.log("own", (await ask()) >= 400);
    ${LIFE}
    console.log("own", (await Promise.all([ask(), ask()])).every((code) => code >= 400));`;
  const good = await runScript(own, { env: { ...service.env, SSL_CERT_FILE: service.caFile } });
  assert.deepEqual([good.exitCode, good.stdout, good.stderr], [0, `own true\n${LIVED}own true\n`, ""]);
  const bad = await runScript(
    `import { Sandbox } from "orkestr";
     try { await Sandbox.create("python-3.12"); } catch (error) { console.log(error.name, error.code, /certificate/i.test(error.message)); }`,
    { env: { ...service.env, SSL_CERT_FILE: undefined, SSL_CERT_DIR: undefined } },
  );
  assert.deepEqual([bad.exitCode, bad.stdout], [0, "ConnectionError connection true\n"]);
});

test("calls with the same key share a client", async () => {
  const { env } = await startService();
  const { exitCode, stdout, stderr } = await runScript(
    `import { Sandbox } from "orkestr"; import { readdirSync } from "node:fs";
     const { ORKESTR_API_KEY: apiKey } = process.env;
     const threads = () => readdirSync("/proc/self/task").length;
     await Sandbox.list({ apiKey });
     const before = threads();
     for (let i = 0; i < 30; ++i) await Sandbox.list({ apiKey });
     console.log(threads() - before);`,
    { env },
  );
  // (Node and the resolver have threads that come and go; clients of their own would be 30.)
  assert.ok(exitCode === 0 && Number(stdout) < 10, `${stdout} threads more ${stderr}`);
});

test("errors of a service", async () => {
  const { env } = await startService();
  const { stdout } = await runScript(
    `import { OrkestrClient, Sandbox, setDefaultClient } from "orkestr";
     setDefaultClient(new OrkestrClient({ apiKey: "wrong", baseUrl: process.env.ORKESTR_BASE_URL }));
     try { await Sandbox.list(); } catch (error) { console.log(error.name, error.code, error.statusCode, error.message.includes("wrong")); }
     setDefaultClient(null);
     console.log((await Sandbox.list()).length);
     const client = new OrkestrClient({ apiKey: "test-key", baseUrl: process.env.ORKESTR_BASE_URL });
     try { await Sandbox.get("sbx_01ARZ3NDEKTSV4RRFFQ69G5FAV", { client }); } catch (error) { console.log(error.name, error.code, error.statusCode); }`,
    { env },
  );
  assert.equal(stdout, "AuthError unauthorized 401 false\n0\nSandboxNotFound not_found 404\n");
});
