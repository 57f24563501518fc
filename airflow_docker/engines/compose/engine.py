"""The compose engine: Docker on this host, through ``docker compose`` and compose.yaml."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, ClassVar

from airflow_docker import console, interruption, secret_files, shell
from airflow_docker.engines import ServiceState, folders, health, images, merged_logs, ports
from airflow_docker.engines.compose import bind_mounts
from airflow_docker.engines.compose.commands import REPORT, Commands, identity, sizes_command
from airflow_docker.engines.compose.image_builder import ImageBuilder
from airflow_docker.engines.compose.plugin import KNOWS_TAGS, plugin_version
from airflow_docker.engines.compose.postgres import Postgres
from airflow_docker.errors import UserError, collected, raise_all
from airflow_docker.findings import Check
from airflow_docker.locks import Lock
from airflow_docker.settings import is_macos


@dataclass(frozen=True)
class Compose(Commands):
    """The stack of one project."""

    name = "compose"
    renewed_while_running: ClassVar[tuple[str, ...]] = ()
    one_shot = ("init",)
    instead_of_mounts = "Or set ENGINE=standalone."
    """The alternative if the engine does not see our folders."""

    def with_artifact(self, artifact: str) -> Compose:
        return Compose(self.settings, artifact)

    @property
    def secret_owner(self) -> secret_files.SecretOwner:
        """The containers' user; Docker Desktop shows files to every container user as its own."""
        return secret_files.SecretOwner(
            None if is_macos() else self.settings.airflow_uid, secret_files.DRS_CNF_IN_CONTAINER
        )

    @property
    def database(self) -> Postgres:
        return Postgres(self)

    @property
    def builder(self) -> ImageBuilder:
        return ImageBuilder(self.settings, self.image)

    def problem(self) -> UserError | None:
        """Why this engine cannot run here, or None."""
        try:
            self.require()
            self._require_users()
        except UserError as error:
            return error
        return None

    def checks(self) -> tuple[Check, ...]:
        from airflow_docker.engines.compose import checks

        return checks.CHECKS

    def require_answer(self) -> None:
        images.require_engine()

    def require(self) -> None:
        images.require_engine()
        plugin_version()

    def require_bind_mounts(self) -> None:
        present = {name: folder for name, folder in self.mounted_folders().items() if folder.is_dir()}
        if present:
            image = self.image or images.require(self.settings.postgres_image, "POSTGRES_IMAGE")["Id"]
            look = bind_mounts.Look(self.settings.compose_project_name, image, present)
            bind_mounts.require(look, self.instead_of_mounts)

    def mounted_folders(self) -> dict[str, Path]:
        """The host folders for bind mounts; STATE_DIR includes all that is in it."""
        settings = self.settings
        mounts = {bind_mounts.STATE: settings.state_dir, "SECRETS_DIR": settings.secrets_dir}
        inside = settings.state_dir.resolve()  # a link in it may lead elsewhere
        others = folders.mounted(settings).items()
        return mounts | {name: one for name, one in others if not one.resolve().is_relative_to(inside)}

    def require_fit(self) -> None:
        raise_all(collected([self._require_tags, self._require_users]))

    def _require_tags(self) -> None:
        """Older plugins ignore a tag that they do not know, and would leave secrets where they must not be."""
        has_tags = any("!override" in layer.read_text() for layer in self.layers)
        if has_tags and shell.version_in(version := plugin_version()) < KNOWS_TAGS:
            what = f"version {version} does not understand {self.layers[-1].name}."
            raise UserError("docker compose", what, f"Install {'.'.join(map(str, KNOWS_TAGS))} or newer.")

    def _require_users(self) -> None:
        """If the engine maps uids, no container can read a file that only its owner may read."""
        security_options = shell.capture(
            ["docker", "info", "--format", "{{.SecurityOptions}}"], timeout=images.ASK_SECONDS
        ).stdout
        if kind := re.search(r"name=(rootless|userns)", security_options):
            what = f"the engine maps users ({kind[1]}), so its containers cannot read the secret files."
            raise UserError("docker", what, "Use an engine that does not, or set ENGINE=standalone.")

    def start_lock(self) -> Lock:
        """Two starts at once would replace each other's containers."""
        return Lock(self.settings.state_dir / "up.lock", f"start of {self.settings.compose_project_name}")

    @contextlib.contextmanager
    def restarting(self, services: list[str]) -> Iterator[Callable[[], bool]]:
        with self.start_lock():
            self.write_overlay()
            result = shell.capture(self.stop_command(services), env=self.environment())
            if result.returncode:
                console.say(result.stderr.rstrip())
                raise UserError("docker compose stop", f"ended with exit code {result.returncode}.", "Try again.")
            with self._up(services, unchanged=True) as is_done:
                yield is_done

    @contextlib.contextmanager
    def starting(self, *, unchanged: bool, workers: int = 0) -> Iterator[Callable[[], bool]]:
        with self.start_lock(), self._up((), unchanged=unchanged, workers=workers) as is_done:
            yield is_done

    @contextlib.contextmanager
    def _up(self, services: Sequence[str], *, unchanged: bool, workers: int = 0) -> Iterator[Callable[[], bool]]:
        """Compose itself decides what to recreate; its output goes to a file and is shown when it fails."""
        before = {state.container: state for state in self.states()}
        if not any(s.service == self.release.page and s.state in ("running", "restarting") for s in before.values()):
            ports.require_free(self.settings.airflow_port, self.port_owner)
        images.require(self.settings.postgres_image, "POSTGRES_IMAGE")
        if self.is_celery:
            images.require(self.settings.redis_image, "REDIS_IMAGE")
        self.require_bind_mounts()
        self.write_overlay()
        self._end_others(list(before.values()))
        log = self.settings.state_dir / "up.log"
        # Workers that `inv scale` has added stay while the configuration is unchanged.
        running = sum(state.service == "worker" for state in before.values()) if unchanged else 0
        command = self.up_command(services, workers or running or self.settings.workers)
        process = shell.start(command, env=self.environment(), log=log)
        try:
            yield lambda: self._has_settled(process, log, before)
        finally:
            if process.poll() is None:
                interruption.end(process.pid)
                process.wait()

    def _end_others(self, states: list[ServiceState]) -> None:
        """Stop services that the settings no longer have, as workers after a change of EXECUTOR."""
        others = [s for s in states if s.service not in self.services() and s.state == "running"]
        if others:
            with console.step(f"Stopping {', '.join(sorted({s.service for s in others}))}"):
                shell.capture(self.end_command([s.container for s in others]))

    def workers(self) -> int:
        if not self.is_celery:
            what = "is LocalExecutor: the scheduler runs the tasks, and there are no workers."
            raise UserError("EXECUTOR", what, "Set EXECUTOR=CeleryExecutor in .env and type: inv up")
        return sum(state.service == "worker" and state.state == "running" for state in self.states())

    def scale(self, workers: int) -> None:
        with self.start_lock():
            self.require_bind_mounts()
            self.write_overlay()
            code = shell.stream(self.scale_command(workers), env=self.environment())
        if code:
            raise UserError("inv scale", f"docker compose ended with exit code {code} (see above).", "Try again.")

    def _has_settled(self, process: shell.Process[bytes], log: Path, before: dict[str, ServiceState]) -> bool:
        code = process.poll()
        if code:
            self._blame(before)
            console.say(log.read_text(errors="replace").rstrip())
            what = f"ended with exit code {code} (see above)."
            raise UserError("docker compose up", what, "Fix that and type: inv up")
        return code == 0

    def _blame(self, before: dict[str, ServiceState]) -> None:
        """If compose failed because of a service, report that service instead."""
        time.sleep(health.POLL_SECONDS)
        verdict = health.judge(self.states(), self.services(), self.one_shot, before)
        if verdict.failed:
            raise health.error(self, verdict.failed, verdict.reason)

    def stop(self, data: bool) -> None:
        """Remove containers and networks, and with ``data`` the volumes."""
        with self.start_lock():
            self.write_overlay()
            code = shell.stream(self.down_command(data), env=self.environment())
        if code:
            raise UserError("inv down", f"docker compose ended with exit code {code} (see above).", "Try again.")

    def states(self) -> list[ServiceState]:
        listed = shell.capture(self.containers_command(), timeout=images.ASK_SECONDS)
        if listed.returncode:
            raise UserError("docker", f"the engine does not answer ({listed.stderr.strip()}).", "Is it running?")
        ids = listed.stdout.split()
        if not ids:
            return []
        # A container may be gone between the two calls; the others are still listed.
        containers = images.listed(
            shell.capture(["docker", "inspect", *ids], timeout=images.ASK_SECONDS).stdout or "[]"
        )
        return [_state(container) for container in containers]

    def is_there(self) -> bool:
        once = shell.capture(self.containers_command(once=True), timeout=images.ASK_SECONDS).stdout
        return bool(once) or bool(self.states())

    def last_lines(self, container: str, lines: int = 20) -> str:
        result = shell.capture(["docker", "logs", "--tail", str(lines), container], timeout=images.ASK_SECONDS)
        return (result.stdout + result.stderr).rstrip()

    def execute(self, service: str, args: list[str]) -> int:
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        return shell.stream(self.exec_command(self.container(service), args, terminal), interactive=True)

    def ask(self, service: str, args: list[str]) -> CompletedProcess[str]:
        return shell.capture(self.exec_command(self.container(service), args, terminal=False))

    def container(self, service: str) -> str:
        """The running container of a service. Raises UserError if there is none."""
        ids = shell.capture(self.running_command(service), timeout=images.ASK_SECONDS).stdout.split()
        if not ids:
            raise UserError(service, "the service is not running.", "Type: inv up")
        return ids[0]

    def logs(self, services: list[str], *, follow: bool, tail: int | None, since: datetime | None) -> int:
        stamp = since.isoformat() if since else ""
        self.write_overlay()
        is_terminal, env = sys.stdout.isatty(), self.environment()
        command = self.logs_command(services, follow, tail, stamp, colours=is_terminal and not follow)
        if not follow:
            return merged_logs.show([command], env)
        if is_terminal:
            return shell.stream(command, env=env)
        return shell.relay(command, lambda line: line.removeprefix(merged_logs.ERASE), env=env)

    def parse_dags(self, *, isolated: bool) -> CompletedProcess[str]:
        self.require_bind_mounts()
        self.write_overlay()
        runs = bool(self.states())
        result = shell.capture(self.parse_command(own_database=isolated or not runs), env=self.environment())
        if not runs and not self.is_there():  # remove its networks, unless a start has begun meanwhile
            shell.capture(self.down_command(), env=self.environment())
        return result

    def apply_key(self, name: str) -> CompletedProcess[str]:
        self.require_bind_mounts()
        self.write_overlay()
        return shell.capture(self.keys_command(name), env=self.environment())

    def running_artifact(self) -> str | None:
        containers = [s.container for s in self.states() if s.service == "scheduler" and s.state == "running"]
        if not containers:
            return None
        return (
            shell.capture(["docker", "inspect", "--format", "{{.Config.Image}}", containers[0]]).stdout.strip() or None
        )

    def data(self) -> list[str]:
        return shell.capture(self.volumes_command(), timeout=images.ASK_SECONDS).stdout.split()

    def config_digest(self) -> str:
        """All compose files, both kinds of variables, the overlay, and what only init reads.

        Not the base image: it determines what is built, and each built image has a name of its own.
        """
        read = [file.read_text() for file in (*self.layers, *self.variable_files)]
        variables = self.environment() | {"AIRFLOW_BASE_IMAGE": ""}
        admin = identity([self.settings.secrets_dir / "admin_password"])
        return json.dumps([read, variables, self.overlay, admin], sort_keys=True)

    def report_killed(self) -> None:
        for container in self.containers_of([self.task_service]):
            shell.capture(self.exec_command(container, [*REPORT, self.task_service, "true"], terminal=False))

    def containers_of(self, services: Sequence[str]) -> list[str]:
        """Their running containers on this host."""
        return [s.container for s in self.states() if s.service in services and s.state == "running"]

    def written(self) -> list[tuple[str, int]]:
        containers = self.containers_of(self.dag_services)
        sizes = shell.capture(sizes_command(containers)).stdout.splitlines() if containers else []
        return [(name.lstrip("/"), int(size)) for name, size in map(str.split, sizes)]

    def port_owner(self, port: int) -> str:
        """Which container has published a port, if one has."""
        shown = ["docker", "ps", "--filter", f"publish={port}", "--format", "{{.Names}}"]
        names = shell.capture(shown, timeout=images.ASK_SECONDS).stdout.split()
        return f"the container {names[0]}" if names else ""


def _state(container: dict[str, Any]) -> ServiceState:
    state = container["State"]
    # RestartCount begins at 0 again after a start by hand, and after a start of Docker itself.
    has_crashed = container["RestartCount"] and state["Status"] in ("running", "restarting")
    probes = (state.get("Health") or {}).get("Log") or []
    return ServiceState(
        service=container["Config"]["Labels"]["com.docker.compose.service"],
        container=container["Id"],
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status", ""),
        exit_code=state["ExitCode"],
        restarts=container["RestartCount"],
        started=state["StartedAt"],
        probe=probes[-1]["Output"].strip() if probes else "",
        image=container["Config"]["Image"],
        image_id=container["Image"],
        number=int(container["Config"]["Labels"].get("com.docker.compose.container-number", 1)),
        crashed=state["FinishedAt"] if has_crashed else "",
        out_of_memory=state["Status"] != "running" and state["OOMKilled"],
    )
