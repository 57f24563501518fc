"""Bad Docker engines, images and backups."""

import gzip
import io
import shutil
import socket
import tarfile

from airflow_docker.database import encryption
from trust.bad_input.case import Case, Sandbox

USUAL = 'case "$*" in version*) echo 27.0;; "compose version"*) echo 2.30.0;; ps*|volume*|"image ls"*) ;; *) %s;; esac'
"""A docker that answers and has no objects; ``%s`` is the script for all other commands."""
START = "Start Docker Desktop, or on Linux: sudo systemctl start docker."


def docker(
    name: str, verb: str, script: str, says: str, todo: str, env="", make=lambda sandbox: None, **kwargs
) -> Case:
    """A verb with the shell script ``script`` as docker."""

    def prepare(sandbox: Sandbox) -> None:
        sandbox.has("sources", "build").program("docker", script)
        make(sandbox)

    return Case(name, verb, says, todo, env=f"ENGINE=compose\n{env}", make=prepare, **kwargs)


def without_docker(sandbox: Sandbox) -> None:
    for name in ("git", "sh"):
        (sandbox.bin / name).symlink_to(shutil.which(name))
    sandbox.environ["PATH"] = str(sandbox.bin)


def open_to_all(sandbox: Sandbox) -> None:
    """Let everybody write the project's folder, and remove the build folder, which belongs to another user."""
    shutil.rmtree(sandbox.project / "build")
    sandbox.project.chmod(0o777)


def socket_of_root(sandbox: Sandbox) -> None:
    file = sandbox.project / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(file))
    file.chmod(0o600)
    sandbox.environ["DOCKER_HOST"] = f"unix://{file}"


ENGINES = [
    Case("no docker at all", "up", "docker: there is no docker on PATH.", START, env="ENGINE=compose", make=without_docker),
    docker("an engine that does not run", "up", "echo 'Cannot connect to the Docker daemon' >&2; exit 1", "docker: no Docker engine answers.", START),
    docker("an engine that hangs", "up", "exec sleep 300", "docker: the Docker engine has not answered in 10 s.", START),
    docker("an engine that hangs in between", "status", 'case "$1" in version|compose) echo 2.30.0;; *) exec sleep 300;; esac', "docker ps --all: no answer within 10 seconds.", "Try it by hand: docker"),
    docker("a docker that may not be used", "up", "echo 'permission denied' >&2; exit 1", "docker: no Docker engine answers, as you may not use its socket {project}/docker.sock", "sudo usermod -aG docker", make=socket_of_root, somebody=True),
    docker("a docker without compose", "up", 'case "$1" in version) echo 27.0;; *) echo "docker: compose is not a docker command" >&2; exit 1;; esac', "docker compose: the compose plugin (version 2) is missing.", "Install docker-compose-plugin"),
    docker("an old compose", "up", 'case "$1" in version) echo 20.10;; compose) echo 1.29.2;; *) exit 1;; esac', "docker compose: version 2 is needed, and this is 1.29.2.", "Install docker-compose-plugin"),
    docker("a docker that is none", "up", "echo hello", "docker compose: version 2 is needed, and this is hello.", "Install docker-compose-plugin"),
    docker("a docker that is none for status", "status", "echo hello", "docker: its answer is not that of Docker ('hello').", "type -a docker"),
    docker("a docker that is none for an image", "image --name x", "echo hello", "docker: its answer is not that of Docker ('hello').", "type -a docker"),
    docker("a docker that is none for logs", "logs", "echo hello", "docker compose: version 2 is needed, and this is hello.", "Install docker-compose-plugin"),
    docker("a docker that is not executable", "up", "", "docker: there is no docker on PATH.", START, make=lambda sandbox: (without_docker(sandbox), (sandbox.bin / "docker").chmod(0o644))),
    docker("a docker of a missing interpreter", "up", "", "docker: cannot be started (No such file or directory).", "It must be executable", make=lambda sandbox: (without_docker(sandbox), (sandbox.bin / "docker").write_text("#!/no/such/sh\n"))),
    docker("a base image that nobody has", "build", USUAL % "echo 'Error: manifest unknown' >&2; exit 1", "AIRFLOW_BASE_IMAGE: no/such:1 is not on this machine and could not be pulled", "Check the name and your connection, or log in: docker login", "AIRFLOW_BASE_IMAGE=no/such:1", quotes=True),
    docker("an image that is not ours", "image --name postgres:16", USUAL % """echo '[{"Id": "sha256:0", "Config": {"Labels": null}}]'""", "postgres:16: this image was not built by airflow-docker.", "Name another, or none."),
    docker("an image that is not there for compose", "image --name no/such:1", USUAL % "exit 1", "no/such:1: there is no such artifact on this machine for compose.", "Name none for the last."),
    docker("a base image without Python", "build", USUAL % """[ "$1" = image ] && echo '[{"Id": "sha256:0", "Config": {}}]' || { echo 'exec: python: not found' >&2; exit 127; }""", "AIRFLOW_BASE_IMAGE: busybox holds no Python that starts (exec: python: not found).", "Name an image built like apache/airflow.", "AIRFLOW_BASE_IMAGE=busybox"),
    docker("an audit tool without its checksum", "build", USUAL % "exit 1", "AUDIT_TOOL_SHA256: is not set; address and checksum go together.", "Set both or neither.", "AUDIT_TOOL_URL=http://127.0.0.1:1/x.deb", code=2),
    docker("an audit tool from two places", "build", USUAL % "exit 1", "AUDIT_TOOL_DEB: AUDIT_TOOL_URL is set too.", "Keep one of the two.", f"AUDIT_TOOL_URL=http://127.0.0.1:1/x.deb\nAUDIT_TOOL_SHA256={'0' * 64}\nAUDIT_TOOL_DEB=x.deb", lambda sandbox: sandbox.file("x.deb"), code=2),
    docker("a uid that is not mine", "up", USUAL % "exit 1", "AIRFLOW_UID: the containers would run as uid 4321, and yours is 1234", "Leave it unset, or run as that user or as root.", "AIRFLOW_UID=4321", open_to_all, somebody=True),
    docker("a destroyed database without a word", "down --volumes", USUAL.replace("|volume*", "") % "echo airflow_postgres", "inv down --volumes: this destroys the database, and there is no terminal to ask on.", "Say --yes if you mean it.", code=2),
    docker("a doctor without a docker", "doctor", "exit 1", "inv doctor: not in order: docker", "Follow the remedies above.", shows=True),
    Case("a doctor of bad settings", "doctor", "inv doctor: not in order: settings.", "Follow the remedies above.", 2, "AIRFLOW_PORT=x", shows=True),
]  # fmt: skip


