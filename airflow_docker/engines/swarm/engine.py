"""The swarm engine: several hosts that are a Docker Swarm, through `docker stack` and the same compose files."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from subprocess import CompletedProcess
from typing import ClassVar

from airflow_docker import PROJECT, locks, project_state, secret_files, shell
from airflow_docker.engines import ServiceState, health, images, merged_logs, ports
from airflow_docker.engines.compose import image_context
from airflow_docker.engines.compose.commands import SCRATCH_DATABASE
from airflow_docker.engines.compose.engine import Compose
from airflow_docker.engines.compose.image_builder import ImageBuilder
from airflow_docker.engines.folders import ARCHIVES, WRITTEN, mounted
from airflow_docker.engines.swarm import commands, registry_push
from airflow_docker.engines.swarm.cluster import cluster
from airflow_docker.engines.swarm.postgres import SwarmPostgres
from airflow_docker.engines.swarm.rollout import Rollout
from airflow_docker.engines.swarm.secret_versions import SecretVersions
from airflow_docker.engines.swarm.stack import ARTIFACT, ONCE, STORES, Config, Plan, job_stack, literal, stack, subset
from airflow_docker.engines.swarm.tasks import Inspected, Services, exit_code, is_running
from airflow_docker.errors import Superseded, UserError, collected, raise_all
from airflow_docker.findings import Check

LONGEST_NAME = 30
"""Of a project: Swarm takes secrets of 64 characters, and ours are called PROJECT_webserver_secret_key_VERSION."""
_GONE_SECONDS, _ALONE_SECONDS, _ONCE_SECONDS = 90.0, 120.0, 600.0


@dataclass(frozen=True)
class RegistryImageBuilder(ImageBuilder):
    """Images whose name begins with that of the registry."""

    @property
    def image_name(self) -> str:
        return f"{self.settings.image_registry}/{self.settings.airflow_image}"


@dataclass(frozen=True)
class Swarm(Compose):
    """The stack of one project, on all hosts. Images are built as on compose, by the engine of this one."""

    name = "swarm"
    renewed_while_running: ClassVar[tuple[str, ...]] = ("webserver_secret_key", "jwt_secret")
    instead_of_mounts = ""

    def with_artifact(self, artifact: str) -> Swarm:
        return Swarm(self.settings, artifact)

    @property
    def database(self) -> SwarmPostgres:
        return SwarmPostgres(self)

    @property
    def builder(self) -> RegistryImageBuilder:
        return RegistryImageBuilder(self.settings, self.image)

    @property
    def project(self) -> str:
        return self.settings.compose_project_name

    @property
    def artifact_name(self) -> str:
        """The image's name in the configuration of compose."""
        return self.image or self.settings.airflow_image

    def checks(self) -> tuple[Check, ...]:
        from airflow_docker.engines.swarm import checks

        return checks.CHECKS

    def require_answer(self) -> None:
        super().require_answer()
        cluster().require(self.project)

    def require(self) -> None:
        super().require()
        cluster().require(self.project)

    def require_fit(self) -> None:
        raise_all(collected([self._require_settings, super().require_fit]))

    def _require_settings(self) -> None:
        raise_all(collected([self._require_workers, self._require_registry, self._require_short_name]))

    def _require_workers(self) -> None:
        if not self.is_celery:
            what = f"{self.settings.executor} runs all tasks in the scheduler; on swarm, workers on all hosts run them."
            raise UserError("EXECUTOR", what, "Set EXECUTOR=CeleryExecutor in .env.")

    def _require_registry(self) -> None:
        if not self.settings.image_registry:
            what = "it is not set, and the hosts of a Swarm get the images from a registry."
            raise UserError("IMAGE_REGISTRY", what, "Name one that all hosts reach, like registry.example.org:5000.")

    def _require_short_name(self) -> None:
        if len(self.project) > LONGEST_NAME:
            what = f"'{self.project}' is too long for the names of Swarm's secrets."
            raise UserError("COMPOSE_PROJECT_NAME", what, f"Set one of {LONGEST_NAME} characters at most.")

    # --- what is deployed ---

    def config(self) -> Config:
        """The configuration that compose merges from its files."""
        self.write_overlay()
        result = shell.capture(commands.config(self.command()), env=self.environment())
        if result.returncode:
            self.require()  # the plugin may be what is missing
            raise UserError("docker compose config", f"{result.stderr.strip()}.", "Fix that and type: inv up")
        config: Config = json.loads(result.stdout)
        return config

    def versions(self, config: Config) -> SecretVersions:
        """The secrets of the services, without those of the build."""
        used = {secret["source"] for service in config["services"].values() for secret in service.get("secrets", [])}
        named = {name: Path(literal(secret["file"])) for name, secret in config["secrets"].items() if name in used}
        return SecretVersions(self.project, named, secret_files.saved_keys(self.settings).get("fernet_key", ""))

    def full_stack(self, config: Config, versions: SecretVersions, workers: int = 0) -> Config:
        """The stack file; without ``workers`` there are as many as WORKERS says."""
        settings = self.settings
        plan = Plan(
            project=self.project, artifact=self.artifact_name, where=str(PROJECT), secrets=versions.names(),
            images={name: registry_push.reference(name, settings.image_registry) for name in self._images()},
            uid=settings.airflow_uid, shared=frozenset(map(str, self.mounted_folders().values())),
            logs_dir=str(settings.logs_dir), workers=workers or settings.workers,
            is_encrypted=settings.overlay_encryption == "YES", dags_in_image=settings.dags_in_image,
        )  # fmt: skip
        return stack(config, plan)

    def _images(self) -> dict[str, str]:
        """Every image, and the setting that names it."""
        settings = self.settings
        image_settings = {self.artifact_name: "AIRFLOW_IMAGE", settings.postgres_image: "POSTGRES_IMAGE"}
        return image_settings | {settings.redis_image: "REDIS_IMAGE"}

    def mounted_folders(self) -> dict[str, Path]:
        """Host folders that are the same on all hosts: those set in .env, and the DAGs if they are not in the image."""
        settings = self.settings
        own = [name for name in (*WRITTEN, *ARCHIVES) if settings.sources[name] == "default"]
        own += ["DAGS_DIR"] if settings.dags_in_image else []
        return {name: folder for name, folder in mounted(settings).items() if name not in own}

    def config_digest(self) -> str:
        self._require_settings()  # with others there is no stack
        config = self.config()
        return json.dumps(self.full_stack(config, self.versions(config)), sort_keys=True)

    def deploy(self, stack: Config) -> None:
        """Deploy the stack; Swarm converges to it in the background."""
        result = shell.capture(commands.deploy(self.project), stdin=json.dumps(stack))
        if result.returncode:
            raise UserError("docker stack deploy", f"{result.stderr.strip()}.", "Fix that and type: inv up")

    # --- what is done ---

    @contextlib.contextmanager
    def starting(
        self, *, unchanged: bool, workers: int = 0, services: Sequence[str] = ()
    ) -> Iterator[Callable[[], bool]]:
        """Workers that `inv scale` has added stay while the configuration is unchanged."""
        running = self.services_inspected().replicas("worker") if unchanged else 0
        with self._starting(workers or running, init=True) as is_done:
            yield is_done

    @contextlib.contextmanager
    def _starting(self, workers: int, *, init: bool, replaced: Sequence[str] = ()) -> Iterator[Callable[[], bool]]:
        """One at a time. Services in ``replaced`` are removed once everything is ready for their next start.

        What does not become healthy is rolled back; else old versions of secrets are removed at the end.
        """
        with self.start_lock():
            if self.release.page not in self.services_inspected().services:
                ports.require_free(self.settings.airflow_port, self.port_owner)
            full, versions = self._prepared(workers)
            self.require_bind_mounts()
            versions.create(versions.files)
            self._remove_in_order(replaced)
            rollout = Rollout(self, full, init=init)
            try:
                yield rollout.is_done
            except Superseded:
                raise
            except UserError as failure:
                rollout.rollback(failure)
                raise
            versions.remove(but=versions.names().values())
            self._record_good(full)

    def _prepared(self, workers: int = 0, images_of: Sequence[str] = ()) -> tuple[Config, SecretVersions]:
        """The stack and its secrets; images are pushed before. ``images_of`` names the settings of those needed."""
        cluster().claim(self.project)
        for name, where in self._images().items():
            if not images_of or where in images_of:
                registry_push.push(name, where, self.settings.image_registry)
        config = self.config()
        versions = self.versions(config)
        return self.full_stack(config, versions, workers), versions

    def _record_good(self, full: Config) -> None:
        project_state.update(self.settings, self.name, stack=full)

    def last_good(self) -> Config:
        """The stack that was healthy last; empty if there is none."""
        return dict(project_state.read(self.settings, self.name).stack)

    @contextlib.contextmanager
    def restarting(self, services: list[str]) -> Iterator[Callable[[], bool]]:
        """Services are removed and deployed again; workers drain first."""
        workers, has_init = self.services_inspected().replicas("worker"), not services or "init" in services
        with self._starting(workers, init=has_init, replaced=services or self.services()) as is_done:
            yield is_done

    def start_alone(self, service: str) -> None:
        """Start one service that needs no other, and wait until it is healthy."""
        full, versions = self._prepared(images_of=["POSTGRES_IMAGE"])
        stack = subset(full, (service,))
        versions.create(stack["secrets"])
        self.deploy(stack)
        end = time.monotonic() + _ALONE_SECONDS
        while not ((inspected := self.services_inspected()).services and inspected.has_converged(service)):
            if time.monotonic() > end:
                raise UserError(service, "the service does not become healthy.", f"Read on: inv logs {service}")
            time.sleep(health.POLL_SECONDS)

    def workers(self) -> int:
        return self.services_inspected().replicas("worker")

    def scale(self, workers: int) -> None:
        """Wait until the removed workers have ended, if their hosts answer. A rollback keeps the new number."""
        with self.start_lock():
            result = shell.capture(commands.scale(self.project, workers))
            if result.returncode:
                raise UserError("inv scale", f"{result.stderr.strip()}.", "Try again.")
            end = time.monotonic() + self.settings.worker_stop_seconds + _GONE_SECONDS
            away = cluster().away
            while self.services_inspected().unfinished("worker", away) > workers and time.monotonic() < end:
                time.sleep(health.POLL_SECONDS)
            if good := self.last_good():
                good["services"]["worker"]["deploy"]["replicas"] = workers
                self._record_good(good)

    def remove(self, names: Sequence[str]) -> None:
        """Remove services and wait until their containers are gone, on all hosts that answer."""
        deployed = [name for name in self.deployed() if name in names]
        if deployed:
            shell.capture(commands.remove_services(self.project, deployed))
            self._wait_for_end()

    def _remove_in_order(self, names: Sequence[str]) -> None:
        """The stores last: a worker needs them to the end of its tasks."""
        self.remove([name for name in names if name not in STORES])
        self.remove([name for name in names if name in STORES])

    def _wait_for_end(self) -> None:
        """Wait until no container of a removed service runs."""
        end = time.monotonic() + self.settings.worker_stop_seconds + _GONE_SECONDS
        away = cluster().away
        remaining = tuple(shell.capture(commands.services(self.project)).stdout.split())  # the first part of their ids
        while left := [task for task in self._tasks() if is_running(task) and task.get("NodeID") not in away]:
            if all(str(task["ServiceID"]).startswith(remaining) for task in left):
                return
            if time.monotonic() > end:
                what = f"{len(left)} of its containers do not end."
                raise UserError("swarm", what, f"See which: docker stack ps {self.project}")
            time.sleep(health.POLL_SECONDS)

    def stop(self, data: bool) -> None:
        with self.start_lock():
            self._remove_stack()
        for volume in self.data() if data else ():
            self._remove_volume(volume)

    def _remove_stack(self) -> None:
        """Secrets are removed too: SECRETS_DIR has them. The caller holds the start lock."""
        self._remove_in_order(self.deployed())
        result = shell.capture(commands.remove_stack(self.project))  # networks
        if result.returncode:
            raise UserError("docker stack rm", f"{result.stderr.strip()}.", "Try again.")
        SecretVersions(self.project, {}, "").remove()
        self._record_good({})

    def _remove_volume(self, volume: str) -> None:
        """Swarm takes a moment to remove the container that used it."""
        end = time.monotonic() + _GONE_SECONDS
        while (result := shell.capture(["docker", "volume", "rm", volume])).returncode:
            if time.monotonic() > end:
                raise UserError("docker volume rm", f"{result.stderr.strip()}.", "Try again.")
            time.sleep(health.POLL_SECONDS)

    # --- what there is ---

    def deployed(self) -> list[str]:
        """The names of all services that Swarm has, also those that the settings no longer have."""
        names = shell.capture([*commands.services(self.project), "--format", "{{.Name}}"]).stdout.split()
        return [name.removeprefix(f"{self.project}_") for name in names]

    def services_inspected(self) -> Services:
        """The project's services and tasks, as Swarm reports them."""
        listed = shell.capture(commands.services(self.project), timeout=images.ASK_SECONDS)
        if listed.returncode:
            raise UserError("swarm", f"it does not answer ({listed.stderr.strip()}).", "Look: docker node ls")
        prefix, inspected = f"{self.project}_", self._inspect("service", listed.stdout.split())
        by_name = {str(service["Spec"]["Name"]).removeprefix(prefix): service for service in inspected}
        hosts = dict(line.split() for line in shell.capture(commands.HOSTS).stdout.splitlines())
        services = {name: by_name[name] for name in self.services() if name in by_name}
        return Services(services, self._tasks(), hosts if len(hosts) > 1 else {})

    def _tasks(self) -> list[Inspected]:
        """All tasks, also those of removed services until they have ended."""
        listed = shell.capture(commands.stack_tasks(self.project), timeout=images.ASK_SECONDS)
        return self._inspect("task", listed.stdout.split())

    def _inspect(self, kind: str, ids: Sequence[str]) -> list[Inspected]:
        """Those that still exist; one may be gone between two calls."""
        result = shell.capture(commands.inspect(kind, ids), timeout=images.ASK_SECONDS) if ids else None
        return images.listed(result.stdout or "[]") if result else []

    def states(self) -> list[ServiceState]:
        return self.services_inspected().states()

    def is_there(self) -> bool:
        return bool(self.states())

    def last_lines(self, container: str, lines: int = 20) -> str:
        result = shell.capture(commands.logs(container, tail=lines, raw=True), timeout=images.ASK_SECONDS)
        return (result.stdout + result.stderr).rstrip()

    def container(self, service: str) -> str:
        ids = shell.capture(commands.local_containers(self.project, service)).stdout.split()
        if ids:
            return ids[0]
        hosts = [state.host for state in self.states() if state.service == service and state.state == "running"]
        if not hosts:
            raise UserError(service, "the service is not running.", "Type: inv up")
        what = f"it runs on {', '.join(hosts)}, and commands on this host cannot reach it."
        name = f"{self.project}_{service}"
        raise UserError(service, what, f"Type there: docker exec -it $(docker ps -qf name={name} | head -1) bash")

    def containers_of(self, services: Sequence[str]) -> list[str]:
        results = [shell.capture(commands.local_containers(self.project, name)) for name in services]
        return [container for result in results for container in result.stdout.split()]

    def logs(self, services: list[str], *, follow: bool, tail: int | None, since: datetime | None) -> int:
        """Merged by time; with ``follow`` those of all services at once."""
        stamp, deployed_services = since.isoformat() if since else "", self.services_inspected().services
        calls = [
            commands.logs(f"{self.project}_{name}", follow=follow, tail=tail, since=stamp, stamped=not follow)
            for name in services or self.services() if name in deployed_services
        ]  # fmt: skip
        if not follow:
            return merged_logs.show(calls)
        with ThreadPoolExecutor(len(calls) or 1) as pool:
            return max(pool.map(lambda call: shell.relay(call, str), calls), default=0)

    def running_artifact(self) -> str | None:
        scheduler = self.services_inspected().services.get("scheduler")
        return str(scheduler["Spec"]["Labels"].get(ARTIFACT, "")) or None if scheduler else None

    def data(self) -> list[str]:
        return shell.capture(commands.volumes(self.project), timeout=images.ASK_SECONDS).stdout.split()

    # --- commands that run once ---

    def parse_dags(self, *, isolated: bool) -> CompletedProcess[str]:
        folder = image_context.DAGS_IN_IMAGE if self.settings.dags_in_image else "/opt/airflow/dags"
        new = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{SCRATCH_DATABASE}"}
        own = new if isolated or not self.states() else {}
        return self._run_job(self.release.parser, ["python", "/opt/airflow-docker/dags.py", folder], own)

    def apply_key(self, name: str) -> CompletedProcess[str]:
        return self._run_job("init", ["python", "/opt/airflow-docker/keys.py", name], {})

    def _run_job(self, service: str, args: list[str], environment: Mapping[str, str]) -> CompletedProcess[str]:
        """Run a command in a new container like that of ``service``, on the host of the database; one at a time."""
        with locks.locked(self.settings.state_dir / "once.lock", "swarm"):
            was_up = bool(self.states())
            full, versions = self._prepared(images_of=["AIRFLOW_IMAGE"])
            self.require_bind_mounts()
            stack = job_stack(full, service, args, environment)
            versions.create(stack["secrets"])
            shell.capture(commands.remove_services(self.project, [ONCE]))  # what a killed run has left
            self.deploy(stack)
            try:
                task = self._wait_for_job(ONCE)
                output = shell.capture(commands.logs(task["ID"], raw=True))
                errors = output.stderr + str(task["Status"].get("Err", ""))
                return CompletedProcess(args, exit_code(task), output.stdout, errors)
            finally:
                shell.capture(commands.remove_services(self.project, [ONCE]))
                self._wait_for_end()
                lock = self.start_lock()
                if (
                    not was_up and not lock.is_taken()
                ):  # else a stack is being started, which needs networks and secrets
                    with lock:
                        if not self.states():
                            self._remove_stack()

    def _wait_for_job(self, name: str) -> Inspected:
        """The task of a service that runs once, when it has ended. Raises UserError if that takes too long."""
        end, label = time.monotonic() + _ONCE_SECONDS, f"{self.project}_{name}"
        while time.monotonic() < end:
            service = self._inspect("service", [label])
            if not service:
                raise UserError("swarm", f"{label} was removed before it had ended.", "Try again.")
            tasks = [t for t in self._tasks() if t["ServiceID"] == service[0]["ID"]]
            if tasks and not any(is_running(task) for task in tasks):
                return tasks[-1]
            time.sleep(health.POLL_SECONDS)
        raise UserError(
            "swarm", f"no host has run it in {_ONCE_SECONDS:g} s.", f"See why: docker stack ps {self.project}"
        )
