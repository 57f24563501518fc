"""What each check finds, on real folders, repositories, sockets, and a docker made up where one is asked."""

import inspect
import json
import os
import pty
import socket
import subprocess
import sys
import termios
import threading
from contextlib import nullcontext

import pytest
from conftest import Remote, git, snapshot

from airflow_docker import PROJECT, project_state, secret_files, shell
from airflow_docker.engines import ServiceState
from airflow_docker.engines import images as images_module
from airflow_docker.engines.choice import choose
from airflow_docker.engines.compose import checks as compose_checks
from airflow_docker.engines.compose.engine import Compose
from airflow_docker.engines.standalone.engine import Standalone
from airflow_docker.engines.swarm import checks as swarm_checks
from airflow_docker.engines.swarm.engine import Swarm
from airflow_docker.errors import UserError
from airflow_docker.findings import Check, ok
from airflow_docker.sources import repos
from airflow_docker.verbs import builds, doctor
from airflow_docker.verbs.checks import machine, programs, project
from airflow_docker.verbs.checks import remote as remote_checks

DAGS = "airflow-docker/dags"


def state(check, settings, engine=Standalone):
    """A finding as text, to look for words in; whatever is not ok must say what to do."""
    finding = doctor.run([Check("it", check)], settings, engine(settings))[0].finding
    assert bool(finding.remedy) is (finding.state != "ok")
    return f"{finding.state}: {finding.detail} -> {finding.remedy}"


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """Put a program named docker before any other, which is this shell script."""

    def make(script):
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / "docker").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "docker").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return make


# --- running them ---


def test_checks_run_at_once(make_settings):
    together = threading.Barrier(2)

    def meet(settings, engine):
        together.wait(10)
        return ok("met")

    settings = make_settings()
    results = doctor.run([Check("a", meet), Check("b", meet)], settings, Standalone(settings))
    assert [(r.name, r.finding.state) for r in results] == [("a", "ok"), ("b", "ok")]


def test_one_that_hangs_is_reported_and_the_others_are_heard(make_settings, monkeypatch):
    monkeypatch.setattr(doctor, "SECONDS", 0.2)
    monkeypatch.setattr(doctor, "GRACE_SECONDS", 0.2)
    settings, never = make_settings(), threading.Event()
    checks = [
        Check("in itself", lambda s, e: never.wait()),
        Check("in a program", lambda s, e: shell.capture(["sleep", "600"])),
        Check("well", lambda s, e: ok("well")),
    ]
    findings = [r.finding for r in doctor.run(checks, settings, Standalone(settings))]
    never.set()
    assert [f.state for f in findings] == ["error", "error", "ok"]
    assert "the check has not ended in 0.2 s" in findings[0].detail
    assert "sleep 600: no answer within 0." in findings[1].detail
    assert all(f.remedy for f in findings[:2])


