/// <reference types="node" />
// The types of the package, and its manual. Times are Dates, `Mb` is MiB, paths are absolute paths in the sandbox.
//
// Every function that takes options takes a `signal`: aborted, it ends what the call began (of a command the whole process tree)
// and the call throws `Cancelled`, whose `name` is "AbortError". A wrong argument throws `InvalidArgument` before anything is sent.
import { Readable, Writable } from "node:stream";

/** Bytes: a Buffer, a Uint8Array or another view, an ArrayBuffer. What is in it is copied when the function is called. */
export type Bytes = ArrayBuffer | SharedArrayBuffer | NodeJS.ArrayBufferView;
/** A path in the sandbox; a Buffer where it is not UTF-8. */
export type Path = string | NodeJS.ArrayBufferView;
export type Network = "off" | "restricted" | "open";
export type Size = "small" | "medium" | "large";
export type OnTimeout = "kill" | "pause";
export type Status = "starting" | "running" | "pausing" | "paused" | "resuming" | "terminated" | "failed";
export type Backend = "local" | "remote";
export type TextMap = Readonly<Record<string, string>> | ReadonlyMap<string, string>;

/** The version of the package. */
export const version: string;

export interface SignalOptions {
  signal?: AbortSignal | null;
}
/** Which backend a static call is for. Decided in this order: `client`, `apiKey`, the default client, the environment, local. */
export interface ClientChoice extends SignalOptions {
  client?: OrkestrClient | null;
  /** Of a service; chooses the remote backend. */
  apiKey?: string | null;
}

export interface ClientOptions {
  /** Of the service; either of this and `baseUrl` chooses the remote backend. */
  apiKey?: string | null;
  baseUrl?: string | null;
  /** Of one request to the service, in seconds; 30. */
  timeout?: number | null;
  /** Nothing: remote when a key or URL is given, else what the environment says, else local. */
  backend?: Backend | null;
}

