"""Out-of-memory kills and crashes: how containers report them, and how they are shown."""

import os
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_docker import PROJECT, files, project_state
from airflow_docker.engines import ServiceState, crashes
from airflow_docker.engines.compose.engine import _state
from airflow_docker.engines.standalone import processes
from airflow_docker.engines.standalone.supervisor import Plan, Supervisor
from airflow_docker.engines.standalone.supervisor_state import SupervisorState
from airflow_docker.errors import UserErrors
from airflow_docker.verbs import status

VERSIONS = {
    1: {"events": "memory/memory.oom_control", "limit": "memory/memory.limit_in_bytes",
        "most": "memory/memory.max_usage_in_bytes", "before": "oom_kill_disable 0\nunder_oom 0\n"},
    2: {"events": "memory.events", "limit": "memory.max", "most": "memory.peak",
        "before": "low 0\nhigh 0\nmax 31\noom 7\n"},
}  # fmt: skip


class Container:
    """The files that the script sees, of one version of cgroups."""

    def __init__(self, folder: Path, version: int):
        self.folder, self.names = folder, VERSIONS[version]
        (folder / "cgroup/memory").mkdir(parents=True)
        self.write("limit", "1572864000\n")
        self.write("most", "1572860000\n")
        self.killed(0)

    def write(self, name, text):
        (self.folder / "cgroup" / self.names[name]).write_text(text)

    def killed(self, count):
        """Write the count as the kernel does."""
        self.write("events", f"{self.names['before']}oom_kill {count}\n")

    def check(self, *command):
        """The health check of a service."""
        own = {"CGROUP": "cgroup", "REPORTS": "logs/out-of-memory", "COUNTED": "killed"}
        script = PROJECT / "docker/runtime/memory.sh"
        environ = os.environ | {name: str(self.folder / path) for name, path in own.items()}
        return subprocess.run(
            ["sh", script, "scheduler", *(command or ["true"])], env=environ, capture_output=True, text=True
        )

    def report(self):
        """Seconds since the first and the last, count, limit and most; empty if nothing was reported."""
        host = Path("/etc/hostname").read_text().strip()
        files = list((self.folder / "logs/out-of-memory").glob("*"))
        assert [file.name for file in files] in ([], [f"scheduler.{host}"])
        first, last, *rest = files[0].read_text().split() if files else ("0", "0")
        return [round(time.time()) - int(first) < 5, round(time.time()) - int(last) < 5, *rest] if files else []


@pytest.fixture(params=VERSIONS)
def container(request, tmp_path):
    return Container(tmp_path, request.param)


def test_only_new_kills_in_the_kernels_count_are_reported(container):
    container.check()
    assert container.report() == []
    container.killed(2)
    container.check()
    assert container.report() == [True, True, "2", "1572864000", "1572860000"]
    container.check()
    assert container.report()[2] == "2"
    container.killed(3)
    container.check()
    assert container.report()[2] == "3"


def test_a_container_that_starts_again_counts_from_nothing(container):
    container.killed(2)
    container.check()
    container.killed(1)
    (container.folder / "killed").unlink()  # as what is in /dev/shm
    container.check()
    assert container.report()[2] == "3"


def test_a_removed_report_is_not_reported_again(container):
    container.killed(2)
    container.check()
    (report,) = (container.folder / "logs/out-of-memory").iterdir()
    report.unlink()
    container.check()
    assert container.report() == []
    container.killed(3)
    container.check()
    assert container.report()[2] == "1"


def test_the_health_check_decides_even_if_nothing_can_be_reported(container):
    container.killed(1)
    (container.folder / "logs").write_text("no folder")
    done = container.check("sh", "-c", "echo '' $0 $1; exit 3", "a b", "c")
    assert (done.returncode, done.stdout, done.stderr) == (3, " a b c\n", "")
    (container.folder / "logs").unlink()
    container.check()
    assert container.report()[2] == "1"  # as soon as that can be