def test_what_a_user_can_cause_is_a_finding_and_a_defect_is_raised(make_settings, tmp_path):
    settings = make_settings()

    def refused(settings, engine):
        raise UserError("THERE", "it is so.", "Do this.")

    assert state(refused, settings) == "error: THERE: it is so. -> Do this."
    assert state(lambda s, e: (tmp_path / "none").read_text(), settings).startswith(f"error: {tmp_path}/none: no such")
    with pytest.raises(ZeroDivisionError):
        doctor.run([Check("broken", lambda s, e: 1 // 0)], settings, Standalone(settings))


def test_within_limits_every_program_and_the_shorter_time_counts():
    with shell.within(0.1), pytest.raises(shell.TimedOut, match=r"within 0(\.1)? seconds"):
        shell.capture(["sleep", "600"], timeout=300)
    with shell.within(300), pytest.raises(shell.TimedOut, match=r"within 0\.1 seconds"):
        shell.capture(["sleep", "600"], timeout=0.1)
    assert shell.capture(["sleep", "0.2"]).returncode == 0


def test_progress_is_heard_line_by_line_and_the_exit_code_kept():
    heard = []
    assert shell.listen(["sh", "-c", "cat; echo no; printf 'one\\rtwo\\n\\nend' >&2; exit 3"], heard.append) == 3
    assert heard == ["one", "two", "", "end"]


def test_a_folder_named_like_a_missing_program_is_not_taken_for_it(tmp_path, monkeypatch):
    (tmp_path / "docker").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    with pytest.raises(shell.NotFound):
        shell.capture(["docker"])


# --- programs ---


def test_programs_that_are_there(make_settings):
    for check in (programs.git, programs.uv, programs.python):
        assert state(check, make_settings()).startswith("ok: ")


def test_programs_that_are_too_old_or_missing(make_settings, docker, tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "PYTHON", (9, 0))
    assert "error: " in state(programs.python, make_settings()) and "PYTHON=" in state(programs.python, make_settings())
    docker("exit 1")
    (tmp_path / "bin/git").write_text("#!/bin/sh\necho git version 2.19.3\n")
    (tmp_path / "bin/git").chmod(0o755)
    assert state(programs.git, make_settings()) == (
        "error: git: version 2.19.3 is too old. -> Install git 2.31 or newer."
    )
    assert "no Docker engine answers" in state(compose_checks.docker, make_settings(), Compose)
    assert "the compose plugin (version 2) is missing." in state(compose_checks.compose, make_settings(), Compose)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no docker on PATH." in state(compose_checks.docker, make_settings(), Compose)
    assert "git: the program is not installed" in state(programs.git, make_settings())


@pytest.mark.parametrize(
    ("version", "expected"), [("v2.26.1-4", "ok"), ("2.20.0", "ok"), ("2.19.9", "warning"), ("1.29.2", "error")]
)
def test_the_version_of_compose(make_settings, docker, version, expected):
    docker(f"echo {version}")
    finding = state(compose_checks.compose, make_settings(), Compose)
    assert finding.startswith(f"{expected}: ") and version.removeprefix("v") in finding


@pytest.mark.parametrize(("version", "executor", "fits"), [
    ("2.24.3", "CeleryExecutor", False), ("2.24.4", "CeleryExecutor", True), ("v2.30.0-1", "CeleryExecutor", True),
    ("2.24.3", "LocalExecutor", True),
])  # fmt: skip
def test_a_compose_that_would_pass_over_tags_runs_nothing_that_has_them(make_settings, docker, version, executor, fits):
    docker(f"echo {version}")
    engine = Compose(make_settings(f"EXECUTOR={executor}\n"))
    with nullcontext() if fits else pytest.raises(UserError, match=r"does not understand celery.yaml. Install 2.24.4"):
        engine.require_fit()


@pytest.mark.parametrize("kind", ["rootless", "userns"])
def test_an_engine_that_maps_users_is_not_taken(make_settings, docker, kind):
    docker(f'test "$1" = info && echo "[name=seccomp,profile=builtin name={kind}]" || echo 2.30.0')
    assert "the engine maps users" in Compose(make_settings()).problem().text
    assert choose(make_settings("ENGINE=auto\n"), notify=False).name == "standalone"


@pytest.mark.parametrize("name", ["a..b/team", "127.0.0.1:99999999", "x" * 70 + ".example.org"])
def test_a_registry_that_none_can_be_called_does_not_answer(make_settings, name):
    assert f"IMAGE_REGISTRY: {name} does not answer" in state(
        swarm_checks.registry, make_settings(f"IMAGE_REGISTRY={name}\n")
    )


# --- the machine ---


def test_room_is_that_of_the_place_where_a_folder_would_be_made(make_settings, tmp_path, monkeypatch):
    settings = make_settings("BUILD_DIR=a/b\n")
    monkeypatch.setattr(machine, "DISK_NEEDED", 0)
    monkeypatch.setattr(machine, "DISK_RECOMMENDED", 0)
    assert state(machine.build_disk, settings).endswith(f"GB are free at {tmp_path} -> ")
    monkeypatch.setattr(machine, "DISK_RECOMMENDED", 10**18)
    assert state(machine.state_disk, settings).startswith("warning: only ")
    monkeypatch.setattr(machine, "DISK_NEEDED", 10**18)
    assert state(machine.build_disk, settings).startswith("error: only ")
    assert "BUILD_DIR" in state(machine.build_disk, settings)
    assert not (tmp_path / "a").exists()


def test_dockers_own_folder(make_settings, docker, tmp_path):
    docker(f"echo {tmp_path}")
    assert f"free at {tmp_path}" in state(machine.docker_disk, make_settings(), Compose)
    docker("echo /no/such/folder")
    assert state(machine.docker_disk, make_settings(), Compose).startswith(
        "skipped: /no/such/folder is not on this machine."
    )


def test_memory(make_settings, docker, monkeypatch):
    monkeypatch.setattr(machine, "MEMORY_RECOMMENDED", 0)
    assert state(machine.memory, make_settings()).startswith("ok: ")
    monkeypatch.setattr(machine, "MEMORY_RECOMMENDED", 10**18)
    assert state(machine.memory, make_settings()).startswith("warning: only ")
    monkeypatch.setattr(machine, "is_macos", lambda: True)
    docker("echo 2000000000")
    assert "only 2.0 GB are available. -> 4 GB are better. Give Docker more" in state(
        machine.memory, make_settings(), Compose
    )


class Up(Standalone):
    """An engine whose web server runs."""

    def states(self):
        return [ServiceState("webserver", "webserver", "running")]


def test_a_port_is_free_ours_or_taken(make_settings):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        settings = make_settings(f"AIRFLOW_PORT={taken.getsockname()[1]}\n")
        taken.listen()
        assert state(machine.port, settings).startswith("error: AIRFLOW_PORT: port ")
        assert "Set AIRFLOW_PORT in .env" in state(machine.port, settings)
        assert state(machine.port, settings, Up).startswith("ok: ")
        newer = make_settings(f"AIRFLOW_PORT={settings.airflow_port}\nAIRFLOW_VERSION=3.3.2\n")
        assert state(machine.port, newer, Up).startswith("ok: ")  # what runs is of the version before
    assert "is free" in state(machine.port, settings)


def test_clocks(make_settings, docker):
    assert state(machine.clock, make_settings()).startswith("skipped: ")
    docker("date -u +%Y-%m-%dT%H:%M:%S.%NZ")
    assert state(machine.clock, make_settings(), Compose).startswith("ok: ")
    docker("TZ=XXX+5 date +%Y-%m-%dT%H:%M:%S.%N-05:00")
    assert state(machine.clock, make_settings(), Compose).startswith("ok: ")
    for offset in ("-90", "+90"):
        docker(f"date -u -d @$(($(date +%s) {offset})) +%Y-%m-%dT%H:%M:%SZ")
        assert state(machine.clock, make_settings(), Compose).startswith("warning: the Docker engine's clock is ")
    docker("exit 1")
    assert "no Docker engine answers" in state(machine.clock, make_settings(), Compose)


# --- the project ---


def test_a_uid_that_files_cannot_be_handed_to(make_settings, monkeypatch):
    assert state(project.uid, make_settings("AIRFLOW_UID=4242\n")).startswith("ok: ")  # standalone has no other user
    if os.geteuid() == 0:
        assert state(project.uid, make_settings("AIRFLOW_UID=4242\n"), Compose).startswith("ok: ")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    finding = state(project.uid, make_settings("AIRFLOW_UID=4242\n"), Compose)
    assert finding.startswith("error: AIRFLOW_UID: ") and "Leave it unset" in finding


def test_folders_that_are_made_later_are_no_fault_and_are_not_made_now(make_settings, tmp_path):
    settings = make_settings()
    before = snapshot(tmp_path)
    assert state(project.host_folders, settings, Compose).startswith("ok: ")
    assert snapshot(tmp_path) == before


def test_folders_that_stop_up(make_settings, tmp_path):
    (tmp_path / "file").write_text("x")
    finding = state(project.host_folders, make_settings("ARCH_ROOT=none\nLOGS_DIR=file/logs\n"), Compose)
    assert finding.startswith("error: ")
    assert f"LOGS_DIR: {tmp_path}/file is not a folder." in finding
    assert f"ARCH_ROOT: there is no folder {tmp_path}/none." in finding and "Make or mount it" in finding


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has folders of another uid")
def test_folders_of_somebody_else(make_settings, tmp_path):
    (tmp_path / "logs").mkdir(mode=0o755)
    (tmp_path / "archive").mkdir(mode=0o755)
    finding = state(project.host_folders, make_settings("LOGS_DIR=logs\nAIRFLOW_UID=50000\n"), Compose)
    assert finding.startswith("error: LOGS_DIR: ") and f"sudo chown 50000 {tmp_path}/logs" in finding
    finding = state(project.host_folders, make_settings("ARCH_ROOT=archive\nAIRFLOW_UID=50000\n"), Compose)
    assert finding.startswith("warning: ARCH_ROOT: ")  # up leaves archives as they are


def test_the_dag_folder_counts_once_there_is_a_checkout(make_settings, tmp_path):
    settings = make_settings("WORKFLOW_DEV_DIR=w\n")
    assert state(project.dags, settings).startswith("skipped: there is no checkout at ")
    (tmp_path / "w/other").mkdir(parents=True)
    assert state(project.dags, settings).startswith("error: DAGS_DIR: there is no folder ")
    (tmp_path / "w" / DAGS).mkdir(parents=True)
    assert state(project.dags, settings).startswith("ok: ")


def test_build_dir_of_somebody_else(make_settings, tmp_path):
    settings = make_settings("BUILD_DIR=b\n")
    assert state(project.build_dir, settings).startswith("ok: ")
    assert not (tmp_path / "b").exists()
    (tmp_path / "b").mkdir()
    assert state(project.build_dir, settings).startswith("ok: ")
    (tmp_path / "b/mine").write_text("x")
    finding = state(project.build_dir, settings)
    assert finding.startswith("error: BUILD_DIR: ") and "Name another folder" in finding
    assert state(project.build_dir, make_settings("BUILD_DIR=b/mine/c\n")).startswith("error: BUILD_DIR: ")
    assert os.listdir(tmp_path / "b") == ["mine"]


def test_secrets(make_settings, tmp_path):
    settings, folder = make_settings("SECRET_AWS__default__key=v\n"), tmp_path / ".secrets"

    def finding(settings=settings):
        return state(project.secrets, settings, Compose)

    assert finding().startswith("warning: nothing is written yet") and finding().endswith("inv up writes them.")
    secret_files.write(settings, Compose(settings).secret_owner)
    before = snapshot(folder)
    assert finding().startswith(f"ok: all {len(secret_files.files_of(settings))} files")
    stale = finding(make_settings("SECRET_AWS__default__key=hunter2\n"))
    assert stale.startswith("warning: aws-credentials: stale") and "hunter2" not in stale
    assert "there is no file" in finding(make_settings("SECRET_AWS_FILE=none\n"))
    assert snapshot(folder) == before
    (folder / "fernet_key").chmod(0o444)
    assert finding() == "error: fernet_key: others may read it (mode 0444). -> Type: inv secrets"
    folder.chmod(0o755)
    assert finding().startswith("error: SECRETS_DIR: others may enter") and f"chmod 700 {folder}" in finding()
    assert finding(make_settings("SECRETS_DIR=.env\n")).startswith("error: SECRETS_DIR: ")
    assert finding(make_settings("SECRETS_DIR=.env/s\n")).startswith("error: SECRETS_DIR: ")


# --- what comes from elsewhere ---


@pytest.fixture
def repository(make_settings, remote):
    """The finding on a repository, by its settings."""

    def finding_of(ref="", url=None, with_checkout=False):
        settings = make_settings(f"AO_WORKFLOWS_URL={url or remote.bare}\nAO_WORKFLOWS_REF={ref}\nWORKFLOW_DEV_DIR=w\n")
        if with_checkout and not settings.workflow_dev_dir.exists():
            git(remote.tree, "clone", "--quiet", str(remote.bare), str(settings.workflow_dev_dir))
        finding = state(remote_checks.workflows, settings)
        assert with_checkout or not settings.workflow_dev_dir.exists()
        return finding

    return finding_of


def test_a_repository_and_its_ref(repository, remote):
    git(remote.tree, "tag", "v1")
    git(remote.tree, "push", "--quiet", "origin", "v1")
    commit = git(remote.tree, "rev-parse", "HEAD")
    for ref in ("", "main", "v1", commit, commit[:10]):
        assert repository(ref).startswith("ok: "), ref
    for ref in ("nope", "mai", "v1^{}"):
        finding = repository(ref)
        assert finding.startswith(f"error: AO_WORKFLOWS_REF: '{ref}' is no branch, tag or commit of"), ref
        assert "git ls-remote" in finding


def test_a_commit_that_no_branch_ends_at_is_known_by_the_checkout_alone(repository, remote):
    first = git(remote.tree, "rev-parse", "HEAD")
    remote.commit("second")
    assert repository(first).startswith("skipped: ")
    assert repository(first, with_checkout=True).startswith("ok: ")


def test_a_remote_that_is_not_there_stops_up_only_where_there_is_no_checkout(repository, tmp_path):
    finding = repository(url=tmp_path / "none")
    assert finding == f"error: AO_WORKFLOWS_URL: there is nothing at {tmp_path}/none. -> Correct the path."
    assert repository("nope", with_checkout=True).startswith("warning: ")


def test_a_remote_without_commits(repository, tmp_path):
    git(tmp_path, "init", "--quiet", "--bare", "empty.git")
    assert "the remote has no commits." in repository(url=tmp_path / "empty.git")


def test_a_remote_that_says_nothing_and_credentials_that_stay_hidden(repository, monkeypatch):
    monkeypatch.setattr(doctor, "SECONDS", 1.0)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        finding = repository(url=f"http://me:hunter2@127.0.0.1:{silent.getsockname()[1]}/x.git")
    assert finding.startswith("error: AO_WORKFLOWS_URL: http://127.0.0.1:") and "has not answered in " in finding
    assert "hunter2" not in finding


def test_both_repositories_are_looked_at(make_settings, tmp_path):
    one, other = Remote(tmp_path / "one"), Remote(tmp_path / "other")
    settings = make_settings(f"AO_WORKFLOWS_URL={one.bare}\nARCHIVE_OPS_URL={other.bare}\nARCHIVE_OPS_REF=nope\n")
    assert [source.name for source in repos.sources(settings)] == ["ao-workflows", "archive-ops"]
    assert state(remote_checks.workflows, settings).startswith("ok: ")
    assert state(remote_checks.archive_ops, settings).startswith("error: ARCHIVE_OPS_REF: ")


def test_images(make_settings, docker, monkeypatch):
    pinned = f"x/airflow@sha256:{'01' * 32}"
    settings = make_settings(f"AIRFLOW_BASE_IMAGE={pinned}\n")
    check = remote_checks.base_image
    docker("[ $1 = image ] && echo '[{\"Id\": 1}]'")
    assert state(check, settings, Compose) == f"ok: {pinned} is here -> "
    docker("[ $1 != image ]")
    assert state(check, settings, Compose) == f"ok: {pinned} is not here; it can be pulled -> "
    refuses = "case $1 in version) ;; info) echo '%s' ;; *) echo 'no such manifest' >&2; exit 1 ;; esac"
    docker(refuses % "http://me:hunter2@proxy[]")  # which may have it
    finding = state(check, settings, Compose)
    assert finding.startswith("warning: AIRFLOW_BASE_IMAGE: ") and "hunter2" not in finding
    docker(refuses % "[]")
    finding = state(check, settings, Compose)
    assert (
        finding.startswith("error: AIRFLOW_BASE_IMAGE: ")
        and "(no such manifest)" in finding
        and "docker pull x/" in finding
    )
    monkeypatch.setattr(images_module, "REGISTRY_SECONDS", 0.3)
    docker("case $1 in version) ;; info) echo '[]' ;; image) exit 1 ;; *) exec sleep 600 ;; esac")
    assert "POSTGRES_IMAGE: postgres:16 is not here, and cannot be had (no answer" in state(
        remote_checks.postgres_image, settings, Compose
    )


def test_a_base_image_is_not_needed_once_there_is_a_build(make_settings, docker):
    settings = make_settings()
    docker("case $1 in version) ;; info) echo '[]' ;; *) [ $3 = ours ] && echo '[{}]' ;; esac")
    assert state(remote_checks.base_image, settings, Compose).startswith("error: ")
    settings.state_dir.mkdir()
    record = {"artifact": "ours", "settings": builds._build_settings(settings)}
    project_state.update(settings, "compose", build=record)
    assert state(remote_checks.base_image, settings, Compose).startswith("warning: ")
    assert state(remote_checks.postgres_image, settings, Compose).startswith("error: ")


# --- the verb ---


@pytest.fixture
def inv(tmp_path):
    """Run it with a .env; exit code, standard output, standard error."""

    def run(*args, env="", **kwargs):
        (tmp_path / ".env").write_text(env)
        command = [sys.executable, "-m", "invoke", "--search-root", str(PROJECT), *args]
        environ = os.environ | {"ENV_FILE": str(tmp_path / ".env"), "ENGINE": "standalone"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | kwargs
        result = subprocess.run(command, env=environ, text=True, stdin=subprocess.DEVNULL, **pipes)
        return result.returncode, result.stdout, result.stderr

    return run


def test_settings_that_cannot_be_read_are_a_failed_check(inv):
    code, output, error = inv("doctor", "--json", env="AIRFLOW_PORT=x\nSTATE_DIRR=y\n")
    report = json.loads(output)
    assert (code, report["ok"], [c["name"] for c in report["checks"]]) == (2, False, ["settings"])
    assert "AIRFLOW_PORT: 'x' is not" in report["checks"][0]["found"]
    assert "STATE_DIRR" in report["checks"][0]["found"] and "Did you mean STATE_DIR?" in report["checks"][0]["remedy"]
    assert "Traceback" not in error
    code, output, error = inv("doctor", env="AIRFLOW_PORT=x\n")
    assert code == 2 and "✗ settings: See .env.example." in output


def test_there_is_no_dry_run_of_it(inv):
    code, output, error = inv("--dry", "doctor")
    assert (code, output) == (2, "") and "--dry: no verb has a dry run." in error


def test_the_table_fits_a_terminal_and_cuts_nothing(inv, tmp_path):
    long_path = tmp_path / "/".join(["a-long-name"] * 12)
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (50, 80))
    output = []
    reader = threading.Thread(target=lambda: output.append(read_all(master)))
    reader.start()
    code, *_ = inv("doctor", env=f"BUILD_DIR={long_path}\nAO_WORKFLOWS_URL=none\nARCHIVE_OPS_URL=none\n", stdout=slave)
    os.close(slave)
    reader.join()
    table, _, remedies = output[0].partition("What to do:")
    assert code == 1 and "✗ ao-workflows: Correct the path." in remedies.splitlines()
    assert max(map(len, table.splitlines())) <= 80
    assert str(long_path) in "".join(line.strip() for line in table.splitlines())


def read_all(terminal):
    parts = b""
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # the last writer is gone
            part = b""
        if not part:
            return parts.decode().replace("\x1b[1m", "").replace("\x1b[0m", "")
        parts += part


def test_every_check_is_run(make_settings):
    modules = (machine, programs, project, remote_checks, compose_checks, swarm_checks)
    checks = {
        value for module in modules for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
        and list(inspect.signature(value).parameters) == ["settings", "engine"]
    }  # fmt: skip
    assert checks == {check.function for check in (*Swarm(make_settings()).checks(), *doctor.CHECKS)}