/** The choice of a backend, carried explicitly. Calls that are given none use {@link getDefaultClient}. */
export class OrkestrClient implements AsyncDisposable {
  /** @throws {AuthError} remote without a key. */
  constructor(options?: ClientOptions | null);
  readonly backend: Backend;
  /** Ends its thread; open operations throw `Cancelled`. Sandboxes live on. May be called again. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}
/** The client of calls that are given none; made at the first such call. One for all threads of the process. */
export function getDefaultClient(): OrkestrClient;
/** Null: the next such call makes a new one. */
export function setDefaultClient(client: OrkestrClient | null): void;

export interface CreateOptions extends ClientChoice {
  /** Name of a template, "python-3.12-bare". Exactly one of this and `snapshot`. */
  template?: string | null;
  /** "small" (1 vCPU, 1024 MiB, the default), "medium" (2, 4096), "large" (4, 8192). */
  size?: Size | null;
  /** CPUs, 0.25 to 16; overrides `size`. */
  cpu?: number | null;
  /** MiB, 256 to 65536; overrides `size`. */
  memoryMb?: number | null;
  /** MiB, 8192 (the default) to 131072; what is not written takes no space on the host. */
  diskMb?: number | null;
  /** "off" unless said otherwise. */
  network?: Network | null;
  /** Life span: 600; 10 to 86400 locally. Fractions are rounded up. */
  timeoutSeconds?: number | null;
  onTimeout?: OnTimeout | null;
  /** An operation on the paused sandbox resumes it first. */
  autoResume?: boolean | null;
  /** How long it is kept when paused, 60 or more; nothing: until it is resumed or terminated. */
  pausedTtlSeconds?: number | null;
  previewAuth?: boolean | null;
  /** Environment of every command; 64 KiB in all. */
  env?: TextMap | null;
  /** Yours, for `list`; at most 64 entries, 16 KiB in all. */
  metadata?: TextMap | null;
  region?: string | null;
  /** Replaces the list of `restricted`; an empty one allows nothing. */
  allowDomains?: readonly string[] | null;
  volume?: string | null;
  snapshot?: string | null;
  /** Attempts while the host or the fleet is full, 5, and seconds after which none begins, 60 (of a service: of pauses in all). */
  maxRetries?: number | null;
  retryMaxSeconds?: number | null;
  /** Build the template first when that was never done, which takes minutes (see {@link Template} for what it needs); true. */
  autoBuild?: boolean | null;
  /** Of that build. Nothing shows a bar where stderr is a terminal, else writes one line there. What it throws ends the build. */
  onProgress?: ((progress: TemplateProgress) => void) | null;
}

export interface ListOptions extends ClientChoice {
  status?: Status | null;
  /** Only those whose metadata has all of these. */
  metadata?: TextMap | null;
  /** Page size, 1 to 200. */
  limit?: number | null;
  /** Stop after so many; nothing: all. */
  maxResults?: number | null;
}
export interface ResumeOptions extends ClientChoice {
  maxRetries?: number | null;
  retryMaxSeconds?: number | null;
}

export interface ExecOptions extends SignalOptions {
  /** Working directory; "/workspace". */
  cwd?: string | null;
  /** Over the sandbox's own environment. */
  env?: TextMap | null;
  /** 60; 0.001 to 86400; then the whole process tree ends. Not of background commands, which have none, as on a service. */
  timeoutSeconds?: number | null;
}
export interface TerminalOptions {
  /** Name or number in the guest; nothing: root. */
  user?: string | null;
  /** A terminal for all three streams; all output comes as stdout. */
  tty?: boolean | null;
  /** Its size, 1 to 1000 each: 80, 24. */
  cols?: number | null;
  rows?: number | null;
}
export interface RunOptions extends ExecOptions, TerminalOptions {
  /** Standard input: text, bytes, or pieces of them that are written as fast as the command reads. Nothing: /dev/null. */
  stdin?: string | Bytes | Iterable<string | Bytes> | AsyncIterable<string | Bytes> | null;
  /** How much of each stream is kept, 1 KiB to 1 GiB, 64 MiB: the first and the last half. */
  maxOutputBytes?: number | null;
  /** Called with each piece of text as it comes; a promise is waited for. What it throws ends the command and passes on. */
  onStdout?: ((text: string) => unknown) | null;
  onStderr?: ((text: string) => unknown) | null;
}
export interface ExecStreamOptions extends ExecOptions, TerminalOptions {
  /** True: stays open for `write`. Text or bytes: all that there is to read. Nothing, false: /dev/null. */
  stdin?: boolean | string | Bytes | null;
}

/** How a command ended. A non-zero exit code is a result, not an error. */
export class ExecResult {
  private constructor();
  /** Text; bytes that are not UTF-8 show as U+FFFD. */
  readonly stdout: string;
  readonly stderr: string;
  /** 0 to 255; 128 + n where a shell reports that its command died by signal n. */
  readonly exitCode: number;
  readonly durationMs: number;
  readonly stdoutBytes: Buffer;
  readonly stderrBytes: Buffer;
  /** How much there was; more than is here when `truncated`. */
  readonly stdoutTotalBytes: number;
  readonly stderrTotalBytes: number;
  readonly truncated: boolean;
  /** CPU time; 0, as `maxRssKb`, where `run` had callbacks, a terminal or pieces of input. */
  readonly userMs: number;
  readonly systemMs: number;
  readonly maxRssKb: number;
  /** Hosts that the network policy refused to the command. */
  readonly networkDenied: string[];
}

/** A piece of a running command's output, or, when `isFinal`, how it ended. */
export class ExecChunk {
  private constructor();
  readonly stream: "stdout" | "stderr";
  /** A character that arrived in two pieces is whole in one chunk. Empty in the final chunk. */
  readonly data: string;
  /** The bytes that `data` stands for; those of all chunks together are the output, exactly. */
  readonly dataBytes: Buffer;
  readonly exitCode: number | null;
  readonly durationMs: number | null;
  readonly isFinal: boolean;
}

/**
 * The output of a running command, and its input. Reading slowly slows the command down. Leaving the loop and `close` detach: the
 * command runs on until its own timeout. `cancel` and an aborted signal end it.
 */
export class ExecStream implements AsyncIterableIterator<ExecChunk>, AsyncDisposable {
  private constructor();
  /** @throws {ExecTimeout} {@link ExecKilled}, {@link Cancelled}, {@link ConnectionError}, {@link VmError} */
  next(): Promise<IteratorResult<ExecChunk, undefined>>;
  return(value?: unknown): Promise<IteratorResult<ExecChunk, undefined>>;
  [Symbol.asyncIterator](): this;
  /**
   * Gives all of `data` to a command that was started with `stdin: true` or `tty: true`; waits while it does not read. Calls are
   * served in order. @throws {ExecTimeout} when `timeoutSeconds` have passed.
   */
  write(data: string | Bytes, options?: ({ timeoutSeconds?: number | null } & SignalOptions) | null): Promise<void>;
  /** After what was written: the command reads end of file, a terminal gets its end-of-file character. */
  closeInput(): Promise<void>;
  /** The terminal's new size; only with `tty: true`. */
  resize(cols: number, rows: number): void;
  /** In the guest; 0 until the command has started, and after `close`. */
  readonly pid: number;
  cancel(): void;
  close(): void;
  [Symbol.asyncDispose](): Promise<void>;
}

export type CommandStatus = "running" | "exited" | "killed";
/** A command that runs on by itself: past the call that started it, past its caller, past pause and resume. */
export class BackgroundCommand {
  private constructor();
  /** As of the last call that learned of it. */
  readonly id: string;
  /** Of a long one the first 8 KiB. */
  readonly command: string;
  readonly pid: number | null;
  readonly status: CommandStatus;
  readonly exitCode: number | null;
  readonly startedAt: Date | null;
  /** @throws {SandboxNotFound} when its record is not kept any more. */
  refresh(options?: SignalOptions | null): Promise<this>;
  /** SIGTERM to all that it started, SIGKILL two seconds later. May be called again. */
  kill(options?: SignalOptions | null): Promise<void>;
  /** Its exit code, null when it was killed. `pollSeconds` (1): the longest pause between two looks. @throws {ExecTimeout} */
  wait(options?: ({ pollSeconds?: number | null; timeoutSeconds?: number | null } & SignalOptions) | null): Promise<number | null>;
  /** At most 1 MiB of its output, from byte `offset` on; the newest 4 MiB are kept locally. */
  logs(options?: ({ offset?: number | null } & SignalOptions) | null): Promise<CommandLogs>;
  /** Its output as it comes until it has ended, for at most `timeoutSeconds` (300). */
  stream(options?: ({ offset?: number | null; timeoutSeconds?: number | null } & SignalOptions) | null): LogStream;
}
export class CommandLogs {
  private constructor();
  /** Text, ending with a whole character while there is more to come. */
  readonly content: string;
  readonly contentBytes: Buffer;
  /** Bytes written in all. */
  readonly size: number;
  /** There is more: before `size`, or the beginning is not kept any more. */
  readonly truncated: boolean;
  readonly startOffset: number;
  /** Where to read on. */
  readonly nextOffset: number;
}
/** The output of a background command as it comes. Leaving it leaves the command alone. */
export class LogStream implements AsyncIterableIterator<ExecChunk>, AsyncDisposable {
  private constructor();
  next(): Promise<IteratorResult<ExecChunk, undefined>>;
  return(value?: unknown): Promise<IteratorResult<ExecChunk, undefined>>;
  [Symbol.asyncIterator](): this;
  close(): void;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface CodeOptions extends SignalOptions {
  /** "python"; what else there is depends on the template. */
  language?: string | null;
  /** Of a {@link CodeContext}; nothing: the context "default". */
  contextId?: string | null;
  /** 60; 0.001 to 86400; then the run is interrupted. */
  timeoutSeconds?: number | null;
}
/** One rich result: all forms in which the interpreter gave it. */
export interface CodeResult {
  /** The richest of them; a later version of the service may have more. */
  readonly type: "text" | "html" | "image_png" | "json" | "chart" | (string & {});
  readonly text: string | null;
  readonly html: string | null;
  readonly png: Buffer | null;
  /** Any value of JSON, parsed. */
  readonly json: any;
  /** What a figure shows, as data. */
  readonly chart: any;
}
/** The exception that the code ended with: a result, not an error of the call. What was done up to it is kept. */
export interface CodeError {
  /** "ZeroDivisionError" */
  readonly name: string;
  /** "division by zero" */
  readonly value: string;
  readonly traceback: string[];
}
export interface CodeExecution {
  readonly results: CodeResult[];
  readonly stdout: string;
  readonly stderr: string;
  readonly error: CodeError | null;
  /** The number of this run in its context. */
  readonly executionCount: number | null;
  readonly contextId: string;
  readonly durationMs: number;
  /** The timeout passed: the run was ended, the context's variables are kept. */
  readonly interrupted: boolean;
  /** The interpreter had died and was started anew: the variables are lost. */
  readonly restarted: boolean;
  /** Which outputs the service has cut. */
  readonly truncated: string[];
  /** Of the last result that has one: what the last expression shows. */
  readonly text: string | null;
}
/** An event of a run. What its kind does not have is null. */
export interface CodeStreamEvent {
  /** "stream": `stream` and `text`; "result"; "error": the code raised, "done" still comes; "done": `execution`, as `runCode` gives it. */
  readonly kind: "stream" | "result" | "error" | "done";
  readonly stream: "stdout" | "stderr" | null;
  readonly text: string | null;
  readonly result: CodeResult | null;
  readonly error: CodeError | null;
  readonly execution: CodeExecution | null;
}
/** The events of a run as they come. Reading slowly slows it down; left, closed or aborted, it goes on until its own timeout. */
export class CodeStream implements AsyncIterableIterator<CodeStreamEvent>, AsyncDisposable {
  private constructor();
  /** @throws {InterpreterUnavailable} {@link SandboxNotFound} for an unknown context, {@link SandboxNotReady}, {@link ConnectionError} */
  next(): Promise<IteratorResult<CodeStreamEvent, undefined>>;
  return(value?: unknown): Promise<IteratorResult<CodeStreamEvent, undefined>>;
  [Symbol.asyncIterator](): this;
  close(): void;
  [Symbol.asyncDispose](): Promise<void>;
}
/**
 * An interpreter with variables of its own, made by `sandbox.createCodeContext` and found again, from any process, by
 * `sandbox.codeContexts`. It survives pause and resume, and ends with the sandbox.
 */
export class CodeContext {
  private constructor();
  /** As of the creation or the list; `alive` also as of the last `restart`. */
  readonly id: string;
  readonly language: string;
  readonly cwd: string | null;
  readonly createdAt: Date | null;
  readonly lastUsedAt: Date | null;
  /** So far. */
  readonly executions: number;
  /** Its interpreter runs. */
  readonly alive: boolean;
  /** {@link Sandbox.runCode} in this context. */
  runCode(code: string, options?: ({ timeoutSeconds?: number | null } & SignalOptions) | null): Promise<CodeExecution>;
  /** A new interpreter without variables, under the same id. */
  restart(options?: SignalOptions | null): Promise<this>;
  /** Ends the interpreter and forgets the context. @throws {SandboxNotFound} when it is gone already. */
  remove(options?: SignalOptions | null): Promise<void>;
}

export interface FileEntry {
  readonly name: string;
  /** The name exactly; pass a path made of it where the name is not UTF-8. */
  readonly nameBytes: Buffer;
  readonly isDir: boolean;
  readonly size: number;
  /** Permission bits, 0o644. */
  readonly mode: number;
  readonly modifiedAt: Date;
}
export interface FileStat {
  readonly path: string;
  readonly exists: boolean;
  readonly isDir: boolean;
  readonly size: number;
  readonly mode: number | null;
  readonly modifiedAt: Date | null;
}
export interface BatchWriteResult {
  readonly path: string;
  readonly bytesWritten: number | null;
  /** The code of what went wrong. */
  readonly error: string | null;
  readonly message: string | null;
}
export interface PresignedURL {
  readonly url: string;
  readonly method: "GET" | "PUT";
  readonly path: string;
  readonly expiresAt: Date;
}
export interface WriteOptions extends SignalOptions {
  /** Permission bits, 1 to 0o777; 0o644. */
  mode?: number | null;
}
export interface PresignOptions extends SignalOptions {
  /** Seconds, 60 to 3600; 600. */
  expiresIn?: number | null;
}

/**
 * The files of a sandbox. Reading is possible everywhere; writing, deleting, making and moving under /workspace, /tmp and /persist,
 * elsewhere `NotPermitted`.
 */
export class Files {
  private constructor();
  /** The whole file as text. @throws {InvalidArgument} when it is not UTF-8: nothing is replaced silently. */
  read(path: Path, options?: SignalOptions | null): Promise<string>;
  /** @throws {FileNotFound} {@link IsADirectory} */
  readBytes(path: Path, options?: SignalOptions | null): Promise<Buffer>;
  /** Creates or replaces a file, whole or not at all, and missing parent directories. */
  write(path: Path, content: string | Bytes, options?: WriteOptions | null): Promise<void>;
  writeBytes(path: Path, content: Bytes, options?: WriteOptions | null): Promise<void>;
  /** Sorted by name. */
  list(path: Path, options?: SignalOptions | null): Promise<FileEntry[]>;
  /** A file or a link. */
  delete(path: Path, options?: SignalOptions | null): Promise<void>;
  /** With `parents` (true) also the missing ones above it, and one that is there is no error. */
  mkdir(path: Path, options?: ({ parents?: boolean | null } & SignalOptions) | null): Promise<void>;
  move(source: Path, destination: Path, options?: SignalOptions | null): Promise<void>;
  stat(path: Path, options?: SignalOptions | null): Promise<FileStat>;
  exists(path: Path, options?: SignalOptions | null): Promise<boolean>;
  /** Up to 64 files, each below 16 MiB. One that fails does not hold up the others. */
  writeBatch(
    files: Readonly<Record<string, string | Bytes>> | ReadonlyMap<Path, string | Bytes> | readonly (readonly [Path, string | Bytes])[],
    options?: WriteOptions | null,
  ): Promise<BatchWriteResult[]>;
  /** Of a service; locally `NotSupported`. */
  presignDownload(path: Path, options?: PresignOptions | null): Promise<PresignedURL>;
  presignUpload(path: Path, options?: PresignOptions | null): Promise<PresignedURL>;
  /** The file piece by piece, with bounded memory. */
  readStream(path: Path, options?: SignalOptions | null): FileReader;
  /** The file appears, whole, at "finish"; destroyed before, nothing of it appears and what was there stays. */
  writeStream(path: Path, options?: WriteOptions | null): FileWriter;
}
export class FileReader extends Readable {
  private constructor();
}
export class FileWriter extends Writable {
  private constructor();
}

/** Something that happened to a sandbox or in it. Commands and files are logged when they end. */
export interface Event {
  readonly time: Date;
  /** "created", "running", "exec", "file_write", "terminated"…; a later version may add some. */
  readonly kind: string;
  readonly outcome: string | null;
  readonly command: string | null;
  readonly path: string | null;
  readonly exitCode: number | null;
  readonly durationMs: number | null;
  readonly reason: string | null;
}
export interface EventOptions extends SignalOptions {
  /** Only what is of this moment or later. */
  since?: Date | number | null;
  follow?: boolean | null;
}

export interface SandboxMetrics {
  readonly sandboxId: string;
  readonly sandboxStatus: Status;
  readonly asOf: Date;
  readonly sampleIntervalSeconds: number;
  readonly windowSeconds: number;
  /** `usagePercent`: of all CPUs together. Usage is null without a live machine. */
  readonly cpu: { readonly cores: number; readonly usageCores: number | null; readonly usagePercent: number | null };
  readonly memory: { readonly limitBytes: number; readonly usageBytes: number | null; readonly usagePercent: number | null };
  readonly lifetime: { readonly cpuSeconds: number; readonly gbSeconds: number };
  /** Oldest first. */
  readonly samples: { readonly t: Date; readonly cpuPercent: number; readonly memBytes: number }[];
}
export interface SandboxLimits {
  /** Of the account; "local" for this machine. */
  readonly plan: string;
  readonly allowedSizes: string[];
  readonly sizes: { readonly size: string; readonly cpu: number; readonly memoryMb: number; readonly allowed: boolean }[];
  readonly regions: { readonly id: string; readonly label: string }[];
  readonly maxConcurrent: number;
  readonly maxSnapshots: number;
  readonly customEgressAllowlist: boolean;
  readonly defaultEgressDomains: string[];
  readonly trialCreditEur: number | null;
  readonly trialCreditUsedEur: number | null;
  readonly maxRunningLifetimeSeconds: number | null;
  readonly maxNamedSnapshots: number | null;
  readonly maxTimeoutSeconds: number | null;
  readonly usageResetsAt: string | null;
}

/**
 * A throwaway Linux computer. A Sandbox is a handle: dropping it ends nothing, only `terminate`, the end of `withTemp` or
 * `await using`, and the timeout do. Any process of the same user can `get` it by its id.
 */
export class Sandbox implements AsyncDisposable {
  private constructor();

