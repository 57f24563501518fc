"""Several hosts on this machine: Docker engines in network namespaces with a switch, as a Swarm with a registry."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from stack.conftest import ComposeProject, run, until
from stack.engine import PrivateEngine, private_engine

NETWORK = "198.18.{}"  # reserved for benchmarks (RFC 2544), and not in Docker's address pools
READY_SECONDS = 60


class Wire:
    """A switch in its own network namespace: hosts are connected to it and can be cut off."""

    def __init__(self):
        self.network = f"airflow-docker-test-{os.getpid()}-wire"
        self.prefix = NETWORK.format(os.getpid() % 250)
        self.plugs: dict[str, str] = {}

    def make(self):
        self._ip("netns", "add", self.network)
        for args in (["link", "add", "switch", "type", "bridge"], ["link", "set", "switch", "up"]):
            self._ip("-netns", self.network, *args)

    def plug(self, engine: PrivateEngine) -> str:
        """Connect a host; returns its address."""
        number = len(self.plugs) + 1
        plug, address = f"port{number}", f"{self.prefix}.{number}"
        there = ["-netns", engine.network]
        self._ip("-netns", self.network, "link", "add", plug, "type", "veth", "peer", "eth0", "netns", engine.network)
        self._ip("-netns", self.network, "link", "set", plug, "master", "switch", "up")
        self._ip(*there, "address", "add", f"{address}/24", "dev", "eth0")
        self._ip(*there, "link", "set", "eth0", "up")
        self._ip(*there, "route", "add", "default", "dev", "eth0")  # Docker requires one, though it leads nowhere
        self.plugs[engine.name] = plug
        return address

    def set(self, engine: PrivateEngine, state: str):
        """Cut a host off (``down``) or connect it again (``up``)."""
        self._ip("-netns", self.network, "link", "set", self.plugs[engine.name], state)

    def remove(self):
        run("ip", "netns", "delete", self.network)

    def _ip(self, *args):
        result = run("ip", *args)
        assert result.returncode == 0, (args, result.stderr)


class Hosts:
    """The first of ``engines`` is the manager; ``registry`` is the address of the registry on it."""

    def __init__(self, wire: Wire, engines: list[PrivateEngine], addresses: list[str], registry: str):
        self.wire, self.engines, self.addresses, self.registry = wire, engines, addresses, registry
        self.ids: dict[str, str] = {}

    @property
    def manager(self) -> PrivateEngine:
        return self.engines[0]

    def nodes(self) -> dict[str, str]:
        """Node id -> state, as the manager reports it."""
        listed = self.manager.docker("node", "ls", "--format", "{{.ID}} {{.Status}}")
        return dict(line.split() for line in listed.splitlines())

    def join(self):
        """Join all hosts to one Swarm."""
        self.manager.docker("swarm", "init", "--advertise-addr", self.addresses[0])
        token = self.manager.docker("swarm", "join-token", "--quiet", "worker")
        for engine, address in zip(self.engines[1:], self.addresses[1:], strict=True):
            engine.docker("swarm", "join", "--advertise-addr", address, "--token", token, self.addresses[0])
        self.ids = {one.name: one.docker("info", "--format", "{{.Swarm.NodeID}}") for one in self.engines}
        until(lambda: list(self.nodes().values()) == ["Ready"] * len(self.engines), READY_SECONDS)


@contextlib.contextmanager
def registry_on(engine: PrivateEngine, address: str, folder: Path):
    """A plain HTTP registry in a host's network."""
    if shutil.which("docker-registry") is None:
        message = "there is no docker-registry on PATH; see .ci/registry"
        pytest.fail(message) if os.environ.get("CI") == "true" else pytest.skip(message)
    config = folder / "registry.yml"
    config.write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: '{folder}/images'}}}}\nhttp: {{addr: '{address}'}}\n"
    )
    with (folder / "registry.log").open("w") as log:
        command = ["nsenter", f"--net=/run/netns/{engine.network}", "docker-registry", "serve", str(config)]
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder / "images", ignore_errors=True)


@contextlib.contextmanager
def swarm_of(number: int, folder: Path):
    """This number of hosts as a Swarm; everything is removed afterwards."""
    wire = Wire()
    with contextlib.ExitStack() as stack:
        stack.callback(wire.remove)
        wire.make()
        insecure = f"--insecure-registry={wire.prefix}.0/24"
        engines = [stack.enter_context(private_engine(f"host{n}", insecure, before=wire.plug)) for n in range(number)]
        addresses = [f"{wire.prefix}.{n + 1}" for n in range(number)]
        registry = f"{addresses[0]}:5000"
        stack.enter_context(registry_on(engines[0], registry, folder))
        hosts = Hosts(wire, engines, addresses, registry)
        hosts.join()
        yield hosts


class SwarmProject(ComposeProject):
    """A project whose stack runs on several hosts. `inv` runs on the manager; this machine's engine builds."""

    engine = "swarm"
    hosts: Hosts

    def __init__(self, folder: Path, hosts: Hosts, **settings):
        self.hosts = hosts
        # The test kernels lack ESP, which overlay encryption needs.
        own = {"EXECUTOR": "CeleryExecutor", "IMAGE_REGISTRY": hosts.registry, "OVERLAY_ENCRYPTION": "NO"}
        super().__init__(folder, COMPOSE_PROJECT_NAME="swarm-test", **own, **settings)

    def type_here(self):
        """From now on `inv` runs on this machine, outside the swarm."""
        self.docker_host, self.inside = "", ()

    def type_on_manager(self):
        self.docker_host = self.hosts.manager.host
        self.inside = ("nsenter", f"--net=/run/netns/{self.hosts.manager.network}")

    def build(self):
        """Build on this machine, which has a network, and copy the image to the manager."""
        self.type_here()
        self.inv("build")
        artifact = self.json_of_build()["artifact"]
        self.hosts.manager.load(artifact)
        self.type_on_manager()
        return artifact

    def container(self, service):
        name = f"{self.settings.compose_project_name}_{service}"
        label = f"label=com.docker.swarm.service.name={name}"
        container_id = self.docker("ps", "--quiet", "--filter", label, "--filter", "status=running")
        assert container_id, f"no container of {service} on the manager"
        return container_id

    def services(self, name=""):
        """The services in `inv status`, all or those with this name."""
        return [s for s in self.json("status")["services"] if name in ("", s["name"])]

    def remove(self):
        self.type_on_manager()
        super().remove()
