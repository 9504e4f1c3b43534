"""Templates: the images that sandboxes start from."""

from __future__ import annotations

import os
import pathlib
import shutil
import sys
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Callable, Mapping, Sequence

from . import _arguments as check
from . import _core
from .client import OrkestrClient, choose
from .errors import InvalidArgument
from .files import to_datetime


@dataclass(frozen=True)
class TemplatePart:
    """One thing that went into a template.

    Attributes:
        source: ``"kernel"``, ``"debian"``, ``"maven"``, ``"npm"`` or ``"pip"``.
        name: ``"bash"``, ``"numpy"``; for the distribution itself its suite.
        version: exact; empty for the distribution itself.
        origin: where it came from: coordinates, a file's name, the mirrors' addresses.
        sha256: of the file as the registry served it; None for packages that apt checks by signature.
        bytes: of that file; None where unknown.
    """

    source: str
    name: str
    version: str
    origin: str
    sha256: str | None
    bytes: int | None


@dataclass(frozen=True)
class TemplateInfo:
    """What is known of a template. Everything below ``built`` is None unless it is built.

    Attributes:
        name: ``"python-3.12"``.
        description: in a line.
        recipe_sha256: of the recipe it was built from; of the one there is, when it is not built.
        built: whether there is one.
        current: built from the recipe that this version has; otherwise :meth:`Template.build` makes it anew.
        build_id: of the build in use.
        directory: of its files.
        created_at: when it was built.
        bytes: size of the image of its root file system.
        digest: over image, disk and kernel: two templates with the same digest start the same machine.
        image_sha256: of the image.
        kernel: release and package version.
        parts: where everything came from, in order; only from ``inspect``, ``build`` and ``prepare``.
    """

    name: str
    description: str
    recipe_sha256: str
    built: bool
    current: bool
    build_id: str | None
    directory: str | None
    created_at: datetime | None
    bytes: int | None
    digest: str | None
    image_sha256: str | None
    kernel: str | None
    parts: tuple[TemplatePart, ...]

    @classmethod
    def _from_native(cls, record: Mapping[str, Any]) -> TemplateInfo:
        optional = ("build_id", "directory", "bytes", "digest", "image_sha256", "kernel")
        values = {name: record[name] or None for name in optional}
        parts = (
            {**part, "sha256": part["sha256"] or None, "bytes": part["bytes"] or None} for part in record["parts"]
        )
        return cls(
            name=record["name"],
            description=record["description"],
            recipe_sha256=record["recipe_sha256"],
            built=record["built"],
            current=record["current"],
            created_at=to_datetime(record["created_at"]) if record["built"] else None,
            parts=tuple(TemplatePart(**part) for part in parts),
            **values,
        )


@dataclass(frozen=True)
class TemplateProgress:
    """One moment of a build.

    Attributes:
        template: what is being built; another one, while this build waits for its turn.
        step: ``"base system"``.
        index: of the step, 1 to ``count``; 0 before the first.
        count: of steps.
        line: the last line of the step's output; it may hold anything.
        elapsed_seconds: since the build began.
    """

    template: str
    step: str
    index: int
    count: int
    line: str
    elapsed_seconds: float


OnProgress = Callable[[TemplateProgress], None]


class _Bar:
    """A line on the terminal's stderr that shows how far a build is."""

    def __init__(self) -> None:
        self._shown = False

    def __call__(self, progress: TemplateProgress) -> None:
        width = shutil.get_terminal_size().columns
        filled = 20 * max(progress.index - 1, 0) // max(progress.count, 1)
        # What tools print must not move the cursor or colour the rest of the terminal.
        line = "".join(c for c in progress.line if c.isprintable())
        text = (
            f"{progress.template} [{'=' * filled}{' ' * (20 - filled)}] {progress.index}/{progress.count} "
            f"{progress.step} ({progress.elapsed_seconds:.0f} s) {line}"
        )
        sys.stderr.write(f"\r\033[K{text[: width - 1]}")
        sys.stderr.flush()
        self._shown = True

    def end(self) -> None:
        if self._shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()


class _Line:
    """One line on stderr, for logs: a call that takes minutes must not look as if it hung."""

    def __init__(self) -> None:
        self._said = False

    def __call__(self, progress: TemplateProgress) -> None:
        if self._said or progress.step == "snapshot" or sys.stderr is None:  # (that is one of a template that is built)
            return
        print(f"orkestr: building template {progress.template}, once; takes minutes", file=sys.stderr, flush=True)
        self._said = True