  /** Starts a sandbox; settled when it runs. @throws {TemplateNotFound} {@link VmError}, {@link FleetFull}, … */
  static create(options: CreateOptions): Promise<Sandbox>;
  static create(template: string, options?: CreateOptions | null): Promise<Sandbox>;
  /**
   * A sandbox for the time of one function; terminated also when that throws. Gives what the function gives. A signal ends Node without
   * a word: after Ctrl-C the sandbox lives on until its timeout, unless you pass the signal on:
   *
   *     const stop = new AbortController();
   *     process.once("SIGINT", () => stop.abort());
   *     await Sandbox.withTemp({ template, signal: stop.signal }, (sandbox) => sandbox.exec(line, { signal: stop.signal }));
   */
  static withTemp<T>(options: CreateOptions | string, fn: (sandbox: Sandbox) => T | PromiseLike<T>): Promise<T>;
  /** @throws {SandboxNotFound} Ended ones are found for 24 hours. */
  static get(sandboxId: string, options?: ClientChoice | null): Promise<Sandbox>;
  /** Newest first, the ended ones of the last 24 hours included. */
  static list(options?: ListOptions | null): Promise<Sandbox[]>;
  /** Brings a paused sandbox back: memory, files and running processes as they were, with a fresh timeout. */
  static resume(sandboxId: string, options?: ResumeOptions | null): Promise<Sandbox>;
  /** What the account, or this machine, allows. */
  static limits(options?: ClientChoice | null): Promise<SandboxLimits>;

