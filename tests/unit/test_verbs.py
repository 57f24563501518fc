"""What each verb needs, and what it does in each state of a project: the tables of docs/verbs.md."""

import json
import re
import shutil
from contextlib import contextmanager
from subprocess import CompletedProcess
from types import SimpleNamespace

import pytest
from invoke.context import Context
from invoke.exceptions import Exit

import tasks
from airflow_docker import PROJECT, project_state, settings
from airflow_docker.database import replacement
from airflow_docker.engines import ServiceState, choice, health
from airflow_docker.errors import UserError
from airflow_docker.locks import Lock
from airflow_docker.sources import repos
from airflow_docker.verbs import backup, builds, dag_run, stack, status, upgrade
from airflow_docker.verbs.preflight import Need

PAGE = (PROJECT / "docs" / "verbs.md").read_text()
VERBS = {name: tasks.namespace[name].declared for name in tasks.namespace.task_names}
MODES = {
    f"{name}{f' --{flag}' * bool(flag)}": (verb, verb.mode({flag: True}))
    for name, verb in VERBS.items()
    for flag in ("", *verb.modes)
}
"""Each verb, and each of its flags that changes what it needs."""
TYPED = {
    "up": "up", "down": "down", "build": "build", "secrets": "secrets", "secrets --rotate": "secrets --rotate fernet_key",
    "restart": "restart", "scale": "scale 2", "status": "status", "logs": "logs", "shell": "shell",
    "airflow": "airflow version", "dags": "dags", "dags --run": "dags --run x", "backup": "backup",
    "restore": "restore x", "upgrade": "upgrade 3.3.2", "clean": "clean", "image": "image",
}  # fmt: skip
"""Rows of the second table: what is typed."""


class Engine:
    """An engine that notes what is done with it; ``running`` are the states of its services."""

    name, kind, one_shot, task_service, generated_files = "compose", "postgres", ("init",), "scheduler", ()
    renewed_while_running, secret_owner = (), SimpleNamespace(owner=None, drs_cnf="/x")

    def __init__(self, settings, running=(), has_data=False):
        self.settings, self.running, self.has_data, self.done = settings, list(running), has_data, []
        self.database, self.size_query = self, ""

    @property
    def builder(self):
        return self

    def with_artifact(self, artifact):
        return self

    def note(self, action, result=None):
        if action not in self.done:
            self.done.append(action)
        return result

    require = require_answer = require_fit = require_bind_mounts = report_killed = stop_server = lambda self: None

    def has(self, artifact):
        return bool(builds.read_record(self))

    exists = is_there = lambda self: self.has_data

    def states(self):
        return self.running

    def services(self):
        return ["scheduler", "webserver"]

    def running_artifact(self):
        return "built:1" if self.running else None

    def labels(self, artifact):
        return {"airflow-docker.airflow": self.settings.airflow_version}

    def config_digest(self):
        return "as set"

    def mounted_folders(self):
        return {}

    def workers(self):
        return 1 if self.running else 0

    def port_owner(self, port):
        return ""

    def last_lines(self, container, lines=20):
        return ""

    data = written = list_unused = lambda self, *_: []

    def query(self, sql):
        return []

    def queries(self, *sql):
        return [[["0"]], [], [], [["0"]]]

    def logs(self, *_, **__):
        return self.note("shows", 0)

    def parse_dags(self, isolated):
        return self.note("parses", CompletedProcess([], 0, json.dumps(PARSED), ""))

    def apply_key(self, name):
        return self.note("changes keys", CompletedProcess([], 0, "", ""))

    def rollback(self, had, password):
        return self.note("undoes")

    def dump(self, file):
        return (self.note("backs up"), file.write_bytes(b"x"))

    def scale(self, workers):
        return self.note("scales")

    def execute(self, service, args):
        if not self.running:
            raise UserError(service, "the service is not running.", "Type: inv up")
        return self.note("runs the command", 0)

    def start_lock(self):
        return Lock(self.settings.state_dir / "up.lock", "start")

    def stop(self, data):
        self.note("stops")
        self.running = []

    @contextmanager
    def running_server(self):
        yield

    @contextmanager
    def starting(self, *, unchanged, workers=0):
        self.note("starts")
        yield lambda: True

    @contextmanager
    def restarting(self, services):
        self.note("restarts")
        yield lambda: True


PARSED = {"folder": "/dags", "dags": [{"dag": "x", "file": "/dags/x.py", "tasks": 1, "schedule": None}], "errors": [], "files": []}  # fmt: skip


def healthy(health="healthy"):
    return [ServiceState(name, name, "running", health) for name in ("scheduler", "webserver")]


def nothing(project):
    return Engine(project)


def built(project):
    record = {"artifact": "built:1", "built": "2026-01-01T00:00:00", "settings": builds._build_settings(project)}
    project_state.update(project, "compose", build=record | {"revisions": {}})
    return Engine(project)


def running(project, health="healthy"):
    engine = built(project)
    digest = builds.hashlib.sha256(b"as set").hexdigest()
    project_state.update(project, "compose", started=digest, database={"airflow": project.airflow_version})
    engine.running, engine.has_data = healthy(health), True
    return engine


def unhealthy(project):
    return running(project, "unhealthy")


def half_restored(project):
    engine = built(project)
    keys = replacement.secret_files.saved_keys(project)
    project_state.undo_file(project, "compose").write_text(json.dumps({"had": True, "keys": keys}))
    engine.has_data = True
    return engine


