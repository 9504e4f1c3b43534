"""The native half. Strings for a guest are bytes, times are microseconds since the epoch."""

from typing import Any, Callable, Sequence, TypedDict

__version__: str

def error_class(code: str) -> str: ...
def error_hint(code: str) -> str: ...

class SandboxRecord(TypedDict):
    id: str
    status: str
    template: str
    network: str
    cpu: float
    cpu_reason: str
    memory_mb: int
    disk_mb: int
    region: str
    created_at: int
    expires_at: int
    metadata: dict[str, str]
    on_timeout: str
    auto_resume: bool
    paused_expires_at: int | None
    preview_auth: bool
    preview_auth_token: str
    volume: str
    node_id: str
    backend: str
    end_reason: str
    accelerator: str
    accelerator_reason: str
    isolation: str
    jail: str

class ExecRecord(TypedDict):
    stdout_bytes: bytes
    stderr_bytes: bytes
    exit_code: int
    duration_ms: int
    stdout_total_bytes: int
    stderr_total_bytes: int
    truncated: bool
    user_ms: int
    system_ms: int
    max_rss_kb: int
    network_denied: list[str]

class EventRecord(TypedDict):
    time: int
    kind: str
    outcome: str
    command: str
    path: str
    exit_code: int | None
    duration_ms: int | None
    reason: str

class FileRecord(TypedDict):
    name: str
    is_dir: bool
    size: int
    mode: int
    modified_at: int

class StatRecord(TypedDict):
    exists: bool
    is_dir: bool
    size: int
    mode: int
    modified_at: int

class Client:
    @staticmethod
    def open(backend: str, api_key: bytes, base_url: bytes, timeout_seconds: int) -> Client: ...
    @property
    def backend(self) -> str: ...
    def close(self) -> None: ...

def get_default_client() -> Client: ...
def set_default_client(client: Client | None) -> None: ...

class Sandbox:
    @staticmethod
    def create(
        arguments: dict[str, Any], on_progress: Callable[[dict[str, Any]], None], client: Client | None
    ) -> Sandbox: ...
    @staticmethod
    def get(sandbox_id: bytes, client: Client | None) -> Sandbox: ...
    @staticmethod
    def list(arguments: dict[str, Any], client: Client | None) -> Sequence[SandboxRecord]: ...
    @staticmethod
    def resume(
        sandbox_id: bytes, max_retries: int, retry_max_seconds: int, client: Client | None
    ) -> Sandbox: ...
    def info(self) -> SandboxRecord: ...
    def refresh(self) -> None: ...
    def events(self, since: int | None) -> Sequence[EventRecord]: ...
    def run(self, command: bytes | Sequence[bytes], arguments: dict[str, Any]) -> ExecRecord: ...
    def pause(self) -> str: ...
    def terminate(self) -> None: ...

class Output:
    def next(self) -> tuple[bool, bytes, int | None, int] | None: ...
    def write(self, content: Any, timeout_ms: int) -> None: ...
    def close_input(self) -> None: ...
    def resize(self, cols: int, rows: int) -> None: ...
    def cancel(self) -> None: ...
    def close(self) -> None: ...
    @property
    def pid(self) -> int: ...

class Reader:
    def read(self, max_bytes: int) -> bytes: ...
    def read_into(self, room: memoryview) -> int: ...
    def close(self) -> None: ...

class Writer:
    def write(self, content: Any) -> None: ...
    def finish(self) -> None: ...
    def discard(self) -> None: ...

class Files:
    def read(self, path: bytes) -> bytes: ...
    def write(self, path: bytes, content: Any, mode: int) -> None: ...
    def list(self, path: bytes) -> Sequence[FileRecord]: ...
    def stat(self, path: bytes) -> StatRecord: ...
    def delete(self, path: bytes) -> None: ...
    def mkdir(self, path: bytes, parents: bool) -> None: ...
    def move(self, source: bytes, destination: bytes) -> None: ...
    def read_stream(self, path: bytes) -> Reader: ...
    def write_stream(self, path: bytes, mode: int) -> Writer: ...

def exec_stream(sandbox: Sandbox, command: bytes | Sequence[bytes], arguments: dict[str, Any]) -> Output: ...
def files(sandbox: Sandbox) -> Files: ...