  /**
   * "sbx_" and a ULID. The attributes are as of create, get, list, or the last `refresh`, `setTimeout`, `pause` or `terminate`. That an
   * operation resumed the sandbox (`autoResume`), or found that it has ended, shows after `refresh`.
   */
  readonly id: string;
  readonly status: Status;
  readonly template: string;
  readonly network: Network;
  readonly cpu: number;
  /** Why `cpu` is more than was asked for; null when it is not. */
  readonly cpuReason: string | null;
  readonly memoryMb: number;
  readonly diskMb: number | null;
  readonly region: string | null;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly metadata: Record<string, string>;
  readonly onTimeout: OnTimeout;
  readonly autoResume: boolean;
  readonly volume: string | null;
  readonly nodeId: string | null;
  readonly pausedExpiresAt: Date | null;
  readonly previewAuth: boolean;
  readonly previewAuthToken: string | null;
  readonly backend: Backend;
  /** Why it ended; null while it lives. */
  readonly endReason: string | null;
  readonly accelerator: "kvm" | "tcg" | null;
  readonly acceleratorReason: string | null;
  readonly isolation: "hardware" | "emulated" | null;
  /** What contains QEMU itself on this host, and what does not and why. */
  readonly jail: string | null;
  readonly files: Files;

  /**
   * Runs a shell command line and waits for its end. Of more than 64 MiB on a stream the first and the last half of so much are kept,
   * and `truncated` says so: `run` takes another limit, `execStream` gives all.
   * @throws {ExecTimeout} {@link ExecKilled}, both with the output so far.
   */
  exec(command: string, options?: (ExecOptions & { background?: false | null }) | null): Promise<ExecResult>;
  /** Starts it and lets it run on by itself: `timeoutSeconds` does not apply, {@link BackgroundCommand.kill} ends it. */
  exec(command: string, options: ExecOptions & { background: true }): Promise<BackgroundCommand>;
  exec(command: string, options?: (ExecOptions & { background?: boolean | null }) | null): Promise<ExecResult | BackgroundCommand>;
  /** With full control; an array of arguments is run without a shell. */
  run(command: string | readonly string[], options?: RunOptions | null): Promise<ExecResult>;
  /** Output as it comes, input as it is written, a terminal on request. */
  execStream(command: string | readonly string[], options?: ExecStreamOptions | null): ExecStream;
  /** Every background command, oldest first, the ended ones included; from any process. */
  commands(options?: SignalOptions | null): Promise<BackgroundCommand[]>;
  /** One of them. @throws {SandboxNotFound} */
  command(commandId: string, options?: SignalOptions | null): Promise<BackgroundCommand>;