def newer_database(project):
    engine = built(project)
    project_state.update(project, "compose", database={"airflow": "3.9.0"})
    engine.has_data = True
    return engine


def of_another_project(project):
    engine = running(project)
    (project.state_dir / "project.json").write_text('{"format": 1, "project": "other"}')
    return engine


def data_on_another_engine(project):
    engine = running(project)
    project_state.update(project, "swarm", started="begun")
    return engine


STATES = {
    "nothing there": nothing, "built": built, "healthy": running, "unhealthy": unhealthy,
    "half restored": half_restored, "newer database": newer_database, "STATE_DIR of another": of_another_project,
    "data on another engine": data_on_another_engine,
}  # fmt: skip


@pytest.fixture
def machine(make_settings, monkeypatch):
    """``machine(state, typed)``: what the verb does in this state, and the sentence if it refuses."""

    def do(state, typed):
        project = make_settings("AIRFLOW_VERSION=2.11.2\nCOMPOSE_PROJECT_NAME=p\n")
        for folder in (project.state_dir, project.secrets_dir):
            shutil.rmtree(folder, ignore_errors=True)
        (project.workflow_dev_dir / project.dags_dir).mkdir(parents=True, exist_ok=True)
        replacement.secret_files.write(project, Engine.secret_owner)
        engine = STATES[state](project)
        _stub(monkeypatch, engine)
        if typed == "secrets":
            monkeypatch.setattr(stack, "write_secrets", lambda _: engine.note("writes secrets"))
        if "--rotate" in typed:
            put = replacement.secret_files.put
            monkeypatch.setattr(replacement.secret_files, "put", lambda *a: (engine.note("changes keys"), put(*a)))
        verb, flags = _parsed(typed)
        try:
            verb.run(Context(), flags)
        except UserError as error:
            if not engine.done or engine.done == ["undoes"]:
                return engine.done, error.text
        except Exit as end:
            assert not end.code, end
        return engine.done or ["nothing to do" if verb.mode(flags).locks else "shows"], ""

    return do


def _parsed(typed):
    name, *args = typed.split()
    task = tasks.namespace[name]
    flags = {argument.attr_name or argument.name: argument.value or "" for argument in task.get_arguments()}
    for number, arg in enumerate(args):
        if arg.startswith("--"):
            flags[arg[2:]] = args[number + 1]
        elif not args[number - 1].startswith("--") or not number:
            flags[task.default_flag or "command"] = arg
    return task.declared, flags


def _stub(monkeypatch, engine):
    """Stubs for what needs a machine: the choice of an engine, git, a build, the wait for health."""

    def build(*_, **__):
        return engine.note("builds", "built:1")

    monkeypatch.setattr(choice, "choose", lambda project, notify=True: engine)
    monkeypatch.setattr(choice, "_has_database", lambda other: choice._has_run(other.settings, other.name))
    monkeypatch.setattr(settings, "load", lambda *_, **__: engine.settings)
    monkeypatch.setattr(repos, "pull", lambda _: None)
    monkeypatch.setattr(builds, "build", build)
    monkeypatch.setattr(builds, "warn_if_stale", lambda _: None)
    monkeypatch.setattr(health, "wait", lambda *_, **__: None)
    monkeypatch.setattr(status, "_repositories", lambda _: {})
    monkeypatch.setattr(dag_run, "run", lambda *_: (dag_run._running(engine), engine.note("triggers")))
    monkeypatch.setattr(upgrade, "upgrade", lambda *_: engine.note("upgrades"))
    monkeypatch.setattr(backup, "restore", lambda *_, **__: engine.note("restores"))


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def test_the_needs_are_those_of_the_page():
    needing = {name: mode for name, (_, mode) in MODES.items() if mode.needs or mode.locks}
    columns = [*(need.value for need in Need), "lock"]
    rows = [
        [f"`{name}`", *("x" * (need in mode.needs) for need in Need), "x" * mode.locks]
        for name, mode in needing.items()
    ]
    expected = table(["verb", *columns], rows)
    assert expected in PAGE, f"docs/verbs.md lacks this table:\n{expected}"


def test_a_verb_with_a_lock_asks_first_whose_state_it_is():
    assert all(Need.OWN_STATE in mode.needs for _, mode in MODES.values() if mode.locks)


def test_down_ends_a_start_of_which_nothing_is_to_be_seen_yet(make_settings):
    engine = built(make_settings("COMPOSE_PROJECT_NAME=p\n"))
    with engine.start_lock():
        stack.down(engine)
    assert engine.done == ["stops"]


def test_what_each_verb_does_in_each_state_is_on_the_page(machine):
    sentences, rows = [], []
    for name, typed in TYPED.items():
        row = [f"`{name}`"]
        for state in STATES:
            done, refusal = machine(state, typed)
            cell = ", ".join(done)
            if refusal:
                sentence = re.sub(r"/\S+/(\.state|\.secrets)", r"…/\1", refusal).replace("\n", " ")
                if sentence not in sentences:
                    sentences.append(sentence)
                cell = f"{cell}{', ' if cell else ''}error {sentences.index(sentence) + 1}"
            row.append(cell)
        rows.append(row)
    expected = table(["verb", *STATES], rows) + "\n\n" + "\n".join(f"{n}. {s}" for n, s in enumerate(sentences, 1))
    assert expected in PAGE, f"docs/verbs.md lacks this:\n{expected}"
