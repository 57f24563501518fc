"""The compose engine: Docker on this host, through ``docker compose`` and compose.yaml."""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow_docker import files, images, indexes, secrets, shell
from airflow_docker.bundle import Bundle, Manifest
from airflow_docker.errors import UserError
from airflow_docker.health import ServiceState
from airflow_docker.settings import PROJECT, Settings, names

COMPOSE_FILE = PROJECT / "compose.yaml"
AIRFLOW_SERVICES = ("init", "webserver", "scheduler", "triggerer")
ONE_SHOT = ("init",)
_ASK_SECONDS = 15.0
_LABEL = "com.docker.compose.project"


@dataclass(frozen=True)
class Compose:
    """The stack of one project; ``image`` is the Airflow image with its tag."""

    settings: Settings
    image: str = ""

    # --- what is run: builders, which neither run nor read anything ---

    def command(self, *args: str) -> list[str]:
        """A ``docker compose`` call that depends on nothing but its arguments and :meth:`environment`."""
        overlays = ["--file", str(self.overlay_file)] if self.overlay else []
        return [
            "docker", "compose", "--project-name", self.settings.compose_project_name,
            "--project-directory", str(PROJECT), "--env-file", "/dev/null",
            "--file", str(COMPOSE_FILE), *overlays, *args,
        ]  # fmt: skip

    def build_command(self, overlay: Path, no_cache: bool = False) -> list[str]:
        """``overlay`` adds what only this build knows: labels and times."""
        return self.command("--file", str(overlay), "build", *(["--no-cache"] if no_cache else []), "init")

    def up_command(self) -> list[str]:
        return self.command("up", "--detach", "--no-build", "--remove-orphans")

    def down_command(self, volumes: bool = False) -> list[str]:
        return self.command("down", "--remove-orphans", *(["--volumes"] if volumes else []))

    def logs_command(self, service: str) -> list[str]:
        """What we tell the user to type; short, as compose finds a project by its name."""
        return ["docker", "compose", "--project-name", self.settings.compose_project_name, "logs", service]

    def containers_command(self) -> list[str]:
        label = f"label={_LABEL}={self.settings.compose_project_name}"
        return ["docker", "ps", "--all", "--quiet", "--no-trunc", "--filter", label]

    def volumes_command(self) -> list[str]:
        label = f"label={_LABEL}={self.settings.compose_project_name}"
        return ["docker", "volume", "ls", "--quiet", "--filter", label]

    def environment(self) -> dict[str, str]:
        """The values of compose.yaml's variables: settings, and nothing secret."""
        values = {name: self.settings.shown(name) for name in names()}
        page = self.settings.airflow_options.get("AIRFLOW__WEBSERVER__BASE_URL", "")
        return values | {
            "AIRFLOW_IMAGE": self.image or self.settings.airflow_image,
            "HEALTH_PATH": urlsplit(page).path.rstrip("/") + "/health",
            "MOUNTED": mounted(self.settings),
        }

    @cached_property
    def overlay(self) -> dict[str, Any]:
        """What the settings add to compose.yaml: Airflow options of .env and archives beyond the four."""
        services: dict[str, Any] = {}
        if options := self.settings.airflow_options:
            literal = {name: value.replace("$", "$$") for name, value in options.items()}
            services = {name: {"environment": literal} for name in AIRFLOW_SERVICES}
        if self.settings.extra_mounts:
            services.setdefault("scheduler", {})["volumes"] = [
                {"type": "bind", "source": str(host).replace("$", "$$"), "target": target,
                 "bind": {"create_host_path": False}}
                for host, target in self.settings.extra_mounts
            ]  # fmt: skip
        return {"services": services} if services else {}

    @property
    def overlay_file(self) -> Path:
        return self.settings.state_dir / "compose.overlay.yaml"

    # --- what is done ---

    def require(self) -> None:
        """Raise UserError unless a Docker engine with compose v2 answers."""
        images.require_engine()
        if shell.capture(["docker", "compose", "version"], timeout=_ASK_SECONDS).returncode:
            raise UserError(
                "docker compose",
                "the compose plugin (version 2) is missing.",
                "Install docker-compose-plugin, or docker-compose of version 2 and docker-buildx.",
            )

    def require_fit(self) -> None:
        """Raise UserError if compose.yaml has not the services of this Airflow."""
        if not self.settings.airflow_version.startswith("2."):
            what = f"the services of compose.yaml are those of Airflow 2, not of {self.settings.airflow_version}."
            raise UserError("AIRFLOW_VERSION", what, "Set a 2.x version; an image of 3.x can be built, not run.")

    def write_overlay(self) -> None:
        """Write the generated overlay, if there is anything in it."""
        if self.overlay:
            import yaml

            files.make_directory(self.settings.state_dir, "STATE_DIR")
            files.write(self.overlay_file, yaml.safe_dump(self.overlay, sort_keys=True).encode())

    def build(self, bundle: Bundle, no_cache: bool = False) -> None:
        """Build the image; its output is shown as it comes. Raises UserError if the build fails."""
        import yaml

        self.write_overlay()
        overlay = bundle.directory / "compose.build.yaml"
        files.write(overlay, yaml.safe_dump(build_overlay(bundle.manifest)).encode())
        env = self.environment() | {"AIRFLOW_DOCKER_PACKAGE_INDEX": indexes.as_script()}
        code = shell.stream(self.build_command(overlay, no_cache), env=env)
        if code:
            self.require()  # the plugin may be what is missing
            todo = "Mend what it says and type: inv build"
            raise UserError(
                "inv build", f"the image build ended with exit code {code}; its last lines stand above.", todo
            )

    def start(self, log: Path) -> shell.Process[bytes]:
        """Begin to bring the stack up, in the background; its words go to ``log``."""
        self.write_overlay()
        return shell.start(self.up_command(), env=self.environment(), log=log)

    def stop(self, volumes: bool = False) -> None:
        """Remove containers and networks, and with ``volumes`` the data. Raises UserError if compose fails."""
        self.write_overlay()
        code = shell.stream(self.down_command(volumes), env=self.environment())
        if code:
            raise UserError("inv down", f"docker compose ended with exit code {code} (see above).", "Try again.")

    def services(self) -> list[str]:
        """All services of compose.yaml, in its order."""
        import yaml

        return list(yaml.safe_load(COMPOSE_FILE.read_text())["services"])

    def states(self) -> list[ServiceState]:
        """Every container of the project as it is now."""
        listed = shell.capture(self.containers_command(), timeout=_ASK_SECONDS)
        if listed.returncode:
            raise UserError("docker", f"the engine does not answer ({listed.stderr.strip()}).", "Is it running?")
        ids = listed.stdout.split()
        if not ids:
            return []
        # A container may be gone between the two questions; the rest is still printed.
        found = json.loads(shell.capture(["docker", "inspect", *ids], timeout=_ASK_SECONDS).stdout or "[]")
        return [_state(container) for container in found]

    def last_lines(self, container: str, lines: int = 20) -> str:
        """The end of a container's log."""
        result = shell.capture(["docker", "logs", "--tail", str(lines), container], timeout=_ASK_SECONDS)
        return (result.stdout + result.stderr).rstrip()

    def volumes(self) -> list[str]:
        """The project's volumes."""
        return shell.capture(self.volumes_command(), timeout=_ASK_SECONDS).stdout.split()

    def check_port(self) -> None:
        """Raise UserError, saying which setting to change, if something else listens on AIRFLOW_PORT."""
        port = self.settings.airflow_port
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except PermissionError:
                raise UserError("AIRFLOW_PORT", f"port {port} is reserved for root.", "Set one above 1023.") from None
            except OSError:
                shown = ["docker", "ps", "--filter", f"publish={port}", "--format", "{{.Names}}"]
                holder = shell.capture(shown, timeout=_ASK_SECONDS).stdout.split()
                by = f"by the container {holder[0]}" if holder else "by another program"
                todo = "Set AIRFLOW_PORT in .env to a free port, or stop the other."
                raise UserError("AIRFLOW_PORT", f"port {port} of 127.0.0.1 is taken {by}.", todo) from None