  /**
   * Runs code in an interpreter that stays: variables, imports and figures are there in the next call, and results come rich. For
   * sandboxes of a service made from the template "code-interpreter", or one built on it; an aborted signal ends the waiting, not the run.
   * @throws {InterpreterUnavailable} for any other sandbox, and every local one: use `exec` there.
   */
  runCode(code: string, options?: CodeOptions | null): Promise<CodeExecution>;
  /** The same with output and results as they come. */
  runCodeStream(code: string, options?: CodeOptions | null): CodeStream;
  /** An interpreter of its own, in `cwd`. */
  createCodeContext(options?: ({ cwd?: string | null } & SignalOptions) | null): Promise<CodeContext>;
  codeContexts(options?: SignalOptions | null): Promise<CodeContext[]>;

  /** What happened, oldest first; with `follow` an iterator that goes on until the sandbox has ended. */
  events(options?: (EventOptions & { follow?: false | null }) | null): Promise<Event[]>;
  events(options: EventOptions & { follow: true }): AsyncGenerator<Event, void, undefined>;
  refresh(options?: SignalOptions | null): Promise<this>;
  /** Freezes it to disk and ends its machine; {@link Sandbox.resume} goes on from there. Gives the id. */
  pause(options?: SignalOptions | null): Promise<string>;
  /** It now has this long from now; 10 to 86400 s locally. */
  setTimeout(timeoutSeconds: number, options?: SignalOptions | null): Promise<void>;
  metrics(options?: (SignalOptions & { since?: Date | number | null }) | null): Promise<SandboxMetrics>;
  /** A named snapshot that others can start from. Locally `NotSupported` in this version. */
  snapshot(options?: (SignalOptions & { name?: string | null }) | null): Promise<Snapshot>;
  /** The host name under which a port that is served in the sandbox can be reached. Locally `NotSupported`. */
  getHost(port: number, options?: SignalOptions | null): Promise<string>;
  previewUrl(port: number, options?: SignalOptions | null): Promise<string>;
  /** Ends it and everything in it. Legal in every state; may be called again. */
  terminate(options?: SignalOptions | null): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
  toJSON(): Record<string, unknown>;
}

/** A frozen copy of a sandbox that any number of new ones can start from. Locally `NotSupported` in this version. */
export class Snapshot {
  private constructor();
  readonly id: string;
  readonly status: "capturing" | "ready" | "failed";
  readonly template: string;
  readonly cpu: number;
  readonly memoryMb: number;
  readonly network: Network;
  readonly name: string | null;
  readonly sourceSandboxId: string | null;
  readonly sizeMb: number | null;
  readonly nodeId: string | null;
  readonly region: string | null;
  readonly errorMessage: string | null;
  readonly createdAt: Date;
  readonly readyAt: Date | null;
  static list(options?: ClientChoice | null): Promise<Snapshot[]>;
  static get(snapshotId: string, options?: ClientChoice | null): Promise<Snapshot>;
  static delete(snapshotId: string, options?: ClientChoice | null): Promise<void>;
}

export interface VolumeLifetime {
  /** 1 to 3650, counted from its creation. */
  maxLifetimeDays?: number | null;
  /** 1 to 24, counted from its creation. */
  maxLifetimeHours?: number | null;
}
export interface VolumeOptions extends VolumeLifetime, ClientChoice {
  /** The most it may hold, GiB from 0.25; default 10. */
  sizeGb?: number | null;
  /** An id of `Sandbox.limits().regions`. */
  region?: string | null;
}
/** Storage that outlives sandboxes: at `/persist` of the one that names it, `Sandbox.create({ volume })`. Locally `NotSupported`. */
export class Volume {
  private constructor();
  readonly id: string;
  readonly name: string;
  readonly sizeMb: number;
  readonly status: string;
  readonly region: string | null;
  readonly nodeId: string | null;
  readonly attachedSandboxId: string | null;
  readonly maxLifetimeDays: number | null;
  readonly maxLifetimeHours: number | null;
  readonly expiresAt: Date | null;
  static create(name: string, options?: VolumeOptions | null): Promise<Volume>;
  static list(options?: ClientChoice | null): Promise<Volume[]>;
  /** Exactly one of the two lifetimes; null: it lives on. */
  static update(volumeId: string, options: VolumeLifetime & ClientChoice): Promise<Volume>;
  /** `VolumeInUse` while a sandbox has it; so does `delete`. */
  static move(volumeId: string, region: string, options?: ClientChoice | null): Promise<Volume>;
  static delete(volumeId: string, options?: ClientChoice | null): Promise<void>;
}

export interface WebhookOptions extends ClientChoice {
  /** Which events; default all. */
  eventTypes?: readonly string[] | null;
}
/** An address that a service tells of events, with signed requests. Locally `NotSupported`. */
export class Webhook {
  private constructor();
  readonly id: string;
  readonly url: string;
  /** Null: all. */
  readonly eventTypes: string[] | null;
  readonly active: boolean;
  readonly consecutiveFailures: number;
  readonly lastDeliveryAt: Date | null;
  readonly lastError: string | null;
  readonly createdAt: Date | null;
  /** Only what `create` gives has it. */
  readonly secret: string | null;
  static create(url: string, options?: WebhookOptions | null): Promise<Webhook>;
  static list(options?: ClientChoice | null): Promise<Webhook[]>;
  static enable(webhookId: string, options?: ClientChoice | null): Promise<Webhook>;
  static delete(webhookId: string, options?: ClientChoice | null): Promise<void>;
}
/** Whether a delivery is from the service: its body as it came, and its header `X-Orkestr-Signature`. */
export function verifyWebhookSignature(secret: string, body: Bytes | string, signatureHeader: string | null | undefined): boolean;

export interface TemplatePart {
  readonly source: string;
  readonly name: string;
  readonly version: string;
  readonly origin: string;
  readonly sha256: string | null;
  readonly bytes: number | null;
}
/** What is known of a template. What is below `current` is null unless it is built. */
export interface TemplateInfo {
  readonly name: string;
  readonly description: string;
  readonly recipeSha256: string;
  readonly built: boolean;
  /** Built from the recipe that this version has. */
  readonly current: boolean;
  readonly buildId: string | null;
  readonly directory: string | null;
  readonly createdAt: Date | null;
  readonly bytes: number | null;
  readonly digest: string | null;
  readonly imageSha256: string | null;
  readonly kernel: string | null;
  /** Only from `inspect`, `build` and `prepare`. */
  readonly parts: TemplatePart[];
}
export interface TemplateProgress {
  readonly template: string;
  readonly step: string;
  /** Of the step, 1 to `count`; 0 before the first. */
  readonly index: number;
  readonly count: number;
  /** The last line of the step's output; it may hold anything. */
  readonly line: string;
  readonly elapsedSeconds: number;
}
export interface TemplateOptions extends SignalOptions {
  /** Of the local backend. */
  client?: OrkestrClient | null;
}
export interface BuildOptions extends TemplateOptions {
  /** Build although it is there. */
  force?: boolean | null;
  /** A recipe of your own (docs/TEMPLATES.md): its JSON text, or the URL of the file. */
  recipe?: string | URL | null;
  onProgress?: ((progress: TemplateProgress) => void) | null;
}
export interface PrepareOptions extends TemplateOptions {
  size?: Size | null;
  cpu?: number | null;
  memoryMb?: number | null;
  diskMb?: number | null;
  onProgress?: ((progress: TemplateProgress) => void) | null;
}
/**
 * The images that sandboxes start from. Building needs the network and the ordinary clients (mmdebstrap, mvn, npm, pip): root builds for
 * every user, another user into a cache of its own, which needs uidmap and subordinate ids. Using one needs none of these.
 */
export class Template {
  static build(name: string, options?: BuildOptions | null): Promise<TemplateInfo>;
  static build(options: BuildOptions): Promise<TemplateInfo>;
  /** Everything that a first `create` of this size would otherwise do. */
  static prepare(name: string, options?: PrepareOptions | null): Promise<TemplateInfo>;
  static list(options?: TemplateOptions | null): Promise<TemplateInfo[]>;
  static inspect(name: string, options?: TemplateOptions | null): Promise<TemplateInfo>;
  /** Its builds; sandboxes that run live on. @throws {TemplateNotFound} also when it is not built, so that nothing is removed. */
  static remove(name: string, options?: TemplateOptions | null): Promise<void>;
}

export interface PoolMember {
  readonly id: string;
  /** False: it is being made. */
  readonly ready: boolean;
  readonly createdAt: Date;
}
export interface PoolInfo {
  readonly template: string;
  readonly count: number;
  readonly cpu: number;
  readonly memoryMb: number;
  readonly diskMb: number;
  readonly idleSeconds: number;
  readonly minAvailableMb: number;
  /** Why there are fewer than `count`, where that is known. */
  readonly problem: string;
  /** How many may be taken now. */
  readonly ready: number;
  readonly members: PoolMember[];
}
export interface PoolOptions extends SignalOptions {
  size?: Size | null;
  cpu?: number | null;
  memoryMb?: number | null;
  diskMb?: number | null;
  /** One that nobody took for so long ends; 3600. */
  idleSeconds?: number | null;
  /** With less memory available on the host they end; 1024. */
  minAvailableMb?: number | null;
}
/** The warm pool of this machine: machines that are ready before anybody asks. An aborted signal ends the waiting, not the work. */
export const pool: {
  set(template: string, count?: number, options?: PoolOptions | null): Promise<PoolInfo>;
  list(options?: SignalOptions | null): Promise<PoolInfo[]>;
  /** Of one template, or of all; how many machines there were. */
  clear(template?: string | null, options?: SignalOptions | null): Promise<number>;
};

export interface ErrorFields {
  code?: string;
  statusCode?: number;
  detail?: unknown;
  requestId?: string;
  cause?: unknown;
}
/** The base of every error of this package. */
export class OrkestrError extends Error {
  constructor(message?: string, about?: ErrorFields);
  /** Stable, to program against: "exec_timeout". */
  code: string;
  /** What can be done about errors of this code, a sentence. */
  readonly hint: string;
  /** The HTTP status the service publishes for it. */
  readonly statusCode: number | null;
  /** What the service said, unchanged. */
  detail: unknown;
  requestId: string | null;
}
/** Refused before anything started. Also a TypeError, or a RangeError where the type was right. */
export class InvalidArgument extends OrkestrError {}
export class AuthError extends OrkestrError {}
export class RateLimitError extends OrkestrError {
  /** Seconds; null when unknown. */
  retryAfter: number | null;
}
export class PlanLimitError extends OrkestrError {}
export class SnapshotCapReached extends PlanLimitError {}
/** The host or the fleet has no memory for another sandbox; `create` has retried already. */
export class FleetFull extends OrkestrError {
  retryAfter: number | null;
}
export class SandboxNotFound extends OrkestrError {}
export class SandboxNotReady extends OrkestrError {}
export class VolumeInUse extends SandboxNotReady {}
/** The command reached its timeout and was ended with its whole process tree; the sandbox lives on. */
export class ExecTimeout extends OrkestrError {
  readonly stdout: string;
  readonly stderr: string;
  stdoutBytes: Buffer;
  stderrBytes: Buffer;
}
/** The command was ended by a signal that this library did not send. */
export class ExecKilled extends OrkestrError {
  readonly stdout: string;
  readonly stderr: string;
  stdoutBytes: Buffer;
  stderrBytes: Buffer;
  signal: number | null;
  oom: boolean;
}
export class NetworkPolicyError extends OrkestrError {
  host: string;
  port: number;
  rule: string;
}
export class InterpreterUnavailable extends OrkestrError {}
/** No such file in the sandbox. */
export class FileNotFound extends SandboxNotFound {}
export class NotPermitted extends OrkestrError {}
export class IsADirectory extends OrkestrError {}
export class NotADirectory extends OrkestrError {}
export class FileExists extends OrkestrError {}
export class TemplateNotFound extends OrkestrError {}
export class TemplateBuildError extends OrkestrError {
  step: string;
  output: string;
}
export class SnapshotIncompatible extends OrkestrError {}
export class NotSupported extends OrkestrError {}
/** The machine did not start, or died. */
export class VmError extends OrkestrError {
  stage: string;
  consoleTail: string;
}
export class ConnectionError extends OrkestrError {}
export class APIError extends OrkestrError {}
/** Its `name` is "AbortError" and its `cause` the signal's reason when a signal did it. */
export class Cancelled extends OrkestrError {}
