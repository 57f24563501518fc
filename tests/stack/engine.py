"""Private Docker engines for tests, beside this machine's: a test can stop them, cut them off and delete them."""

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from stack.conftest import docker, run

PROGRAMS = ("dockerd", "ip", "nsenter", "unshare")
START_SECONDS, STOP_SECONDS = 60, 60

# Runs as the first process of a process namespace: when it ends, all processes in it end, containers included.
# It has its own mounts and host name too. /sys must show the engine's network and not the machine's,
# and the engine must not use the machine's containerd.
BOOT = """
set -e
echo {name} >/proc/sys/kernel/hostname
mkdir -p {folder}/cgroup
mount --rbind /sys/fs/cgroup {folder}/cgroup
mount -t sysfs sysfs /sys
mount --rbind {folder}/cgroup /sys/fs/cgroup
test ! -d /run/containerd || mount -t tmpfs tmpfs /run/containerd
dockerd --host unix://{folder}/sock --data-root {folder}/data --exec-root {folder}/exec --pidfile {folder}/exec/pid {options}
exit $?
"""


class PrivateEngine:
    """A Docker engine with its own namespaces for network, mounts and processes.

    Only programs that :meth:`inside` runs reach the ports that its containers publish on 127.0.0.1.
    The network namespace, ``network``, stays when the engine is stopped, so that a test can
    connect it to others; by itself it has no connection to the outside.
    """

    def __init__(self, name: str, folder: Path, *options: str):
        self.name, self.folder, self.options = name, folder, options
        self.network = f"airflow-docker-test-{os.getpid()}-{name}"
        self.host = f"unix://{folder}/sock"
        self.process: subprocess.Popen | None = None

    def make_network(self):
        """A network namespace that has only loopback."""
        for command in (["netns", "add", self.network], ["-netns", self.network, "link", "set", "lo", "up"]):
            result = run("ip", *command)
            assert result.returncode == 0, result.stderr

    def start(self):
        """Like a boot of its machine; Docker starts the containers that restart."""
        assert self.process is None
        shutil.rmtree(self.folder / "exec", ignore_errors=True)  # a boot leaves nothing in /run
        (self.folder / "exec").mkdir()
        boot = BOOT.format(name=self.name, folder=shlex.quote(str(self.folder)), options=shlex.join(self.options))
        command = ["nsenter", f"--net=/run/netns/{self.network}", "unshare", "--mount", "--pid", "--uts", "--fork"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--kill-child", "--mount-proc", "sh", "-c", boot], stdout=log, stderr=log
            )
        end = time.monotonic() + START_SECONDS
        while run("docker", "--host", self.host, "info").returncode:
            assert self.process.poll() is None and time.monotonic() < end, (self.folder / "log").read_text()[-2000:]
            time.sleep(0.5)

    def stop(self):
        """Like a shutdown of its machine: containers get SIGTERM first."""
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name() == "dockerd":
                    process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        if self.process.poll() is None:
            self.cut()
        self.process = None

    def cut(self):
        """Like a power cut: all processes are killed at once."""
        inside = psutil.Process(self.process.pid).children()
        self.process.kill()
        self.process.wait()
        psutil.wait_procs(inside, timeout=STOP_SECONDS)
        self.process = None

    def load(self, *images: str):
        """Copy images from this machine's engine."""
        with subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE) as saved:
            loaded = run("docker", "--host", self.host, "load", stdin=saved.stdout)
        assert saved.returncode == loaded.returncode == 0, loaded.stderr

    def docker(self, *args: str) -> str:
        return docker("--host", self.host, *args)

    def inside(self, *command: str):
        """Run a program in the engine's namespaces, with its view of processes and ports."""
        boot = psutil.Process(self.process.pid).children()[0].pid
        return run("nsenter", "--target", str(boot), "--net", "--pid", "--mount", *command)

    def crash(self, container: str):
        """Kill a container's first process like the kernel does; after `docker kill` Docker does not restart it."""
        pid = self.docker("inspect", "--format", "{{.State.Pid}}", container)
        killed = self.inside("kill", "-9", pid)
        assert killed.returncode == 0, killed.stderr

    def remove(self):
        """Delete the engine, its network and its folder."""
        if self.process:
            self.stop()
        run("ip", "netns", "delete", self.network)
        shutil.rmtree(self.folder)


def _missing():
    if os.geteuid() != 0:
        return "only root can start a Docker engine of a test's own"
    if absent := [program for program in PROGRAMS if shutil.which(program) is None]:
        return f"a Docker engine of a test's own needs {', '.join(absent)}"
    return ""


@contextlib.contextmanager
def private_engine(name: str, *options: str, before=None):
    """A running engine called ``name``, removed at the end. Skips the test if a program is missing, except in CI.

    ``before(engine)`` is called when the engine has a network and is not started yet.
    """
    if reason := _missing():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    # Not in pytest's folder: the path of a socket is limited to about 100 characters.
    engine = PrivateEngine(name, Path(tempfile.mkdtemp(prefix=f"engine-{name}-")), *options)
    try:
        engine.make_network()
        if before:
            before(engine)
        engine.start()
        yield engine
    finally:
        engine.remove()
