"""Whether the engine sees the host folders that are mounted into its containers.

It may run on another machine, or in a virtual machine that has only some of them: there they are missing,
or empty. To check, a container with all of them is created and removed; it is never started. STATE_DIR gets a
temporary mark file. The others are only compared, by their modification time, as nothing may be written
there: a copy that keeps all times passes for the folder itself.
"""

from __future__ import annotations

import os
import secrets as random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from airflow_docker import shell
from airflow_docker.engines import endpoint, engine_host
from airflow_docker.errors import UserError

STATE = "STATE_DIR"
_MARK = ".seen-"
_SEEN = "/seen"
_REFUSED = 125
"""What `docker run` ends with if the engine does not make or start the container."""
_LIST = f"stat -c %Y {_SEEN} && ls -A {_SEEN}"


@dataclass(frozen=True)
class Look:
    """A check of ``folders``, by the names of their settings, with containers from ``image``."""

    project: str
    image: str
    folders: Mapping[str, Path]

    # --- what is run: builders ---

    @property
    def container(self) -> str:
        """A fixed name: the next run removes what a killed run has left."""
        return f"{self.project}-bind-mounts"

    def create_command(self) -> list[str]:
        """Labelled as compose labels a container for one command, so that `inv down` removes it too."""
        labels = (f"project={self.project}", "oneoff=True", "config-hash=none")
        options = [arg for label in labels for arg in ("--label", f"com.docker.compose.{label}")]
        for number, folder in enumerate(self.folders.values()):
            options += ["--mount", mount(folder, f"{_SEEN}/{number}")]
        call = ["docker", "create", "--name", self.container, "--pull", "never", *options]
        return [*call, "--entrypoint", "sh", self.image]

    def remove_command(self) -> list[str]:
        return ["docker", "rm", "--force", "--volumes", self.container]

    def read_command(self, path: str) -> list[str]:
        """A file or folder in it, as a tar file on standard output: the entry itself comes first."""
        return ["docker", "cp", f"{self.container}:{_SEEN}/{path}", "-"]

    def list_command(self, folder: Path | None) -> list[str]:
        """Time and names of one folder, in a container that runs; or nothing, in one without any folder."""
        own = ["--mount", mount(folder, _SEEN)] if folder else []
        options = ["--rm", "--pull", "never", "--network", "none", "--user", "0:0", *own, "--entrypoint", "sh"]
        return ["docker", "run", *options, self.image, "-c", _LIST if folder else "true"]

    # --- what is done ---

    def unseen(self) -> dict[str, Path]:
        """The folders that the engine does not see. Raises UserError if docker cannot be started."""
        with _marked(self.folders.get(STATE)) as mark:
            if self._sees_all(mark) or self._refuses_all():
                return {}
            return {name: folder for name, folder in self.folders.items() if not self._sees(name, folder, mark)}

    def _sees_all(self, mark: str) -> bool:
        """The quick check. If it fails, it may be wrong: a share may show an old time, or map root to nobody."""
        try:
            if shell.capture(self.create_command()).returncode:
                return False
            numbered = enumerate(self.folders.items())
            return all(self._is_same(n, folder, mark if name == STATE else "") for n, (name, folder) in numbered)
        finally:
            shell.capture(self.remove_command())

    def _is_same(self, number: int, folder: Path, mark: str) -> bool:
        """Whether the mark is there, or else the time is the same, and both have something in them or neither."""
        import tarfile

        before = folder.stat().st_mtime
        with shell.reading(self.read_command(f"{number}/{mark}")) as output:
            try:
                with tarfile.open(fileobj=output, mode="r|") as archive:
                    entry, is_filled = archive.next(), archive.next() is not None
            except tarfile.TarError:  # nothing came: it is not there
                return False
        times = (int(before), int(folder.stat().st_mtime))  # it may be written at this moment
        return entry is not None and (bool(mark) or (int(entry.mtime) in times and is_filled in _may_be_filled(folder)))

    def _refuses_all(self) -> bool:
        """True if not even a container without folders can be run: then the folders are not the cause."""
        return shell.capture(self.list_command(None)).returncode != 0

    def _sees(self, name: str, folder: Path, mark: str) -> bool:
        """Whether a running container sees it; True if that cannot be determined."""
        result = shell.capture(self.list_command(folder))
        if result.returncode:
            return result.returncode != _REFUSED
        time, *names = result.stdout.splitlines()
        if name == STATE:
            return mark in names
        try:
            own = {entry.name for entry in folder.iterdir()}
        except OSError:
            return True
        return bool(own & set(names)) or (not own and not names and time == str(int(folder.stat().st_mtime)))


def _may_be_filled(folder: Path) -> tuple[bool, ...]:
    """Whether it has entries; both, if this user may not list it. Only the first is read: an archive has many."""
    try:
        with os.scandir(folder) as entries:
            return (next(entries, None) is not None,)
    except OSError:
        return (True, False)


def mount(folder: Path, target: str) -> str:
    """One read-only bind mount, as a line of CSV; the engine does not create a missing folder for it."""
    fields = ("type=bind", f"source={folder}", f"target={target}", "readonly")
    return ",".join(f'"{field.replace(chr(34), chr(34) * 2)}"' for field in fields)


@contextmanager
def _marked(folder: Path | None) -> Iterator[str]:
    """A mark file with a new name in ``folder``, in this context; yields the name."""
    if folder is None:
        yield ""
        return
    for left in folder.glob(f"{_MARK}*"):
        left.unlink(missing_ok=True)
    file = folder / f"{_MARK}{random.token_hex(8)}"
    file.touch()
    try:
        yield file.name
    finally:
        file.unlink(missing_ok=True)


def require(look: Look, otherwise: str) -> None:
    """Raise UserError unless the engine sees all folders; ``otherwise`` is what can be done without it."""
    unseen = look.unseen()
    if unseen:
        at = endpoint.current()
        named = ", ".join(f"{name} ({folder})" for name, folder in unseen.items())
        todo = engine_host.remedy(engine_host.ask(), at, unseen.values())
        raise UserError("docker", f"the engine at {at.shown} does not see {named}.", f"{todo} {otherwise}")