def sealed(passphrase: str) -> bytes:
    target = io.BytesIO()
    encryption.encrypt(io.BytesIO(b"x"), target, passphrase)
    return target.getvalue()


def foreign() -> bytes:
    """A tar.gz of another program."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("thesis.txt"))
    return target.getvalue()


def restore(name: str, content: bytes | None, says: str, todo: str, **kwargs) -> Case:
    def make(sandbox: Sandbox) -> None:
        sandbox.folder(".state")
        if content is not None:
            sandbox.file("x.backup", content)

    environ = {} if name == "no passphrase" else {"BACKUP_PASSPHRASE": "wrong"}
    return Case(name, "restore x.backup", says, todo, make=make, environ=environ, **kwargs)


NONE = ("backup: the file is no backup of airflow-docker.", "Name one that inv backup wrote.")
BACKUPS = [
    restore("a backup that is not there", None, "{project}/x.backup: there is no such file.", "Name one that inv backup wrote."),
    restore("an empty backup", b"", *NONE),
    restore("a text for a backup", b"hello\n", *NONE),
    restore("the first bytes of a gzip", b"\x1f\x8b\x08", *NONE),
    restore("a truncated gzip", foreign()[:40], *NONE),
    restore("a tar of another program", foreign(), *NONE),
    restore("a gzip of something else", gzip.compress(b"x" * 1000, mtime=0), *NONE),
    restore("a wrong passphrase", sealed("right"), "passphrase: the passphrase is wrong, or the file is damaged.", "Try again, or take another backup."),
    restore("no passphrase", sealed("right"), "passphrase: it is needed, and there is no terminal to ask on.", "Set BACKUP_PASSPHRASE in the environment.", code=2),
    restore("a sealed backup without its end", sealed("right")[:30], "backup: the file is damaged or not whole (it ends early).", "Take another one."),
    Case("a folder for a backup", "restore sources", "{project}/sources: there is no such file.", "Name one that inv backup wrote."),
    Case("a backup that may not be read", "restore x.backup", "{project}/x.backup: permission denied.", "Look at its owner", make=lambda sandbox: (sandbox.folder(".state", 0o777), sandbox.file("x.backup", mode=0o600)), somebody=True),
]  # fmt: skip
CASES = [*ENGINES, *BACKUPS]
