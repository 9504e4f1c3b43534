// The same objects for `import` as for `require`.
import orkestr from "./lib/index.js";

export const {
  APIError, AuthError, BackgroundCommand, Cancelled, CodeContext, CodeStream, CommandLogs, ConnectionError, ExecChunk, ExecKilled,
  ExecResult, ExecStream, ExecTimeout, FileExists, FileNotFound, FileReader, FileWriter, Files, FleetFull, InterpreterUnavailable,
  InvalidArgument, IsADirectory, LogStream, NetworkPolicyError, NotADirectory, NotPermitted, NotSupported, OrkestrClient,
  OrkestrError, PlanLimitError, RateLimitError, Sandbox, SandboxNotFound, SandboxNotReady, Snapshot, SnapshotCapReached,
  SnapshotIncompatible, Template, TemplateBuildError, TemplateNotFound, VmError, Volume, VolumeInUse, Webhook, getDefaultClient,
  pool, setDefaultClient, verifyWebhookSignature, version,
} = orkestr;
export default orkestr;
