"""What a sandbox uses, and what an account or this machine allows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from . import _core
from .files import to_datetime


@dataclass(frozen=True)
class SandboxMetricsSample:
    """One moment. ``cpu_percent``: of all allocated CPUs together."""

    t: datetime
    cpu_percent: float
    mem_bytes: int


@dataclass(frozen=True)
class SandboxCpuMetrics:
    """``cores``: allocated. The rest is None without a live machine; ``usage_percent`` is of all CPUs together."""

    cores: float
    usage_cores: float | None
    usage_percent: float | None


@dataclass(frozen=True)
class SandboxMemoryMetrics:
    """``usage_bytes``: used in the guest, without what caches could give up; None without a live machine."""

    limit_bytes: int
    usage_bytes: int | None
    usage_percent: float | None


@dataclass(frozen=True)
class SandboxLifetimeUsage:
    """Since the sandbox was made. ``gb_seconds``: allocated memory times time alive."""

    cpu_seconds: float
    gb_seconds: float


@dataclass(frozen=True)
class SandboxMetrics:
    """From :meth:`Sandbox.metrics`. A paused or ended sandbox has no live usage and no samples.

    Attributes:
        sandbox_status: as :attr:`Sandbox.status`.
        as_of: when ``cpu`` and ``memory`` were measured.
        sample_interval_seconds: of the samples, while somebody asks.
        window_seconds: how far back they reach.
        samples: oldest first.
    """

    sandbox_id: str
    sandbox_status: str
    as_of: datetime
    sample_interval_seconds: float
    window_seconds: float
    cpu: SandboxCpuMetrics
    memory: SandboxMemoryMetrics
    lifetime: SandboxLifetimeUsage
    samples: list[SandboxMetricsSample]

    @classmethod
    def _from_native(cls, record: _core.MetricsRecord) -> SandboxMetrics:
        return cls(
            sandbox_id=record["sandbox_id"],
            sandbox_status=record["status"],
            as_of=to_datetime(record["as_of"]),
            sample_interval_seconds=record["sample_interval_seconds"],
            window_seconds=record["window_seconds"],
            cpu=SandboxCpuMetrics(record["cpu_cores"], record["cpu_usage_cores"], record["cpu_usage_percent"]),
            memory=SandboxMemoryMetrics(
                record["memory_limit_bytes"], record["memory_usage_bytes"], record["memory_usage_percent"]
            ),
            lifetime=SandboxLifetimeUsage(record["lifetime_cpu_seconds"], record["lifetime_gb_seconds"]),
            samples=[SandboxMetricsSample(to_datetime(t), cpu, memory) for t, cpu, memory in record["samples"]],
        )


@dataclass(frozen=True)
class SandboxSizeInfo:
    """One ``size`` of :meth:`Sandbox.create`."""

    size: str
    cpu: float
    memory_mb: int
    allowed: bool


@dataclass(frozen=True)
class SandboxRegionInfo:
    """A place where a service runs sandboxes."""

    id: str
    label: str


@dataclass(frozen=True)
class SandboxLimits:
    """From :meth:`Sandbox.limits`: what an account of a service, or this machine, allows.

    Attributes:
        plan: of the account; ``"local"`` for this machine.
        max_concurrent: sandboxes that may run at once.
        max_snapshots: paused sandboxes that may be kept.
        default_egress_domains: what ``network="restricted"`` reaches.
        max_running_lifetime_seconds: None: no cap.
        max_named_snapshots, max_timeout_seconds, usage_resets_at: None where the backend does not say.
    """

    plan: str
    allowed_sizes: list[str]
    sizes: list[SandboxSizeInfo]
    regions: list[SandboxRegionInfo]
    max_concurrent: int
    max_snapshots: int
    custom_egress_allowlist: bool
    default_egress_domains: list[str]
    trial_credit_eur: float | None
    trial_credit_used_eur: float | None
    max_running_lifetime_seconds: int | None = None
    max_named_snapshots: int | None = field(default=None, kw_only=True)
    max_timeout_seconds: int | None = field(default=None, kw_only=True)
    usage_resets_at: str | None = field(default=None, kw_only=True)

    @classmethod
    def _from_native(cls, record: _core.LimitsRecord) -> SandboxLimits:
        values = dict(record)
        values["sizes"] = [SandboxSizeInfo(**size) for size in record["sizes"]]
        values["regions"] = [SandboxRegionInfo(**region) for region in record["regions"]]
        values["usage_resets_at"] = record["usage_resets_at"] or None
        return cls(**values)  # type: ignore[arg-type]