def mounted(settings: Settings) -> str:
    """Changes when a secret file or a mounted folder is replaced by another of the same name.

    Containers hold on to what they were started with and must then be made anew. Made of the
    entries' identity (device, inode; for files also the time), not of their content.
    """
    folders = [settings.workflow_dev_dir / settings.dags_dir, settings.arch_root, settings.logs_dir,
               settings.app_log_dir, settings.work_data_dir, settings.archive0_dir, settings.archive1_dir,
               settings.archive2_dir, settings.archive3_dir, *(host for host, _ in settings.extra_mounts)]  # fmt: skip
    parts = []
    for entry in [*secrets.files_of(settings), *folders]:
        with contextlib.suppress(OSError):
            found = entry.stat()
            parts.append((entry.name, found.st_dev, found.st_ino, 0 if entry in folders else found.st_mtime_ns))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def build_overlay(manifest: Manifest) -> dict[str, Any]:
    """What a build adds to compose.yaml: labels, and the times that files and image get instead of the clock's."""
    labels = {name: value.replace("$", "$$") for name, value in manifest.labels().items()}
    args = {"SOURCE_DATE_EPOCH": str(manifest.epoch), "LAYER_EPOCH": str(manifest.layer_epoch)}
    return {"services": {"init": {"build": {"labels": labels, "args": args}}}}


def _state(container: dict[str, Any]) -> ServiceState:
    state = container["State"]
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
    )
