"""What the compose engine runs: argument lists, variables and overlays. Nothing here runs anything."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, cast

from airflow_docker import PROJECT, files, secret_files
from airflow_docker.building.manifest import Manifest
from airflow_docker.engines import release
from airflow_docker.engines.release import Release
from airflow_docker.settings import Settings, names

COMPOSE_FILE, OVERLAYS = PROJECT / "compose.yaml", PROJECT / "docker"
NOT_AIRFLOW = ("postgres", "redis")
"""Services that run another image than ours."""
_LABEL, _SERVICE, _ONCE = (f"com.docker.compose.{name}" for name in ("project", "service", "oneoff"))
_STOP_SECONDS = "30"
_SOON = ("--timeout", _STOP_SECONDS)
"""A start or stop of the stack does not wait for tasks to end: a sensor may run for days.

Workers get as long as the scheduler, which runs the tasks otherwise; only `inv scale` gives them
their own stop_grace_period to drain.
"""
REPORT = ("sh", "/opt/airflow-docker/memory.sh")
"""Reports what was killed in a container, then runs the command that follows the service's name."""
SCRATCH_DATABASE = "/tmp/dags.db"  # noqa: S108  in a container that is removed


@dataclass(frozen=True)
class Commands:
    """The calls for one project; ``image`` is the Airflow image with its tag."""

    settings: Settings
    image: str = ""

    @property
    def layers(self) -> list[Path]:
        """compose.yaml, and the files of docker/ that the settings add to it."""
        files = [COMPOSE_FILE]
        if self.is_celery:
            files.append(OVERLAYS / "celery.yaml")
        if self.release.number == 3:
            files.append(OVERLAYS / "airflow-3.yaml")
        return files

    @property
    def variable_files(self) -> list[Path]:
        """The env files of docker/ for the services of Airflow."""
        return [OVERLAYS / f"airflow-{self.release.number}.env", OVERLAYS / f"{self.settings.executor}.env"]

    @property
    def release(self) -> Release:
        return release.of(self.settings)

    @property
    def image_name(self) -> str:
        """The name of all our images, without the tag."""
        return self.settings.airflow_image

    @property
    def is_celery(self) -> bool:
        return self.settings.executor == "CeleryExecutor"

    @property
    def task_service(self) -> str:
        """The service that runs the tasks."""
        return "worker" if self.is_celery else "scheduler"

    @property
    def dag_services(self) -> list[str]:
        """The services that import DAG files: all but the databases, init and the web UI."""
        others = (*NOT_AIRFLOW, "init", self.release.page)
        return [name for name in self.services() if name not in others]

    def services(self) -> list[str]:
        """The services of all layers, in the order in which they stand there."""
        services: dict[str, Any] = {}
        for layer in self.layers:
            services |= _read_layer(layer)["services"]
        return [name for name, service in services.items() if service is not None]

    def command(self, *args: str) -> list[str]:
        """A ``docker compose`` call that depends on nothing but its arguments and :meth:`environment`."""
        overlays = [self.overlay_file] if self.overlay else []
        files = [arg for file in (*self.layers, *overlays) for arg in ("--file", str(file))]
        return [
            "docker", "compose", "--project-name", self.settings.compose_project_name,
            "--project-directory", str(PROJECT), "--env-file", "/dev/null",
            *files, *args,
        ]  # fmt: skip

    def build_command(self, overlay: Path, no_cache: bool = False) -> list[str]:
        """``overlay`` adds what only this build knows: labels and times."""
        return self.command("--file", str(overlay), "build", *(["--no-cache"] if no_cache else []), "init")

    def up_command(self, services: Sequence[str] = (), workers: int = 1) -> list[str]:
        """``workers`` is their number, where the executor has workers."""
        has_workers = self.is_celery and (not services or "worker" in services)
        scale = ["--scale", f"worker={workers}"] if has_workers else []
        options = ("--detach", "--no-build", "--remove-orphans", *(_SOON if self.is_celery else ()))
        return self.command("up", *options, *scale, *services)

    def scale_command(self, workers: int) -> list[str]:
        """Running containers stay; workers that are removed may drain for WORKER_STOP_SECONDS."""
        alone = ("--no-build", "--no-deps", "--no-recreate")
        return self.command("up", "--detach", *alone, "--scale", f"worker={workers}", "worker")

    def down_command(self, volumes: bool = False) -> list[str]:
        return self.command("down", "--remove-orphans", *_SOON, *(["--volumes"] if volumes else []))

    def stop_command(self, services: Sequence[str]) -> list[str]:
        return self.command("stop", *_SOON, *services)

    def end_command(self, containers: Sequence[str]) -> list[str]:
        """For services that no layer has any more: ``up`` would give them their own stop_grace_period."""
        return ["docker", "stop", "-t", _STOP_SECONDS, *containers]

    def exec_command(self, container: str, args: list[str], terminal: bool) -> list[str]:
        return ["docker", "exec", "--interactive", *(["--tty"] if terminal else []), container, *args]

    def logs_command(
        self, services: list[str], follow: bool, tail: int | None, since: str, colours: bool = False
    ) -> list[str]:
        """With the time of each line, to merge them by, unless they are followed."""
        options = ["--follow" if follow else "--timestamps", *([] if tail is None else ["--tail", str(tail)])]
        ansi = ["--ansi", "always"] if colours else []
        return self.command(*ansi, "logs", *options, *(["--since", since] if since else []), *services)

    def parse_command(self, own_database: bool) -> list[str]:
        """A container like the scheduler's, with the database of the stack, or with a temporary one."""
        scratch = ["--env", f"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=sqlite:///{SCRATCH_DATABASE}"]
        return self.command(
            "run", "--rm", "--no-deps", "--no-TTY", "--quiet-pull",
            *(scratch if own_database else []), self.release.parser,
            "python", "/opt/airflow-docker/dags.py", "/opt/airflow/dags",
        )  # fmt: skip

    def keys_command(self, name: str) -> list[str]:
        """In a container like that of init, which has all keys."""
        script = ["python", "/opt/airflow-docker/keys.py", name]
        return self.command("run", "--rm", "--no-deps", "--no-TTY", "--quiet-pull", "init", *script)

    def containers_command(self, *, once: bool = False) -> list[str]:
        """The containers of the services, or, ``once``, those that run one command alone."""
        labels = (f"{_LABEL}={self.settings.compose_project_name}", f"{_ONCE}={once}")
        return ["docker", "ps", "--all", "--quiet", "--no-trunc", *_with(labels)]

    def running_command(self, service: str) -> list[str]:
        """The containers of one service that run."""
        labels = (f"{_LABEL}={self.settings.compose_project_name}", f"{_SERVICE}={service}", f"{_ONCE}=False")
        return ["docker", "ps", "--quiet", "--no-trunc", *_with(labels)]

    def volumes_command(self) -> list[str]:
        label = f"label={_LABEL}={self.settings.compose_project_name}"
        return ["docker", "volume", "ls", "--quiet", "--filter", label]

    def environment(self) -> dict[str, str]:
        """The values of compose.yaml's variables: settings, and nothing secret."""
        values = {name: self.settings.shown(name) for name in names()}
        return values | {
            "AIRFLOW_IMAGE": self.image or self.settings.airflow_image,
            "AIRFLOW_RELEASE": str(self.release.number),
            "PAGE_PATH": self.release.web_ui_path(self.settings),
            "HEALTH_PATH": self.release.web_ui_path(self.settings) + self.release.health_path,
            "MOUNTED": mounted(self.settings),
        }

    @cached_property
    def overlay(self) -> dict[str, Any]:
        """What the settings add to compose.yaml: Airflow options of .env and EXTRA_MOUNTS."""
        services: dict[str, Any] = {}
        if options := self.settings.airflow_options:
            literal = {name: value.replace("$", "$$") for name, value in options.items()}
            services = {name: {"environment": literal} for name in self.services() if name not in NOT_AIRFLOW}
        if self.settings.extra_mounts:
            mounts = [
                {"type": "bind", "source": str(host).replace("$", "$$"), "target": target,
                 "bind": {"create_host_path": False}}
                for host, target in self.settings.extra_mounts
            ]  # fmt: skip
            for name in self.dag_services:
                services.setdefault(name, {})["volumes"] = mounts
        return {"services": services} if services else {}

    @property
    def overlay_file(self) -> Path:
        return self.settings.state_dir / "compose.overlay.yaml"

    def write_overlay(self) -> None:
        """Write the generated overlay, if there is anything in it."""
        if self.overlay:
            import yaml

            files.make_directory(self.settings.state_dir, "STATE_DIR")
            files.write(self.overlay_file, yaml.safe_dump(self.overlay, sort_keys=True).encode())

    def images_command(self) -> list[str]:
        """Our images: those with AIRFLOW_IMAGE's name and our label."""
        shown = "{{.Repository}}:{{.Tag}}"
        label = "label=airflow-docker.fingerprint"
        return ["docker", "image", "ls", "--filter", label, "--format", shown, self.image_name]


