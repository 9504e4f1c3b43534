// Compiled, never run: what the types promise. An `@ts-expect-error` line must be an error.
import { Readable } from "node:stream";
import orkestr, {
  type CodeExecution, type CodeStreamEvent, type Event, type ExecChunk, BackgroundCommand, Cancelled, CodeContext, ExecResult, ExecTimeout,
  FileNotFound, InvalidArgument, OrkestrClient, OrkestrError, Sandbox, SandboxNotFound, Template, getDefaultClient, pool,
  setDefaultClient,
} from "orkestr";

async function main(): Promise<void> {
  setDefaultClient(new OrkestrClient({ apiKey: "k", baseUrl: "https://x" }));
  const backend: "local" | "remote" = getDefaultClient().backend;
  await using sandbox = await Sandbox.create({ template: "python-3.12", memoryMb: 512, timeoutSeconds: 60, env: { A: "b" } });
  const other: Sandbox = await Sandbox.create("python-3.12", { signal: AbortSignal.timeout(1) });
  const answer: number = await Sandbox.withTemp({ template: "x" }, async (one) => (await one.exec("true")).exitCode);
  const result: ExecResult = await sandbox.exec("true", { cwd: "/tmp", env: new Map([["A", "b"]]) });
  const text: string = result.stdout;
  const bytes: Buffer = result.stdoutBytes;
  const command: BackgroundCommand = await sandbox.exec("true", { background: true });
  const code: number | null = await command.wait({ timeoutSeconds: 1 });
  for await (const chunk of sandbox.execStream(["ls"], { tty: true, stdin: true })) {
    const one: ExecChunk = chunk;
    if (one.isFinal) console.log(one.exitCode, one.durationMs);
  }
  for await (const chunk of command.stream({ offset: 3 })) console.log(chunk.data);
  await sandbox.run("cat", { stdin: Readable.from(["x"]), onStdout: (piece) => console.log(piece.length) });
  await sandbox.run(["cat"], { stdin: new Uint8Array(3), maxOutputBytes: 2048 });
  await sandbox.files.write("/workspace/x", Buffer.from("x"), { mode: 0o600 });
  await sandbox.files.writeBatch({ "/workspace/a": "x" });
  await sandbox.files.writeBatch([["/workspace/a", "x"]]);
  for await (const piece of sandbox.files.readStream("/workspace/x")) console.log(piece);
  const events: Event[] = await sandbox.events({ since: new Date() });
  for await (const event of sandbox.events({ follow: true })) console.log(event.time.getTime(), event.kind);
  const execution: CodeExecution = await sandbox.runCode("1", { language: "python", contextId: "default", timeoutSeconds: 1, signal: AbortSignal.timeout(1) });
  const png: Buffer | null | undefined = execution.results[0]?.png;
  for await (const event of sandbox.runCodeStream("1", { contextId: null })) {
    const one: CodeStreamEvent = event;
    console.log(one.kind === "done", one.stream, one.result?.json.a, one.error?.traceback.length, one.execution?.executionCount);
  }
  await using run = sandbox.runCodeStream("1");
  const context: CodeContext = await (await sandbox.createCodeContext({ cwd: "/tmp" })).restart();
  const shown: string | null = (await context.runCode("1", { timeoutSeconds: 1 })).text;
  console.log(png, shown, (await run.next()).value?.kind, (await sandbox.codeContexts())[0]?.lastUsedAt?.getTime());
  const [info] = await pool.list();
  console.log(info?.members[0]?.createdAt, (await Template.inspect("x")).parts.length, orkestr.version, other.status === "paused");
  try {
    await Sandbox.get("x");
  } catch (error) {
    if (error instanceof ExecTimeout) console.log(error.stdout, error.stderrBytes.length);
    if (error instanceof FileNotFound) { const wider: SandboxNotFound = error; console.log(wider); }
    if (error instanceof OrkestrError) console.log(error.code, error.statusCode, error.requestId);
    if (error instanceof InvalidArgument || error instanceof Cancelled) console.log(error.message);
  }
  // @ts-expect-error no such option
  await sandbox.exec("true", { timeout: 3 });
  // @ts-expect-error a number is no size
  await Sandbox.create({ template: "x", size: 3 });
  // @ts-expect-error attributes are read-only
  sandbox.id = "x";
  // @ts-expect-error made by create() only
  new Sandbox();
  // @ts-expect-error made by the sandbox only
  new CodeContext();
  // @ts-expect-error of this context, whatever the options say
  await context.runCode("1", { contextId: "x" });
  // @ts-expect-error a promise, not a list
  const wrong: Event[] = sandbox.events();
  // @ts-expect-error in the background there is no output yet
  (await sandbox.exec("true", { background: true })).stdout;
  console.log(backend, answer, text, bytes, code, events, wrong);
}
void main();
