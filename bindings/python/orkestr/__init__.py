"""Throwaway Linux microVMs for untrusted code, on this machine, without a server.

::

    from orkestr import Sandbox

    with Sandbox.create("python-3.12-bare") as sandbox:
        print(sandbox.exec("python3 -c 'print(6 * 7)'").stdout)
"""

from . import errors

try:
    from ._core import __version__
except ImportError as error:
    # Of what the package needs and does not carry, these are what a machine may lack; QEMU is for the first create to miss.
    if any(name in str(error) for name in ("libarchive.so", "libcurl-gnutls.so", "libnettle.so")):
        raise ImportError(f"{error}. Run: apt-get install libarchive13 libcurl3-gnutls libnettle8") from None
    raise
from . import pool
from .client import OrkestrClient, get_default_client, set_default_client
from .errors import (
    APIError,
    AuthError,
    Cancelled,
    ConnectionError as ConnectionError,
    ExecKilled,
    ExecTimeout,
    FileExists,
    FileNotFound,
    FleetFull,
    InterpreterUnavailable,
    InvalidArgument,
    IsADirectory,
    NetworkPolicyError,
    NotADirectory,
    NotPermitted,
    NotSupported,
    OrkestrError,
    PlanLimitError,
    RateLimitError,
    SandboxNotFound,
    SandboxNotReady,
    SnapshotCapReached,
    SnapshotIncompatible,
    TemplateBuildError,
    TemplateNotFound,
    VmError,
    VolumeInUse,
)
from .code import CodeContext, CodeError, CodeExecution, CodeResult, CodeStream, CodeStreamEvent
from .command import BackgroundCommand, CommandLogs, LogStream
from .events import Event
from .files import BatchWriteResult, FileEntry, FileStat, FileWriter, PresignedURL
from .metrics import (
    SandboxCpuMetrics,
    SandboxLifetimeUsage,
    SandboxLimits,
    SandboxMemoryMetrics,
    SandboxMetrics,
    SandboxMetricsSample,
    SandboxRegionInfo,
    SandboxSizeInfo,
)
from .process import ExecChunk, ExecResult, ExecStream
from .sandbox import Sandbox
from .snapshot import Snapshot
from .template import Template, TemplateInfo, TemplatePart, TemplateProgress
from .volume import Volume
from .webhook import Webhook, verify_webhook_signature

# Not ConnectionError: `from orkestr import *` must not replace the built-in one.
__all__ = [
    "APIError",
    "AuthError",
    "BackgroundCommand",
    "BatchWriteResult",
    "Cancelled",
    "CodeContext",
    "CodeError",
    "CodeExecution",
    "CodeResult",
    "CodeStream",
    "CodeStreamEvent",
    "CommandLogs",
    "Event",
    "ExecChunk",
    "ExecKilled",
    "ExecResult",
    "ExecStream",
    "ExecTimeout",
    "FileEntry",
    "FileExists",
    "FileNotFound",
    "FileStat",
    "FileWriter",
    "FleetFull",
    "InterpreterUnavailable",
    "InvalidArgument",
    "IsADirectory",
    "LogStream",
    "NetworkPolicyError",
    "NotADirectory",
    "NotPermitted",
    "NotSupported",
    "OrkestrClient",
    "OrkestrError",
    "PlanLimitError",
    "PresignedURL",
    "RateLimitError",
    "Sandbox",
    "SandboxCpuMetrics",
    "SandboxLifetimeUsage",
    "SandboxLimits",
    "SandboxMemoryMetrics",
    "SandboxMetrics",
    "SandboxMetricsSample",
    "SandboxNotFound",
    "SandboxNotReady",
    "SandboxRegionInfo",
    "SandboxSizeInfo",
    "Snapshot",
    "SnapshotCapReached",
    "SnapshotIncompatible",
    "Template",
    "TemplateBuildError",
    "TemplateInfo",
    "TemplateNotFound",
    "TemplatePart",
    "TemplateProgress",
    "VmError",
    "Volume",
    "VolumeInUse",
    "Webhook",
    "__version__",
    "errors",
    "get_default_client",
    "pool",
    "set_default_client",
    "verify_webhook_signature",
]