def test_a_kernel_that_reports_nothing_is_no_failure(tmp_path):
    container = Container(tmp_path, 2)
    for file in (tmp_path / "cgroup").glob("memory.*"):
        file.unlink()
    assert container.check().returncode == 0 and container.report() == []


@pytest.fixture
def engine(make_settings, tmp_path):
    settings = make_settings("MEMORY_LIMIT=1500m\n")
    settings.state_dir.mkdir()
    (settings.logs_dir / "out-of-memory").mkdir(parents=True)
    return SimpleNamespace(name="compose", settings=settings, report_killed=lambda: None, states=lambda: [])


def report(engine, name, ago, count=1, limit="1572864000", most="1572000000"):
    """A report of a container, ``ago`` seconds old."""
    last = int(time.time()) - ago
    file = engine.settings.logs_dir / "out-of-memory" / name
    file.write_text(f"{last - 30} {last} {count} {limit} {most}\n")
    return file


def crashed(ago, **more):
    at = (datetime.now(UTC) - timedelta(seconds=ago)).isoformat()
    return ServiceState("scheduler", "c", "running", "healthy", crashed=at, **more)


def texts(engine, *states):
    return [error.text for error in crashes.recent(engine, states)]


def test_a_kill_is_reported_with_the_figures(engine):
    report(engine, "scheduler.0123456789ab", 130)
    report(engine, "worker.ab", 5, count=3, most="0")
    report(engine, "triggerer.cd", 5, limit="max")
    report(engine, "webserver.ef", 5, limit=str((1 << 63) - 4096), most="0")
    raised = "Raise MEMORY_LIMIT, or run fewer tasks at once; then type: inv up"
    machine = "This machine has too little: set MEMORY_LIMIT, or run fewer tasks at once; then type: inv up"
    assert texts(engine) == [
        "scheduler: 1 process was killed because memory ran out, 2 min ago (MEMORY_LIMIT is 1500m,"
        f" at most 1572 MB were in use). {raised}",
        "triggerer: 1 process was killed because memory ran out, 5 s ago (MEMORY_LIMIT is 1500m,"
        f" at most 1572 MB were in use). {machine}",
        f"webserver: 1 process was killed because memory ran out, 5 s ago (MEMORY_LIMIT is 1500m). {machine}",
        f"worker: 3 processes were killed because memory ran out, the last 5 s ago (MEMORY_LIMIT is 1500m). {raised}",
    ]
    assert crashes.sentences(engine)[0].startswith("scheduler: 1 process was killed because memory ran out")


def test_a_crash_is_reported_with_what_is_known(engine):
    todo = "Read why: inv logs scheduler --since 1h. When it is well, type: inv up"
    assert texts(engine, crashed(70)) == [
        f"scheduler: it ended by itself 1 min ago, and was started again (MEMORY_LIMIT is 1500m). {todo}"
    ]
    (text,) = texts(engine, crashed(70, restarts=2, crash_code=137))
    assert "with exit code 137, as after a kill for want of memory, 1 min ago, and was started again (MEM" in text
    assert "MEMORY_LIMIT is 1500m; 2 times so far)" in text
    engine.name = "standalone"
    assert "with exit code 1 1 min ago, and was started again (there is no MEMORY_LIMIT)" in texts(
        engine, crashed(70, crash_code=1)
    )[0]  # fmt: skip


def test_reports_end_after_an_hour_or_a_healthy_start(engine):
    file = report(engine, "scheduler.a", 3590)
    assert len(texts(engine, crashed(3590))) == 2
    report(engine, "scheduler.a", 3610)
    assert texts(engine, crashed(3610)) == []
    file = report(engine, "scheduler.a", 20)
    crashes.clear(engine)
    assert not file.exists() and texts(engine, crashed(20)) == []
    report(engine, "scheduler.a", 20)  # of another user, which could not be removed
    assert texts(engine) == []
    time.sleep(1)
    report(engine, "scheduler.a", 0)
    assert len(texts(engine, crashed(0))) == 2