class Reporter:
    """What a native build reports to: the caller's function, else a bar where stderr is a terminal, else one line there."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        if on_progress is not None and not callable(on_progress):
            raise check.wrong_type("on_progress", on_progress, "a callable that takes a TemplateProgress, or None")
        self._bar: _Bar | None = None
        if on_progress is None and sys.stderr is not None and sys.stderr.isatty():
            on_progress = self._bar = _Bar()
        self._target = on_progress or _Line()

    def __call__(self, record: dict[str, Any]) -> None:
        self._target(TemplateProgress(**record))

    def __enter__(self) -> Reporter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.end()


def _recipe_text(recipe: str | os.PathLike[str] | None) -> bytes:
    if recipe is None:
        return b""
    if isinstance(recipe, os.PathLike):
        return pathlib.Path(recipe).read_bytes()
    text = check.text("recipe", recipe)
    if not text.lstrip().startswith(b"{"):
        start = text[:80].decode("utf-8", "replace")
        raise InvalidArgument(
            f"recipe is {start!r}, which does not begin with '{{'; is this a path? Then use pathlib.Path(…); allowed: "
            "the JSON text of a recipe, or the path of its file as a pathlib.Path"
        )
    return text


class Template:
    """The images that sandboxes start from, as a set of functions.

    A template is built once on a machine and is read-only from then on. Building takes minutes and needs the network
    and the ordinary clients (mmdebstrap, mvn, npm, pip), whose own settings apply: mirrors, proxies, certificates. As
    root it is built for every user, as another user into a cache of its own, in a user namespace, which needs uidmap
    and subordinate ids. Using a template needs none of these.
    """

    @staticmethod
    def build(
        name: str = "",
        *,
        force: bool = False,
        recipe: str | os.PathLike[str] | None = None,
        on_progress: OnProgress | None = None,
        client: OrkestrClient | None = None,
    ) -> TemplateInfo:
        """Builds a template, unless it is there already, made from the same recipe.

        Args:
            name: of the template; may be left out with a ``recipe``, which names itself.
            force: build although it is there.
            recipe: a recipe of your own (docs/TEMPLATES.md): its JSON text, or the path of the file as a
                :class:`pathlib.Path`.
            on_progress: called in this thread with a :class:`TemplateProgress`; None shows a bar where stderr is a
                terminal, else writes one line there.
            client: of the local backend.

        Raises: :class:`TemplateNotFound` with the nearest names, :class:`TemplateBuildError` with the step and its
        output, :class:`InvalidArgument` for a recipe that is wrong.
        """
        arguments = (check.text("name", name), check.flag("force", force), _recipe_text(recipe))
        with Reporter(on_progress) as reporter:
            return TemplateInfo._from_native(_core.templates.build(*arguments, reporter, choose(client, None)))

    @staticmethod
    def prepare(
        name: str,
        *,
        size: str = "small",
        cpu: float | None = None,
        memory_mb: int | None = None,
        disk_mb: int | None = None,
        on_progress: OnProgress | None = None,
        client: OrkestrClient | None = None,
    ) -> TemplateInfo:
        """Makes everything ready that a first ``create`` would otherwise do: builds the template if it is missing,
        compares its files with their checksums, and makes the snapshot that every ``create`` of this size is a copy of.

        Args:
            name: of a template.
            size, cpu, memory_mb, disk_mb: the machine, as for :meth:`Sandbox.create`.
            on_progress: called in this thread with a :class:`TemplateProgress`; None shows a bar where stderr is a
                terminal, else writes one line there.
            client: of the local backend.

        Raises: as :meth:`build`, and :class:`VmError` when the machine does not start.
        """
        machine = (
            check.text("size", size),
            None if cpu is None else check.number("cpu", cpu),
            None if memory_mb is None else check.integer("memory_mb", memory_mb),
            None if disk_mb is None else check.integer("disk_mb", disk_mb),
        )
        with Reporter(on_progress) as reporter:
            return TemplateInfo._from_native(
                _core.templates.prepare(check.text("name", name), *machine, reporter, choose(client, None))
            )

    @staticmethod
    def list(*, client: OrkestrClient | None = None) -> Sequence[TemplateInfo]:
        """Every template there is a recipe for or a build of, by name."""
        return [TemplateInfo._from_native(record) for record in _core.templates.list(choose(client, None))]

    @staticmethod
    def inspect(name: str, *, client: OrkestrClient | None = None) -> TemplateInfo:
        """One template, with its parts. A known one that is not built has ``built == False``.

        Raises: :class:`TemplateNotFound`.
        """
        return TemplateInfo._from_native(_core.templates.inspect(check.text("name", name), choose(client, None)))

    @staticmethod
    def remove(name: str, *, client: OrkestrClient | None = None) -> None:
        """Removes its builds, and kernels that only they used. Sandboxes that run from it live on.

        Raises: :class:`TemplateNotFound`, also when it is not built, so that nothing is removed; :class:`NotPermitted`
        when it is another user's.
        """
        _core.templates.remove(check.text("name", name), choose(client, None))