class CommandRecord(TypedDict):
    id: str
    command: str
    pid: int | None
    status: str
    exit_code: int | None
    started_at: int | None

class LogsRecord(TypedDict):
    content: bytes
    start_offset: int
    size: int
    truncated: bool

class LogOutput:
    def next(self) -> tuple[bool, bytes, int | None, int] | None: ...
    def close(self) -> None: ...

class Command:
    def info(self) -> CommandRecord: ...
    def refresh(self) -> None: ...
    def kill(self) -> None: ...
    def logs(self, offset: int) -> LogsRecord: ...
    def stream(self, offset: int, timeout_seconds: int) -> LogOutput: ...

def start_command(sandbox: Sandbox, line: bytes, arguments: dict[str, Any]) -> Command: ...
def list_commands(sandbox: Sandbox) -> Sequence[Command]: ...
def get_command(sandbox: Sandbox, command_id: bytes) -> Command: ...

class CodeResultRecord(TypedDict):
    type: str
    text: str | None
    html: str | None
    png: bytes | None
    json: str | None
    chart: str | None

class CodeErrorRecord(TypedDict):
    name: str
    value: str
    traceback: list[str]

class CodeExecutionRecord(TypedDict):
    results: list[CodeResultRecord]
    stdout: str
    stderr: str
    error: CodeErrorRecord | None
    execution_count: int | None
    context_id: str
    duration_ms: int
    interrupted: bool
    restarted: bool
    truncated: list[str]

class CodeEventRecord(TypedDict):
    kind: str
    stream: str | None
    text: str | None
    result: CodeResultRecord | None
    error: CodeErrorRecord | None
    execution: CodeExecutionRecord | None

class CodeContextRecord(TypedDict):
    id: str
    language: str
    cwd: str
    created_at: int | None
    last_used_at: int | None
    executions: int
    alive: bool

class CodeOutput:
    def next(self) -> CodeEventRecord | None: ...
    def close(self) -> None: ...

class CodeContext:
    def info(self) -> CodeContextRecord: ...
    def run_code(self, code: bytes, timeout_ms: int) -> CodeExecutionRecord: ...
    def restart(self) -> None: ...
    def remove(self) -> None: ...

def run_code(
    sandbox: Sandbox, code: bytes, language: bytes, context_id: bytes, timeout_ms: int
) -> CodeExecutionRecord: ...
def run_code_stream(
    sandbox: Sandbox, code: bytes, language: bytes, context_id: bytes, timeout_ms: int
) -> CodeOutput: ...
def create_code_context(sandbox: Sandbox, cwd: bytes) -> CodeContext: ...
def code_contexts(sandbox: Sandbox) -> Sequence[CodeContext]: ...

class LimitsRecord(TypedDict):
    plan: str
    allowed_sizes: list[str]
    sizes: list[dict[str, Any]]
    regions: list[dict[str, Any]]
    max_concurrent: int
    max_snapshots: int
    custom_egress_allowlist: bool
    default_egress_domains: list[str]
    trial_credit_eur: float | None
    trial_credit_used_eur: float | None
    max_running_lifetime_seconds: int | None
    max_named_snapshots: int | None
    max_timeout_seconds: int | None
    usage_resets_at: str

class MetricsRecord(TypedDict):
    sandbox_id: str
    status: str
    as_of: int
    sample_interval_seconds: float
    window_seconds: float
    cpu_cores: float
    cpu_usage_cores: float | None
    cpu_usage_percent: float | None
    memory_limit_bytes: int
    memory_usage_bytes: int | None
    memory_usage_percent: float | None
    lifetime_cpu_seconds: float
    lifetime_gb_seconds: float
    samples: Sequence[tuple[int, float, int]]

class SnapshotRecord(TypedDict):
    id: str
    status: str
    template: str
    cpu: float
    memory_mb: int
    network: str
    name: str
    source_sandbox_id: str
    size_mb: int
    node_id: str
    region: str
    error_message: str
    created_at: int
    ready_at: int | None

class BatchRecord(TypedDict):
    path: str
    bytes_written: int | None
    error: str | None
    message: str | None

class PresignedRecord(TypedDict):
    url: str
    method: str
    path: str
    expires_at: int

