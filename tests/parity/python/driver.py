"""The Python driver of the parity suite: a call a line on standard input, its answer a line on standard output; see ../README.md."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from typing import Any, Callable
from urllib.parse import unquote_to_bytes

import orkestr
from orkestr import OrkestrClient, Sandbox, Snapshot, Template, Volume, Webhook, errors, pool, verify_webhook_signature

handles: dict[int, Any] = {}


class Call:
    def __init__(self, line: bytes) -> None:
        name, _, query = line.rstrip(b"\n").partition(b"?")
        self.name = name.decode()
        pairs = [pair.partition(b"=") for pair in query.split(b"&") if pair]
        self.raw = {unquote_to_bytes(key).decode("utf-8", "surrogateescape"): unquote_to_bytes(value) for key, _, value in pairs}

    def on(self) -> Any:
        return handles[int(self.raw["on"])]

    def client(self) -> dict[str, Any]:
        return {"client": handles[int(self.raw["client"])]} if "client" in self.raw else {}

    def text(self, name: str) -> str:
        return self.raw[name].decode("utf-8", "surrogateescape")

    def given(self, **kinds: Callable[[Call, str], Any]) -> dict[str, Any]:
        """The arguments that are there, each read by its kind."""
        there = {key.split(".")[0] for key in self.raw}
        return {name: kind(self, name) for name, kind in kinds.items() if name in there}


def text(call: Call, name: str) -> str:
    return call.text(name)


def data(call: Call, name: str) -> bytes:
    return call.raw[name]


def integer(call: Call, name: str) -> int:
    return int(call.raw[name])


def number(call: Call, name: str) -> float:
    return float(call.raw[name])


def flag(call: Call, name: str) -> bool:
    return call.raw[name] == b"true"


def time(call: Call, name: str) -> datetime:
    return datetime.fromtimestamp(int(call.raw[name]) / 1000, timezone.utc)


def mapping(call: Call, name: str) -> dict[str, str]:
    return {key.split(".", 1)[1]: call.text(key) for key in call.raw if key.startswith(name + ".")}


def texts(call: Call, name: str) -> list[str]:
    return [call.text(key) for key in call.raw if key.startswith(name + ".")]


def pieces(call: Call, name: str) -> list[bytes]:
    return [value for key, value in call.raw.items() if key.startswith(name + ".")]


# ---- values


def hexed(value: bytes) -> dict[str, str]:
    return {"hex": value.hex()}


def moment(value: datetime | None) -> int | None:
    return None if value is None else int(value.timestamp() * 1000)


def fields(value: Any, *names: str, **more: Any) -> dict[str, Any]:
    record = {name: getattr(value, name) for name in names}
    return {name: moment(entry) if isinstance(entry, datetime) else entry for name, entry in record.items()} | more


def sandbox_record(value: Sandbox) -> dict[str, Any]:
    return fields(
        value, "id", "status", "template", "network", "cpu", "cpu_reason", "memory_mb", "region", "created_at", "expires_at", "metadata",
        "on_timeout", "auto_resume", "paused_expires_at", "preview_auth", "preview_auth_token", "volume", "node_id", "backend", "end_reason",
        "accelerator", "accelerator_reason", "isolation", "jail", disk_mb=value.disk_mb or 0,
    )  # fmt: skip


def result_record(value: orkestr.ExecResult) -> dict[str, Any]:
    return fields(
        value, "exit_code", "duration_ms", "stdout_total_bytes", "stderr_total_bytes", "truncated", "user_ms", "system_ms", "max_rss_kb",
        "network_denied", stdout=hexed(value.stdout_bytes), stderr=hexed(value.stderr_bytes),
    )  # fmt: skip


def command_record(value: orkestr.BackgroundCommand) -> dict[str, Any]:
    return fields(value, "id", "command", "pid", "status", "exit_code", "started_at")


def code_result_record(value: orkestr.CodeResult) -> dict[str, Any]:
    png, forms = value.png_bytes(), {"json": value.json, "chart": value.chart}
    compact = {name: None if form is None else json.dumps(form, ensure_ascii=False, separators=(",", ":")) for name, form in forms.items()}
    return fields(value, "type", "text", "html", png=None if png is None else hexed(png), **compact)


def code_error_record(value: orkestr.CodeError | None) -> dict[str, Any] | None:
    return None if value is None else fields(value, "name", "value", "traceback")


def execution_record(value: orkestr.CodeExecution) -> dict[str, Any]:
    return fields(
        value, "stdout", "stderr", "execution_count", "context_id", "duration_ms", "interrupted", "restarted", "truncated", "text",
        results=[code_result_record(one) for one in value.results], error=code_error_record(value.error),
    )  # fmt: skip


def code_event_record(value: orkestr.CodeStreamEvent) -> dict[str, Any]:
    return fields(
        value, "kind", "stream", "text", error=code_error_record(value.error),
        result=None if value.result is None else code_result_record(value.result),
        execution=None if value.execution is None else execution_record(value.execution),
    )  # fmt: skip


def code_context_record(value: orkestr.CodeContext) -> dict[str, Any]:
    return fields(value, "id", "language", "created_at", "last_used_at", "executions", "alive", cwd=value.cwd or "")


def stat_record(value: orkestr.FileStat) -> dict[str, Any]:
    changed = moment(value.modified_at) or 0
    return fields(value, "exists", "is_dir", "size", mode=value.mode or 0, modified_at=changed)


def metrics_record(value: orkestr.SandboxMetrics) -> dict[str, Any]:
    return {
        **fields(value, "sandbox_id", "as_of", "sample_interval_seconds", "window_seconds", status=value.sandbox_status),
        "cpu_cores": value.cpu.cores,
        "cpu_usage_cores": value.cpu.usage_cores,
        "cpu_usage_percent": value.cpu.usage_percent,
        "memory_limit_bytes": value.memory.limit_bytes,
        "memory_usage_bytes": value.memory.usage_bytes,
        "memory_usage_percent": value.memory.usage_percent,
        "lifetime_cpu_seconds": value.lifetime.cpu_seconds,
        "lifetime_gb_seconds": value.lifetime.gb_seconds,
        "samples": [{"time": moment(s.t), "cpu_percent": s.cpu_percent, "memory_bytes": s.mem_bytes} for s in value.samples],
    }


def limits_record(value: orkestr.sandbox.SandboxLimits) -> dict[str, Any]:
    return fields(
        value, "plan", "max_concurrent", "max_snapshots", "allowed_sizes", "custom_egress_allowlist", "default_egress_domains",
        "trial_credit_eur", "trial_credit_used_eur", "max_running_lifetime_seconds", "max_named_snapshots", "max_timeout_seconds",
        "usage_resets_at",
        sizes=[fields(size, "size", "cpu", "memory_mb", "allowed") for size in value.sizes],
        regions=[fields(region, "id", "label") for region in value.regions],
    )  # fmt: skip


def snapshot_record(value: Snapshot) -> dict[str, Any]:
    return fields(
        value, "id", "status", "template", "cpu", "memory_mb", "network", "name", "source_sandbox_id", "node_id", "region",
        "error_message", "created_at", "ready_at", size_mb=value.size_mb or 0,
    )  # fmt: skip


def volume_record(value: Volume) -> dict[str, Any]:
    expires = value.expires_at
    return fields(
        value, "id", "name", "size_mb", "status", "region", "node_id", "attached_sandbox_id", "max_lifetime_days", "max_lifetime_hours",
        expires_at=None if expires is None else moment(datetime.fromisoformat(expires)),
    )  # fmt: skip


def webhook_record(value: Webhook) -> dict[str, Any]:
    return fields(
        value, "id", "url", "event_types", "active", "consecutive_failures", "last_delivery_at", "last_error", "created_at", "secret"
    )


def template_record(value: orkestr.TemplateInfo) -> dict[str, Any]:
    return fields(value, "name", "description", "built", "current", "build_id", "digest", "kernel", bytes=value.bytes or 0)


def error_record(error: errors.OrkestrError) -> dict[str, Any]:
    details = ("status_code", "detail", "request_id", "retry_after", "signal", "oom", "host", "port", "rule", "stage", "console_tail")
    record = {name: getattr(error, name) for name in details if hasattr(error, name)}
    for name in ("stdout", "stderr"):
        if hasattr(error, f"{name}_bytes"):
            record[name] = hexed(getattr(error, f"{name}_bytes"))
    if isinstance(error, errors.TemplateBuildError):
        record |= {"stage": error.step, "console_tail": error.output}
    # Published statuses belong to the class; what a service answered is the error's own.
    record["status_code"] = error.__dict__.get("status_code", 0)
    return {"code": error.code, "class": type(error).__name__, "message": str(error), "hint": error.hint, **record}


# ---- calls

EXEC = {"cwd": text, "env": mapping, "user": text, "stdin": data, "max_output_bytes": integer}


def seconds(call: Call, to: str = "timeout_seconds") -> dict[str, float]:
    return {to: int(call.raw["timeout_ms"]) / 1000} if "timeout_ms" in call.raw else {}


def keep(handle: Any, record: Any = None) -> dict[str, Any]:
    number_of_it = max(handles, default=0) + 1
    handles[number_of_it] = handle
    return {"value": record, "handle": number_of_it}


LIFETIME = {"max_lifetime_days": integer, "max_lifetime_hours": integer}


def lifetime(call: Call) -> dict[str, Any]:
    return {f"max_lifetime_{call.text('no_end')}": None} if "no_end" in call.raw else call.given(**LIFETIME)


def create(call: Call) -> Any:
    arguments = call.given(
        template=text, size=text, cpu=number, memory_mb=integer, disk_mb=integer, network=text, timeout_seconds=integer, on_timeout=text,
        auto_resume=flag, paused_ttl_seconds=integer, preview_auth=flag, env=mapping, metadata=mapping, region=text, allow_domains=texts,
        volume=text, snapshot=text, max_retries=integer, retry_max_seconds=integer, auto_build=flag,
    )  # fmt: skip
    sandbox = Sandbox.create(**arguments, **call.client())
    return keep(sandbox, sandbox_record(sandbox))


def found(sandbox: Sandbox) -> Any:
    return keep(sandbox, sandbox_record(sandbox))


def execute(call: Call) -> Any:
    arguments = call.given(**EXEC) | seconds(call)
    if {"user", "stdin", "max_output_bytes"} & call.raw.keys():
        return {"value": result_record(call.on().run(call.text("command"), **arguments))}
    return {"value": result_record(call.on().exec(call.text("command"), **arguments))}


def open_stream(call: Call) -> Any:
    arguments = call.given(cwd=text, env=mapping, user=text, stdin=data, tty=flag, cols=integer, rows=integer) | seconds(call)
    if "stdin_open" in call.raw:
        arguments["stdin"] = flag(call, "stdin_open")
    return keep(iter(call.on().exec_stream(call.text("command"), **arguments)))


def read(call: Call) -> Any:
    out, err, final, until = b"", b"", None, call.raw.get("until")
    for chunk in call.on():
        if chunk.is_final:
            final = chunk
        elif chunk.stream == "stdout":
            out += chunk.data_bytes
        else:
            err += chunk.data_bytes
        if until and until in out:
            break
    exit_code, duration = (final.exit_code, final.duration_ms) if final else (None, None)
    return {"value": {"stdout": hexed(out), "stderr": hexed(err), "exit_code": exit_code, "duration_ms": duration}}


def start(call: Call) -> Any:
    command = call.on().exec(call.text("command"), **call.given(cwd=text, env=mapping), background=True)
    return keep(command, command_record(command))


def find_command(call: Call) -> Any:
    command = call.on().command(call.text("command_id"))
    return keep(command, command_record(command))


def of_command(call: Call, member: str, **arguments: Any) -> Any:
    getattr(call.on(), member)(**arguments)
    return {"value": command_record(call.on())}


def of_sandbox(call: Call, member: str, **arguments: Any) -> Any:
    getattr(call.on(), member)(**arguments)
    return {"value": sandbox_record(call.on())}


def logs(call: Call) -> Any:
    value = call.on().logs(**call.given(offset=integer))
    return {"value": fields(value, "start_offset", "size", "truncated", "next_offset", content=hexed(value.content_bytes))}


def run_code(call: Call, member: str) -> Any:
    arguments = call.given(language=text, context_id=text) | seconds(call)
    return getattr(call.on(), member)(call.text("code"), **arguments)


def create_code_context(call: Call) -> Any:
    context = call.on().create_code_context(**call.given(cwd=text))
    return keep(context, code_context_record(context))


def write_stream(call: Call) -> Any:
    writer = call.on().files.write_stream(call.text("path"), **call.given(mode=integer))
    for piece in pieces(call, "pieces"):
        writer.write(piece)
    writer.discard() if call.raw.get("finish") == b"false" else writer.close()


def read_stream(call: Call) -> Any:
    out = b""
    with call.on().files.read_stream(call.text("path")) as reader:
        while piece := reader.read1(4096):
            out += piece
    return {"value": hexed(out)}


def write_batch(call: Call) -> Any:
    entries = zip(texts(call, "paths"), pieces(call, "contents"), strict=True)
    results = call.on().files.write_batch(list(entries))
    return {"value": [fields(one, "path", "error", bytes_written=one.bytes_written or 0) for one in results]}


def presign(call: Call, member: str) -> Any:
    given = {"expires_in": integer(call, "expires_in_seconds")} if "expires_in_seconds" in call.raw else {}
    return {"value": fields(getattr(call.on().files, member)(call.text("path"), **given), "url", "method", "path", "expires_at")}


def open_client(call: Call) -> Any:
    arguments = call.given(backend=text, api_key=text, base_url=text)
    if "timeout_seconds" in call.raw:
        arguments["timeout"] = integer(call, "timeout_seconds")
    client = OrkestrClient(**arguments)
    return keep(client, {"backend": client.backend})


def value(of: Any) -> Any:
    return {"value": of}


def a_list(values: Any, record: Callable[[Any], Any]) -> Any:
    return {"value": [record(one) for one in values]}


def event_record(event: orkestr.Event) -> dict[str, Any]:
    return fields(event, "time", "kind", "outcome", "command", "path", "exit_code", "duration_ms", "reason")


def entry_record(entry: orkestr.FileEntry) -> dict[str, Any]:
    return fields(entry, "name", "is_dir", "size", "mode", "modified_at")


def pool_record(info: pool.PoolInfo) -> dict[str, Any]:
    return fields(
        info, "template", "count", "ready", "cpu", "memory_mb", "disk_mb", "idle_seconds", "min_available_mb", "problem",
        members=[fields(one, "id", "ready", "created_at") for one in info.members],
    )  # fmt: skip


MACHINE = {"size": text, "cpu": number, "memory_mb": integer, "disk_mb": integer}
POOL = MACHINE | {"count": integer, "idle_seconds": integer, "min_available_mb": integer}

MEMBERS: dict[str, Callable[[Call], Any]] = {
    "version": lambda c: value(orkestr.__version__),
    "release": lambda c: handles.pop(int(c.raw["on"])) and None,
    "client.open": open_client,
    "client.close": lambda c: c.on().close(),
    "sandbox.create": create,
    "sandbox.get": lambda c: found(Sandbox.get(c.text("sandbox_id"), **c.client())),
    "sandbox.resume": lambda c: found(
        Sandbox.resume(c.text("sandbox_id"), **c.given(max_retries=integer, retry_max_seconds=integer), **c.client())
    ),
    "sandbox.list": lambda c: a_list(
        Sandbox.list(**c.given(status=text, metadata=mapping, limit=integer, max_results=integer), **c.client()), sandbox_record
    ),
    "sandbox.limits": lambda c: value(limits_record(Sandbox.limits(**c.client()))),
    "sandbox.refresh": lambda c: of_sandbox(c, "refresh"),
    "sandbox.exec": execute,
    "sandbox.run": lambda c: value(result_record(c.on().run(texts(c, "argv"), **c.given(**EXEC), **seconds(c)))),
    "sandbox.exec_stream": open_stream,
    "sandbox.start": start,
    "sandbox.commands": lambda c: a_list(c.on().commands(), command_record),
    "sandbox.command": find_command,
    "sandbox.events": lambda c: a_list(c.on().events(**c.given(since=time)), event_record),
    "sandbox.pause": lambda c: value(c.on().pause()),
    "sandbox.set_timeout": lambda c: of_sandbox(c, "set_timeout", **c.given(timeout_seconds=integer)),
    "sandbox.metrics": lambda c: value(metrics_record(c.on().metrics(**c.given(since=time)))),
    "sandbox.snapshot": lambda c: value(snapshot_record(c.on().snapshot(**c.given(name=text)))),
    "sandbox.get_host": lambda c: value(c.on().get_host(integer(c, "port"))),
    "sandbox.run_code": lambda c: value(execution_record(run_code(c, "run_code"))),
    "sandbox.run_code_stream": lambda c: keep(run_code(c, "run_code_stream")),
    "sandbox.create_code_context": create_code_context,
    "sandbox.code_contexts": lambda c: a_list(c.on().code_contexts(), code_context_record),
    "sandbox.terminate": lambda c: of_sandbox(c, "terminate"),
    "stream.read": read,
    "stream.write": lambda c: c.on().write(c.raw["data"], **seconds(c)),
    "stream.close_input": lambda c: c.on().close_input(),
    "stream.resize": lambda c: c.on().resize(**c.given(cols=integer, rows=integer)),
    "stream.cancel": lambda c: c.on().cancel(),
    "stream.close": lambda c: c.on().close(),
    "command.refresh": lambda c: of_command(c, "refresh"),
    "command.kill": lambda c: of_command(c, "kill"),
    "command.wait": lambda c: of_command(c, "wait", **seconds(c, to="timeout")),
    "command.logs": logs,
    "command.stream": lambda c: keep(c.on().stream(**c.given(offset=integer, timeout_seconds=integer))),
    "code_stream.read": lambda c: a_list(c.on(), code_event_record),
    "code_stream.close": lambda c: c.on().close(),
    "code_context.run_code": lambda c: value(execution_record(run_code(c, "run_code"))),
    "code_context.restart": lambda c: value(code_context_record(c.on().restart())),
    "code_context.remove": lambda c: c.on().remove(),
    "files.read": lambda c: value(hexed(c.on().files.read_bytes(c.text("path")))),
    "files.write": lambda c: c.on().files.write_bytes(c.text("path"), c.raw["content"], **c.given(mode=integer)),
    "files.read_stream": read_stream,
    "files.write_stream": write_stream,
    "files.list": lambda c: a_list(c.on().files.list(c.text("path")), entry_record),
    "files.stat": lambda c: value(stat_record(c.on().files.stat(c.text("path")))),
    "files.exists": lambda c: value(c.on().files.exists(c.text("path"))),
    "files.delete": lambda c: c.on().files.delete(c.text("path")),
    "files.mkdir": lambda c: c.on().files.mkdir(c.text("path"), **c.given(parents=flag)),
    "files.move": lambda c: c.on().files.move(c.text("source"), c.text("destination")),
    "files.write_batch": write_batch,
    "files.presign_download": lambda c: presign(c, "presign_download"),
    "files.presign_upload": lambda c: presign(c, "presign_upload"),
    "snapshot.list": lambda c: a_list(Snapshot.list(**c.client()), snapshot_record),
    "snapshot.get": lambda c: value(snapshot_record(Snapshot.get(c.text("snapshot_id"), **c.client()))),
    "snapshot.delete": lambda c: Snapshot.delete(c.text("snapshot_id"), **c.client()),
    "volume.create": lambda c: value(volume_record(Volume.create(c.text("name"), **c.given(size_gb=number, region=text, **LIFETIME), **c.client()))),
    "volume.list": lambda c: a_list(Volume.list(**c.client()), volume_record),
    "volume.update": lambda c: value(volume_record(Volume.update(c.text("volume_id"), **lifetime(c), **c.client()))),
    "volume.move": lambda c: value(volume_record(Volume.move(c.text("volume_id"), c.text("region"), **c.client()))),
    "volume.delete": lambda c: Volume.delete(c.text("volume_id"), **c.client()),
    "webhook.create": lambda c: value(webhook_record(Webhook.create(c.text("url"), **c.given(event_types=texts), **c.client()))),
    "webhook.list": lambda c: a_list(Webhook.list(**c.client()), webhook_record),
    "webhook.enable": lambda c: value(webhook_record(Webhook.enable(c.text("webhook_id"), **c.client()))),
    "webhook.delete": lambda c: Webhook.delete(c.text("webhook_id"), **c.client()),
    "webhook.verify": lambda c: value(verify_webhook_signature(c.text("secret"), c.text("body"), c.text("signature"))),
    "template.build": lambda c: value(
        template_record(Template.build(c.text("name"), **c.given(force=flag, recipe=text), **c.client()))
    ),
    "template.prepare": lambda c: value(template_record(Template.prepare(c.text("name"), **c.given(**MACHINE), **c.client()))),
    "template.remove": lambda c: Template.remove(c.text("name"), **c.client()),
    "pool.set": lambda c: value(pool_record(pool.set(c.text("template"), **c.given(**POOL)))),
    "pool.list": lambda c: a_list(pool.list(), pool_record),
    "pool.clear": lambda c: value(pool.clear(**c.given(template=text))),
    "template.list": lambda c: a_list(Template.list(**c.client()), template_record),
    "template.inspect": lambda c: value(template_record(Template.inspect(c.text("name"), **c.client()))),
}


def main() -> None:
    for line in sys.stdin.buffer:
        call = Call(line)
        try:
            answer = MEMBERS[call.name](call)
        except errors.OrkestrError as error:
            answer = {"error": error_record(error)}
        print(json.dumps(answer if isinstance(answer, dict) else {"value": None}), flush=True)


if __name__ == "__main__":
    main()