def _with(labels: Sequence[str]) -> list[str]:
    return [arg for label in labels for arg in ("--filter", f"label={label}")]


def sizes_command(containers: Sequence[str]) -> list[str]:
    """The name of each, and the bytes of what it has written into its own files."""
    return ["docker", "inspect", "--size", "--format", "{{.Name}} {{.SizeRw}}", *containers]


@cache
def _read_layer(file: Path) -> dict[str, Any]:
    """A compose file; ``!reset`` removes what a layer below it has, ``!override`` is read as the value after it."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # libyaml's, if it is installed
        """Knows compose's own two tags too."""

    Loader.add_constructor("!reset", lambda _, node: None)
    Loader.add_constructor(
        "!override", lambda loader, node: yaml.SafeLoader.construct_sequence(loader, cast(Any, node))
    )
    layer: dict[str, Any] = yaml.load(file.read_text(), Loader)  # noqa: S506  a subclass of the safe one
    return layer


def mounted(settings: Settings) -> str:
    """Changes when a secret file or a mounted folder is replaced by another of the same name.

    A container keeps the files it was started with, so it must be recreated when this changes. Computed from the
    entries' identity (device, inode; for files also the time), not from their content. Without the
    admin's password: only init reads that, each time it runs.
    """
    folders = [settings.workflow_dev_dir / settings.dags_dir, settings.arch_root, settings.logs_dir,
               settings.app_log_dir, settings.work_data_dir, settings.archive0_dir, settings.archive1_dir,
               settings.archive2_dir, settings.archive3_dir, *(host for host, _ in settings.extra_mounts)]  # fmt: skip
    files = [file for file in secret_files.files_of(settings) if file.name != "admin_password"]
    return identity(files, folders)


def identity(files: Sequence[Path], folders: Sequence[Path] = ()) -> str:
    """Changes when one of these is replaced by another of the same name."""
    parts = []
    for entry in [*files, *folders]:
        with contextlib.suppress(OSError):
            status = entry.stat()
            parts.append((entry.name, status.st_dev, status.st_ino, 0 if entry in folders else status.st_mtime_ns))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def build_overlay(manifest: Manifest, wheels: bool) -> dict[str, Any]:
    """What a build adds to compose.yaml: labels, and the times that files and image get instead of the clock's.

    ``wheels`` are built first where compilers are asked for, in the Dockerfile's stage of that name.
    """
    labels = {name: value.replace("$", "$$") for name, value in manifest.labels().items()}
    args = {"SOURCE_DATE_EPOCH": str(manifest.epoch), "LAYER_EPOCH": str(manifest.layer_epoch)}
    args["WHEELS"] = "wheels" if wheels else "no-wheels"
    return {"services": {"init": {"build": {"labels": labels, "args": args}}}}