def limits(client: Client | None) -> LimitsRecord: ...
def set_timeout(sandbox: Sandbox, timeout_seconds: int) -> None: ...
def metrics(sandbox: Sandbox, since: int | None) -> MetricsRecord: ...
def snapshot(sandbox: Sandbox, name: bytes) -> SnapshotRecord: ...
def get_host(sandbox: Sandbox, port: int) -> str: ...
def write_batch(files: Files, entries: list[tuple[bytes, Any]], mode: int) -> Sequence[BatchRecord]: ...
def presign(files: Files, upload: bool, path: bytes, expires_in: int) -> PresignedRecord: ...

class snapshots:
    """A module."""

    @staticmethod
    def list(client: Client | None) -> Sequence[SnapshotRecord]: ...
    @staticmethod
    def get(snapshot_id: bytes, client: Client | None) -> SnapshotRecord: ...
    @staticmethod
    def remove(snapshot_id: bytes, client: Client | None) -> None: ...

class VolumeRecord(TypedDict):
    id: str
    name: str
    size_mb: int
    status: str
    region: str
    node_id: str
    attached_sandbox_id: str
    max_lifetime_days: int | None
    max_lifetime_hours: int | None
    expires_at: int | None

class volumes:
    """A module."""

    @staticmethod
    def create(
        name: bytes, size_gb: float, region: bytes, days: int | None, hours: int | None, client: Client | None
    ) -> VolumeRecord: ...
    @staticmethod
    def update(volume_id: bytes, in_hours: bool, value: int | None, client: Client | None) -> VolumeRecord: ...
    @staticmethod
    def list(client: Client | None) -> Sequence[VolumeRecord]: ...
    @staticmethod
    def move(volume_id: bytes, region: bytes, client: Client | None) -> VolumeRecord: ...
    @staticmethod
    def remove(volume_id: bytes, client: Client | None) -> None: ...

class WebhookRecord(TypedDict):
    id: str
    url: str
    event_types: list[str] | None
    active: bool
    consecutive_failures: int
    last_delivery_at: int | None
    last_error: str
    created_at: int | None
    secret: str

class webhooks:
    """A module."""

    @staticmethod
    def create(url: bytes, event_types: list[bytes] | None, client: Client | None) -> WebhookRecord: ...
    @staticmethod
    def list(client: Client | None) -> Sequence[WebhookRecord]: ...
    @staticmethod
    def enable(webhook_id: bytes, client: Client | None) -> WebhookRecord: ...
    @staticmethod
    def remove(webhook_id: bytes, client: Client | None) -> None: ...
    @staticmethod
    def verify(secret: bytes, body: Any, signature: bytes) -> bool: ...

class TemplateRecord(TypedDict):
    name: str
    description: str
    built: bool
    current: bool
    build_id: str
    directory: str
    created_at: int
    bytes: int
    digest: str
    image_sha256: str
    recipe_sha256: str
    kernel: str
    parts: list[dict[str, Any]]

class templates:
    """A module."""

    @staticmethod
    def build(
        name: bytes, force: bool, recipe: bytes, on_progress: Callable[[dict[str, Any]], None], client: Client | None
    ) -> TemplateRecord: ...
    @staticmethod
    def prepare(
        name: bytes,
        size: bytes,
        cpu: float | None,
        memory_mb: int | None,
        disk_mb: int | None,
        on_progress: Callable[[dict[str, Any]], None],
        client: Client | None,
    ) -> TemplateRecord: ...
    @staticmethod
    def inspect(name: bytes, client: Client | None) -> TemplateRecord: ...
    @staticmethod
    def remove(name: bytes, client: Client | None) -> None: ...
    @staticmethod
    def list(client: Client | None) -> Sequence[TemplateRecord]: ...

class pool:
    """A module."""

    @staticmethod
    def set(
        template: bytes,
        count: int,
        size: bytes,
        cpu: float | None,
        memory_mb: int | None,
        disk_mb: int | None,
        idle_seconds: int,
        min_available_mb: int,
    ) -> dict[str, Any]: ...
    @staticmethod
    def list() -> Sequence[dict[str, Any]]: ...
    @staticmethod
    def clear(template: bytes) -> int: ...
