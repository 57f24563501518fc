"""The builders of the standalone engine, to the letter, and its small parts."""

import contextlib
import json
import os
import sqlite3
import sys
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_docker import project_state, secret_files
from airflow_docker.engines import ports
from airflow_docker.engines.choice import choose
from airflow_docker.engines.standalone import environments, logs, processes
from airflow_docker.engines.standalone.engine import Standalone
from airflow_docker.engines.standalone.home import links, make_home
from airflow_docker.engines.standalone.sqlite import Sqlite
from airflow_docker.engines.standalone.supervisor import Plan, Supervisor, state_of
from airflow_docker.engines.standalone.variables import own_variables, variables
from airflow_docker.errors import UserError


def test_a_restart_request_before_the_first_start_is_served(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "end", lambda *_: [])
    (tmp_path / "log").mkdir()
    supervisor = Supervisor(tmp_path, Plan("p", str(tmp_path), [], {"scheduler": ["true"], "webserver": ["true"]}))
    (tmp_path / "restart").write_text("scheduler")
    supervisor._poll()
    assert set(supervisor.children) == {"scheduler", "webserver"} and not list(tmp_path.glob("restart*"))
    for child in supervisor.children.values():
        child.wait()


def test_an_environment_of_two_projects_is_completed_by_either(make_settings, monkeypatch):
    engine, built = Standalone(make_settings("COMPOSE_PROJECT_NAME=p\nBUILD_DIR=b\n")), []
    folder = engine.builder.work_dir / "0123456789ab"
    folder.mkdir(parents=True)
    for project in ("p", "other"):
        environments.mark_used(make_settings(f"COMPOSE_PROJECT_NAME={project}\nBUILD_DIR=b\n"), folder)
    bundle = SimpleNamespace(manifest=SimpleNamespace(artifact=str(folder)))
    monkeypatch.setattr(environments, "build", lambda *_: built.append(1))
    engine.builder.build(bundle, no_cache=False)
    monkeypatch.setattr(environments, "is_complete", lambda _: True)
    with pytest.raises(UserError, match="the environment is that of other too"):
        engine.builder.build(bundle, no_cache=True)
    assert built == [1]


def test_a_port_below_1024_is_for_docker_and_not_for_us(monkeypatch):
    def refuse(*_):
        raise PermissionError

    closed = SimpleNamespace(setsockopt=lambda *_: None, bind=refuse)
    monkeypatch.setattr(ports.socket, "socket", lambda: nullcontext(closed))
    ports.require_free(443, lambda _: "")
    with pytest.raises(UserError, match="port 443 is reserved for root"):
        ports.require_allowed(443)


def test_the_services_are_airflows_own_commands_in_the_environment(make_settings, tmp_path):
    engine = Standalone(make_settings("COMPOSE_PROJECT_NAME=p\n"), str(tmp_path / "e"))
    python = str(tmp_path / "e/venv/bin/python")
    plan = engine.services_plan()
    assert (plan.project, plan.mark) == ("p", str(tmp_path / ".state/standalone"))
    assert plan.init[0] == python and plan.init[1].endswith("docker/runtime/init.py")
    assert plan.services == {
        "webserver": [python, "-m", "airflow", "webserver"],
        "scheduler": [python, "-m", "airflow", "scheduler", "--skip-serve-logs"],
        "triggerer": [python, "-m", "airflow", "triggerer", "--skip-serve-logs"],
    }


