"""The files of a sandbox."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from types import TracebackType
from typing import TYPE_CHECKING, Any, Mapping, Sequence

from . import _arguments as check
from . import _core
from .errors import InvalidArgument, SandboxNotReady

if TYPE_CHECKING:
    from typing_extensions import Buffer

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_PIECE = 1 << 20


def to_datetime(microseconds: int) -> datetime:
    """A time of the native library; what a guest set beyond the years 1 to 9999 becomes the nearest of them."""
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return (datetime.max if microseconds > 0 else datetime.min).replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class FileEntry:
    """One entry of a directory. ``mode``: permission bits, 0o644. ``modified_at``: timezone-aware."""

    name: str
    is_dir: bool
    size: int
    mode: int
    modified_at: datetime


@dataclass(frozen=True)
class FileStat:
    """What is known about a path. With ``exists`` False the rest is empty."""

    path: str
    exists: bool
    is_dir: bool = False
    size: int = 0
    mode: int | None = None
    modified_at: datetime | None = None


@dataclass(frozen=True)
class BatchWriteResult:
    """One file of :meth:`Files.write_batch`. ``error``: None, or the code of what went wrong, ``message`` in words."""

    path: str
    bytes_written: int | None
    error: str | None
    message: str | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class PresignedURL:
    """A URL that reads (``"GET"``) or writes (``"PUT"``) one file without a key, until ``expires_at``."""

    url: str
    method: str
    path: str
    expires_at: datetime


_List = list  # within the class that name is a method


def _to_entry(record: Mapping[str, Any]) -> FileEntry:
    return FileEntry(**{**record, "modified_at": to_datetime(record["modified_at"])})


class _RawReader(io.RawIOBase):
    def __init__(self, native: _core.Reader) -> None:
        self._native = native

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        return self._native.read_into(memoryview(buffer).cast("B")[:_PIECE])

    def readall(self) -> bytes:  # that of RawIOBase asks for 8 KiB at a time
        return b"".join(iter(lambda: self._native.read(_PIECE), b""))

    def close(self) -> None:
        if not self.closed:
            self._native.close()
        super().close()


class _Reader(io.BufferedReader):
    def close(self) -> None:
        # First what is under it: that of BufferedReader alone would wait until another thread has read what it waits for.
        if not self.closed:
            self.raw.close()
        super().close()


class FileWriter(io.BufferedIOBase):
    """A file being written, a binary file object. It appears under its name, whole, when it is closed.

    When the ``with`` block throws, on :meth:`discard` and when it is dropped unclosed, nothing of it appears and what
    was there stays. Nor after a :meth:`write` or :meth:`flush` that raised, Ctrl-C included: what of it arrived is not
    known, so whatever is called next raises :class:`SandboxNotReady`.
    """

    def __init__(self, native: _core.Writer) -> None:
        self._native = native
        self._buffer = bytearray()
        self._broken = self._discarded = False

    def writable(self) -> bool:
        return True

    def write(self, content: Buffer) -> int:
        if self.closed:
            raise ValueError("write to a closed file")
        data = check.bytes_like("content", content)
        size = len(data) if isinstance(data, bytes) else data.nbytes
        self._go_on(data)
        return size

    def flush(self) -> None:
        """Sends what has been gathered; waits while the guest is slower."""
        if not self._discarded:  # IOBase.close() flushes, too
            self._go_on(None)

    def _go_on(self, data: Buffer | None) -> None:
        if self._broken:
            self.discard()
            raise SandboxNotReady("an earlier write was interrupted or failed: the file does not appear; write it anew")
        try:
            if data is not None:
                self._buffer += data
            if self._buffer and (data is None or len(self._buffer) >= _PIECE):
                gathered, self._buffer = self._buffer, bytearray()
                self._native.write(gathered)
        except BaseException:
            self._broken = True
            raise

    def close(self) -> None:
        """Sends the rest and puts the file in its place. May be called again."""
        if self.closed:
            return
        try:
            self.flush()
            self._native.finish()
        finally:
            self.discard()

    def discard(self) -> None:
        """Gives up: the file does not appear."""
        if not self.closed:
            self._buffer = bytearray()
            self._discarded = True
            self._native.discard()
            io.IOBase.close(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def __del__(self) -> None:  # that of IOBase would call close() and so publish half a file
        if hasattr(self, "_native"):
            self.discard()


class Files:
    """The files of a sandbox, reached as ``sandbox.files``.

    Paths are absolute; ``..``, NUL and more than 4096 bytes are refused (:class:`InvalidArgument`) before anything is
    sent. Writing, deleting, making and moving is possible under ``/workspace``, ``/tmp`` and ``/persist``, elsewhere
    :class:`NotPermitted`. Reading is possible everywhere. Every function raises :class:`SandboxNotReady` when the
    sandbox does not run.
    """

    __slots__ = ("_native",)

    def __init__(self, native: _core.Files) -> None:
        self._native = native

    def read(self, path: str) -> str:
        """The whole file as text.

        Raises: :class:`FileNotFound`, :class:`IsADirectory`; :class:`InvalidArgument` when it is not UTF-8: nothing
        is replaced silently.
        """
        data = self.read_bytes(path)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InvalidArgument(
                f"{path} is not UTF-8 text: byte {data[error.start]:#04x} at offset {error.start}; use read_bytes()"
            ) from error

    def read_bytes(self, path: str) -> bytes:
        """The whole file.

        Raises: :class:`FileNotFound`, :class:`IsADirectory`.
        """
        return self._native.read(check.text("path", path))

    def write(self, path: str, content: str | Buffer, *, mode: int = 0o644) -> None:
        """Creates or replaces a file, and missing parent directories. Text is written as UTF-8, bytes as they are.

        Args:
            mode: permission bits, 1 to 0o777.

        Raises: :class:`NotPermitted`, :class:`IsADirectory`.
        """
        self._native.write(check.text("path", path), check.content("content", content), check.integer("mode", mode))

    def write_bytes(self, path: str, content: Buffer, *, mode: int = 0o644) -> None:
        """:meth:`write` for anything bytes-like."""
        self._native.write(check.text("path", path), check.bytes_like("content", content), check.integer("mode", mode))

    def list(self, path: str) -> list[FileEntry]:
        """The entries of a directory, sorted by name.

        Raises: :class:`FileNotFound`, :class:`NotADirectory`.
        """
        records = self._native.list(check.text("path", path))
        return [_to_entry(record) for record in records]

    def delete(self, path: str) -> None:
        """Deletes a file or a link.

        Raises: :class:`FileNotFound`, :class:`IsADirectory`, :class:`NotPermitted`.
        """
        self._native.delete(check.text("path", path))

    def mkdir(self, path: str, parents: bool = True) -> None:
        """Makes a directory. With ``parents`` also the missing ones above it, and one that is there is no error.

        Raises: :class:`NotPermitted`; without ``parents`` :class:`FileNotFound`, :class:`FileExists`.
        """
        self._native.mkdir(check.text("path", path), check.flag("parents", parents))

    def move(self, source: str, destination: str) -> None:
        """Renames a file or directory.

        Raises: :class:`FileNotFound`, :class:`NotPermitted`.
        """
        self._native.move(check.text("source", source), check.text("destination", destination))

    def stat(self, path: str) -> FileStat:
        """Size, mode and time of a path. One that is missing is a value with ``exists`` False."""
        record = self._native.stat(check.text("path", path))
        if not record["exists"]:
            return FileStat(path, exists=False)
        return FileStat(path, **{**record, "modified_at": to_datetime(record["modified_at"])})  # type: ignore[arg-type]

    def exists(self, path: str) -> bool:
        """Whether there is something at ``path``."""
        return self.stat(path).exists

    def write_batch(
        self, files: Mapping[str, str | Buffer] | Sequence[tuple[str, str | Buffer]], *, mode: int = 0o644
    ) -> _List[BatchWriteResult]:
        """Writes up to 64 files, each below 16 MiB, a few at a time. One that fails does not hold up the others.

        Args:
            files: ``{path: content}`` or ``[(path, content), …]``.
            mode: of all of them.

        Raises: :class:`InvalidArgument`, :class:`NotPermitted` for a path that is refused before anything is sent.
        """
        pairs = files.items() if isinstance(files, Mapping) else files
        entries = []
        for index, pair in enumerate(pairs):
            if not isinstance(pair, (tuple, list)) or len(pair) != 2:
                raise check.wrong_type(f"files[{index}]", pair, "a pair of path and content")
            name = f"files[{index}]"
            entries.append((check.text(f"{name}: path", pair[0]), check.content(f"{name}: content", pair[1])))
        records = _core.write_batch(self._native, entries, check.integer("mode", mode))
        return [BatchWriteResult(**record) for record in records]

    def presign_download(self, path: str, *, expires_in: float = 600) -> PresignedURL:
        """A URL that reads the file, for 60 to 3600 seconds. Of a service; raises :class:`NotSupported` locally."""
        return self._presign(False, path, expires_in)

    def presign_upload(self, path: str, *, expires_in: float = 600) -> PresignedURL:
        """A URL that writes the file, as :meth:`presign_download`."""
        return self._presign(True, path, expires_in)

    def _presign(self, upload: bool, path: str, expires_in: float) -> PresignedURL:
        seconds = check.seconds("expires_in", expires_in)
        record = _core.presign(self._native, upload, check.text("path", path), seconds)
        return PresignedURL(record["url"], record["method"], record["path"], to_datetime(record["expires_at"]))

    def read_stream(self, path: str) -> io.BufferedReader:
        """The file as a binary file object, pulled piece by piece with bounded memory; for files of any size.

        ``close()`` may come from another thread: who reads meanwhile gets :class:`SandboxNotReady`.

        Raises: :class:`FileNotFound`, :class:`IsADirectory`.
        """
        return _Reader(_RawReader(self._native.read_stream(check.text("path", path))), _PIECE)

    def write_stream(self, path: str, *, mode: int = 0o644) -> FileWriter:
        """A file object to write to, with bounded memory. The file appears when it is closed, see :class:`FileWriter`.

        Raises: :class:`NotPermitted`, :class:`IsADirectory`.
        """
        return FileWriter(self._native.write_stream(check.text("path", path), check.integer("mode", mode)))