@pytest.mark.parametrize("text", ["", "1 2 3", "a b c d e", "1 99999999999999999999 1 max 0"])
def test_invalid_reports_are_ignored(engine, text):
    (engine.settings.logs_dir / "out-of-memory" / "scheduler.a").write_text(text)
    project_state.update(engine.settings, "compose", well_since="nonsense")
    assert texts(engine, ServiceState("s", "c", "running", crashed="nonsense")) == []


CONTAINER = {
    "Id": "c", "Image": "i", "RestartCount": 0,
    "Config": {"Image": "a:b", "Labels": {"com.docker.compose.service": "scheduler"}},
    "State": {"Status": "running", "ExitCode": 0, "StartedAt": "s", "FinishedAt": "f", "OOMKilled": False},
}  # fmt: skip


@pytest.mark.parametrize(
    ("state", "restarts", "expected"),
    [
        ({}, 0, ("", False)),
        ({}, 1, ("f", False)),
        ({"OOMKilled": True}, 0, ("", False)),  # a process in it; that is for its report to say
        ({"Status": "restarting", "OOMKilled": True}, 1, ("f", True)),
        ({"Status": "exited", "OOMKilled": True}, 0, ("", True)),
        ({"Status": "exited"}, 1, ("", False)),  # ended by hand, whatever it did before
    ],
)
def test_what_docker_reports_of_a_crash(state, restarts, expected):
    parsed = _state(CONTAINER | {"RestartCount": restarts, "State": CONTAINER["State"] | state})
    assert (parsed.crashed, parsed.out_of_memory) == expected


def test_a_supervisor_records_crashes_and_not_requested_restarts(tmp_path, monkeypatch, make_settings):
    monkeypatch.setattr(processes, "end", lambda *_: [])
    (tmp_path / "log").mkdir()
    kill = ["sh", "-c", "kill -9 $$"]
    supervisor = Supervisor(tmp_path, Plan("p", str(tmp_path), [], {"scheduler": kill, "webserver": ["sleep", "60"]}))
    supervisor._poll()
    supervisor.children["scheduler"].wait()
    (tmp_path / "restart").write_text("webserver")
    supervisor.children["webserver"].kill()
    supervisor._poll()
    written = files.read_object(tmp_path / "state.json")
    supervisor.children["webserver"].kill()
    supervisor.children["webserver"].wait()
    states = {s.service: s for s in SupervisorState(make_settings(), "m", tmp_path, written).states()}
    assert crashes._time(states["scheduler"].crashed) > datetime.now(UTC) - timedelta(seconds=10)
    assert states["scheduler"].crash_code == -9
    assert (states["webserver"].crashed, states["webserver"].crash_code) == ("", None)


def gathered(state, *problems):
    listed = [{"where": where, "what": "w.", "todo": "t."} for where in problems]
    return {"project": "p", "engine": "compose", "state": state, "address": "a", "services": [], "problems": listed,
            "built": None, "repositories": {}, "secrets": "fresh", "dags": None, "disk": {"full": []}}  # fmt: skip


def test_status_is_healthy_only_without_problems(monkeypatch, engine, capsys):
    monkeypatch.setattr(status.db_version, "check_compatible", lambda _: None)
    monkeypatch.setattr(status, "gather", lambda _: gathered("healthy"))
    status.report(engine, as_json=False)
    assert capsys.readouterr().out.startswith("p (compose): healthy, a\n")
    monkeypatch.setattr(status, "gather", lambda _: gathered("healthy", "scheduler", "worker"))
    with pytest.raises(UserErrors) as caught:
        status.report(engine, as_json=False)
    assert (caught.value.code, caught.value.text) == (1, "scheduler: w. t.\nworker: w. t.")
    assert capsys.readouterr().out.startswith("p (compose): running, with problems (2), a\n")
    monkeypatch.setattr(status, "gather", lambda _: gathered("unhealthy", "scheduler"))
    with pytest.raises(UserErrors) as caught:
        status.report(engine, as_json=False)
    assert caught.value.text.splitlines()[1] == "scheduler: w. t."
    assert capsys.readouterr().out.startswith("p (compose): unhealthy, a\n")