def test_airflow_3_has_services_of_its_own(make_settings, tmp_path):
    settings = make_settings("AIRFLOW_VERSION=3.3.2\nAIRFLOW_PORT=8123\n")
    plan = Standalone(settings, str(tmp_path / "e")).services_plan()
    python = str(tmp_path / "e/venv/bin/python")
    assert plan.services == {
        "api-server": [python, "-m", "airflow", "api-server"],
        "scheduler": [python, "-m", "airflow", "scheduler", "--skip-serve-logs"],
        "dag-processor": [python, "-m", "airflow", "dag-processor"],
        "triggerer": [python, "-m", "airflow", "triggerer", "--skip-serve-logs"],
    }
    assert plan.grace == 10
    env = own_variables(settings, tmp_path / "s")
    assert (env["AIRFLOW__API__HOST"], env["AIRFLOW__API__PORT"]) == ("127.0.0.1", "8123")
    assert env["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:8123/execution/"
    assert not [name for name in env if name.startswith("AIRFLOW__WEBSERVER__")]


def test_nothing_is_initialised_twice(make_settings, tmp_path):
    engine = Standalone(make_settings(), str(tmp_path / "e"))
    engine.database_file.parent.mkdir(parents=True)
    engine.database_file.touch()
    stamp = engine.services_plan().done_when_initialised
    assert engine.services_plan().init
    (engine.folder / "initialised").write_text(stamp)
    assert not engine.services_plan().init
    other = Standalone(make_settings("AIRFLOW_ADMIN_USER=jim\n"), str(tmp_path / "e"))
    assert other.services_plan().init


def test_keys_are_named_by_file_and_options_of_env_win(make_settings, tmp_path):
    settings = make_settings(
        "SECRETS_DIR='my keys'\nAIRFLOW__CORE__PARALLELISM=3\nAIRFLOW_PORT=8123\nARCH_ROOT=/mnt\nSECRET_AWS__a__b=hunter2\n"
    )
    env = own_variables(settings, tmp_path / "s")
    assert env["AIRFLOW__CORE__FERNET_KEY_CMD"] == f"cat '{tmp_path}/my keys/fernet_key'"
    assert env["AIRFLOW__CORE__PARALLELISM"] == "3"
    assert (env["AIRFLOW__WEBSERVER__WEB_SERVER_HOST"], env["AIRFLOW__WEBSERVER__WEB_SERVER_PORT"]) == (
        "127.0.0.1",
        "8123",
    )
    assert env["ARCH_ROOT"] == "/mnt" and env["HOME"] == str(tmp_path / "s/home")
    assert "hunter2" not in repr(env)


def test_only_named_variables_of_the_user_are_inherited(make_settings, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("SECRET_AWS__a__b", "hunter2")
    monkeypatch.setenv("http_proxy", "http://proxy")
    env = variables(make_settings(), tmp_path / "s", tmp_path / "e")
    assert "AWS_PROFILE" not in env and "hunter2" not in repr(env) and env["http_proxy"] == "http://proxy"
    assert env["PATH"].split(os.pathsep)[:2] == [str(tmp_path / "e/venv/bin"), str(tmp_path / "e/scripts")]


def test_another_terminal_does_not_change_the_config_digest(make_settings, tmp_path, monkeypatch):
    engine = Standalone(make_settings(), str(tmp_path / "e"))
    before = engine.config_digest()
    monkeypatch.setenv("PATH", "/elsewhere")
    monkeypatch.setenv("TERM", "vt100")
    assert engine.config_digest() == before
    assert Standalone(make_settings("AIRFLOW_PORT=8123\n"), str(tmp_path / "e")).config_digest() != before


def test_bind_mounts_of_containers_are_links_in_the_home(make_settings, tmp_path, capsys):
    settings = make_settings("ARCH_ROOT=arch\nEXTRA_MOUNTS=more:/home/airflow/extern/Archive4,other:/data\n")
    environment, home = tmp_path / "e", tmp_path / "home"
    (environment / "home/.config/bdrc").mkdir(parents=True)
    (environment / "home/.config/bdrc/site-sync.yml").write_text("x")
    make_home(settings, home, environment)
    make_home(settings, home, environment)  # links are renewed, not refused
    assert (home / "dev/tmp").readlink() == tmp_path / "arch"
    assert (home / "extern/Archive4").readlink() == tmp_path / "more"
    assert (home / ".config/bdrc/db_apps.config").readlink() == settings.secrets_dir / "db_apps.config"
    assert (home / ".config/bdrc/site-sync.yml").read_text() == "x"
    assert "/data is a container's path" in capsys.readouterr().err
    assert set(links(settings, environment)) >= {"bin", "bdrc/data", "bdrc/log", ".aws/credentials"}
    (home / "bdrc/data").unlink()
    (home / "bdrc/data").mkdir()
    with pytest.raises(UserError, match=r"is in the way of a link to .+\. Move it away"):
        make_home(settings, home, environment)


def test_the_option_file_is_where_its_reader_finds_it(make_settings, tmp_path):
    settings = make_settings("SECRET_DB_APPS__mysql__mySqlCnfPath=/run/secrets/drs_cnf\nSECRET_DRS_CNF__a__b=c\n")
    secret_files.write(settings, Standalone(settings).secret_owner)
    text = (settings.secrets_dir / "db_apps.config").read_text()
    assert f"mySqlCnfPath = {settings.secrets_dir / 'drs.config'}\n" in text


LOCK = """\
alpha==1.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
my-sql_client==2.0 ; sys_platform == 'linux' \\
    --hash=sha256:cc
# a comment
omega @ git+https://example.org/omega@0123
"""


def test_packages_are_left_out_with_their_hashes():
    left = environments.without(LOCK, ("my-sql-client",))
    assert "sql" not in left and "sha256:cc" not in left and "sha256:bb" in left and "omega @" in left
    assert environments.without(LOCK, ()) == LOCK
    assert "omega" not in environments.without(LOCK, ("omega",))


@pytest.mark.parametrize(
    ("airflow", "running", "chosen"),
    [
        ("2.11.2", (3, 11), "3.11"),
        ("2.11.2", (3, 14), "3.12"),
        ("2.8.3", (3, 12), "3.11"),
        ("2.10.5", (3, 12), "3.12"),
        ("3.3.2", (3, 14), "3.12"),
    ],
)
def test_the_python_is_one_that_this_airflow_supports(airflow, running, chosen):
    assert environments.python_for(airflow, running) == chosen


def test_environment_commands(tmp_path):
    running = "{}.{}".format(*sys.version_info[:2])
    command = environments.venv_command(tmp_path, running)
    assert command[1:] == ["venv", "--quiet", "--no-project", "--python", sys.executable, str(tmp_path / "venv")]
    assert environments.venv_command(tmp_path, "3.9")[5] == "3.9"
    sync = environments.sync_command(tmp_path, Path("lock"))
    python = str(tmp_path / "venv/bin/python")
    assert sync[1:] == ["pip", "sync", "--quiet", "--require-hashes", "--python", python, "lock"]
    add = environments.add_command(tmp_path, Path("lock"))
    assert add[1:] == ["pip", "install", "--quiet", "--no-deps", "--python", python, "--requirement", "lock"]


def test_an_environment_of_an_earlier_version_has_labels(tmp_path):
    environments.python(tmp_path).parent.mkdir(parents=True)
    environments.python(tmp_path).touch()
    commits = {name: {"url": "u", "revision": "r", "dirty": False} for name in ("ao-workflows", "archive-ops")}
    manifest = {
        "artifact": "a", "fingerprint": "f", "base_image": "Python", "base_image_id": "Python -", "python": "3.11",
        "airflow_version": "2.11.2", "lock_sha256": "0", "epoch": 0, "layer_epoch": 0, "repositories": commits,
    }  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    labels = environments.labels(tmp_path)
    assert labels["airflow-docker.fingerprint"] == "f" and not any("base.digest" in name for name in labels)


def test_an_environment_is_complete_only_with_its_manifest(tmp_path):
    environments.python(tmp_path).parent.mkdir(parents=True)
    environments.python(tmp_path).touch()
    assert not environments.is_complete(tmp_path)
    (tmp_path / "manifest.json").write_text("{}")
    assert environments.is_complete(tmp_path)
    assert environments.environment_of(environments.python(tmp_path)) == tmp_path


def log_lines(capsys):
    return [line.split(" | ")[1] for line in capsys.readouterr().out.splitlines()]


def test_logs_are_merged_by_time_cut_by_service_and_since(tmp_path, capsys):
    (tmp_path / "a.log").write_text(
        "[2026-01-01T10:00:00.000+0000] a1\n  more of a1\n[2026-01-01T12:00:00.000+0000] a2\n"
    )
    (tmp_path / "b.log").write_text("banner\n[2026-01-01 11:00:00 +0000] b1\n")
    logs.show(tmp_path, ["a", "b"], False, None, None)
    assert [line[-2:] for line in log_lines(capsys)] == ["a1", "a1", "er", "b1", "a2"]
    logs.show(tmp_path, ["a", "b"], False, 1, None)
    assert [line[-2:] for line in log_lines(capsys)] == ["b1", "a2"]
    logs.show(tmp_path, ["a", "b"], False, None, datetime(2026, 1, 1, 10, 30, tzinfo=UTC))
    assert [line[-2:] for line in log_lines(capsys)] == ["er", "b1", "a2"]
    logs.show(tmp_path, ["a", "missing"], False, 0, None)
    assert log_lines(capsys) == []


@pytest.mark.parametrize(
    "line",
    [
        "[2026-01-31T08:00:00.250-0500] {scheduler_job.py:1} INFO - Airflow 2",
        "[2026-01-31 08:00:00 -0500] [77] [INFO] gunicorn",
        '127.0.0.1 - - [31/Jan/2026:08:00:00 -0500] "GET /health HTTP/1.1" 200 318 "-" "-"',
        "2026-01-31T13:00:00.250000Z [info     ] Airflow 3      [airflow.jobs] loc=a.py:1",
        "2026-01-31T08:00:00.250-05:00 [info     ] with a zone",
        "2026-01-31 13:00:00 [info     ] without one",
        "\x1b[2m2026-01-31T13:00:00.250000Z\x1b[0m [\x1b[32minfo\x1b[0m] in colours",
        '{"timestamp":"2026-01-31T13:00:00.250000Z","level":"info","event":"json_logs"}',
        '{"event": "x", "timestamp": "2026-01-31T13:00:00Z", "level": "info"}',
    ],
)
def test_the_time_of_a_line_in_each_form_that_services_write(line):
    moment = logs.moment_of(line)
    assert moment is not None and moment.replace(microsecond=0) == datetime(2026, 1, 31, 13, tzinfo=UTC)


@pytest.mark.parametrize("line", ["banner", "", "2026-99-31T13:00:00Z [info", "took 2026-01-31T13:00:00Z", "12:00:00"])
def test_a_line_without_a_time(line):
    assert logs.moment_of(line) is None


def test_lines_of_a_log_without_any_time_have_that_of_its_file(tmp_path, capsys):
    (tmp_path / "a.log").write_text("x1\nx2\n")
    os.utime(tmp_path / "a.log", (1.8e9, 1.8e9))
    logs.show(tmp_path, ["a"], False, None, datetime(2026, 1, 1, tzinfo=UTC))
    assert log_lines(capsys) == ["x1", "x2"]
    logs.show(tmp_path, ["a"], False, None, datetime(2028, 1, 1, tzinfo=UTC))
    assert log_lines(capsys) == []


def test_the_engine_is_chosen_by_setting_or_by_what_answers(make_settings, tmp_path, monkeypatch, capsys):
    assert choose(make_settings("ENGINE=standalone\n")).name == "standalone"
    assert choose(make_settings("ENGINE=compose\n")).name == "compose"
    assert "as ENGINE says" in capsys.readouterr().err
    docker = tmp_path / "docker"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for script, name, why in [
        ("echo 2.30.0", "compose", "Docker answers"),
        ("exit 1", "standalone", "no Docker engine answers"),
        ('case "$1" in compose) exit 1;; esac', "standalone", "the compose plugin (version 2) is missing"),
    ]:
        docker.write_text(f"#!/bin/sh\n{script}\n")
        docker.chmod(0o755)
        assert choose(make_settings()).name == name
        assert f"Engine: {name} ({why})" in capsys.readouterr().err
    monkeypatch.setenv("PATH", "/nowhere")
    assert choose(make_settings()).name == "standalone"
    assert "there is no docker on PATH" in capsys.readouterr().err


def test_workers_and_other_systems_are_refused(make_settings, monkeypatch):
    with pytest.raises(UserError, match="EXECUTOR: standalone has no workers"):
        Standalone(make_settings("EXECUTOR=CeleryExecutor\n")).require_fit()
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(UserError, match="standalone does not run on win32"):
        Standalone(make_settings()).require()


def test_nothing_is_written_through_a_link_into_what_is_not_ours(make_settings, tmp_path):
    environment, home = tmp_path / "e", tmp_path / "home"
    (environment / "home/.aws").mkdir(parents=True)
    settings = make_settings("EXTRA_MOUNTS=x:/home/airflow/extern/Archive0/sub\n")
    with pytest.raises(UserError, match="EXTRA_MOUNTS: ~/extern/Archive0/sub would be in ~/extern/Archive0"):
        make_home(settings, home, environment)
    (environment / "home/.aws/credentials").write_text("x")
    with pytest.raises(UserError, match="SITE_CONFIG: ~/.aws/credentials would be in"):
        make_home(make_settings(), home, environment)
    assert not (home / "extern").exists()


def test_a_state_dir_of_another_project_is_not_changed(make_settings, tmp_path):
    mine = Standalone(make_settings("COMPOSE_PROJECT_NAME=mine\n"), str(tmp_path / "e"))
    mine.folder.mkdir(parents=True)
    (mine.folder / "services.json").write_text('{"project": "other", "services": {}}')
    for act in (lambda: mine.stop(data=True), lambda: mine.starting(unchanged=False).__enter__()):
        with pytest.raises(
            UserError, match="is that of the project other. If this is it, moved or renamed: set COMPOSE_"
        ):
            act()


@pytest.mark.parametrize("text", ["", "[1]", '"x"', '{"supervisor": 1}', "nonsense"])
def test_invalid_state_files_are_ignored(make_settings, tmp_path, text):
    engine = Standalone(make_settings(), str(tmp_path / "e"))
    engine.folder.mkdir(parents=True)
    for name in ("state.json", "services.json"):
        (engine.folder / name).write_text(text)
    assert engine.states() == [] and engine.builder.running() == []
    assert state_of(engine.folder)[1] == []
    (tmp_path / "e/venv/bin").mkdir(parents=True)
    (tmp_path / "e/venv/bin/python").touch()
    (tmp_path / "e/manifest.json").write_text(text)
    assert environments.labels(tmp_path / "e") is None


def test_a_project_stays_on_the_engine_that_it_runs_on(make_settings, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", "/nowhere")
    settings = make_settings()
    project_state.update(settings, "compose", started="begun")
    with pytest.raises(UserError, match="ENGINE: this project runs on compose, and there is no docker on PATH"):
        choose(settings)
    (tmp_path / "docker").write_text(f"#!/bin/sh\necho $1 >>{tmp_path}/asked\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(processes, "tagged", None)  # processes of standalone are not looked for either
    assert choose(settings).name == "compose"
    assert "Engine: compose (it was up here last)" in capsys.readouterr().err
    assert (tmp_path / "asked").read_text() == "version\n"
    monkeypatch.undo()
    project_state.update(settings, "compose", started="")
    project_state.update(settings, "standalone", started="begun")
    (tmp_path / "docker").write_text("#!/bin/sh\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert choose(settings).name == "standalone"


def test_published_constraints_are_used_only_if_they_are_constraints(make_settings, tmp_path, monkeypatch):
    cache = tmp_path / "tested"
    for answer in ("<html>no</html>", "\xff"):
        monkeypatch.setattr(environments, "_fetched", lambda *_, answer=answer: answer)
        assert environments._tested(make_settings(), "3.11", cache) == {} and not cache.exists()
    monkeypatch.setattr(environments, "_fetched", lambda *_: "flask==2.2.5\n")
    assert environments._tested(make_settings(), "3.11", cache) == {"flask": "2.2.5"}
    cache.write_bytes(b"\xff\xfe")
    assert environments._tested(make_settings(), "3.11", cache) == {}


def test_sqlite_runs_several_queries_one_by_one(tmp_path):
    file = tmp_path / "airflow.db"
    with contextlib.closing(sqlite3.connect(file)) as opened:
        opened.execute("CREATE TABLE t AS SELECT 1 AS a, NULL AS b UNION SELECT 2, 'x'")
        opened.commit()
    database = Sqlite(tmp_path, file)
    assert database.queries("SELECT * FROM t ORDER BY a", "SELECT count(*) FROM t") == [
        [["1", ""], ["2", "x"]],
        [["2"]],
    ]
    assert database.query("SELECT b FROM t WHERE a = 2") == [["x"]]
    with pytest.raises(UserError, match="cannot be queried .no such table: none."):
        database.queries("SELECT 1", "SELECT * FROM none")
