"""What an upgrade looks at, in which order it acts, and what is left when it fails or is killed half-way."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from invoke.context import Context

import tasks
from airflow_docker import PROJECT, secret_files
from airflow_docker.database import db_version
from airflow_docker.engines import folders
from airflow_docker.errors import UserError
from airflow_docker.interruption import Interrupted
from airflow_docker.requirements import lock_file
from airflow_docker.verbs import backup, builds, dags, deprecations, stack, upgrade

OLD_FILE = __file__
"""A backup that is there, as far as anybody looks here."""


class Engine:
    """One whose Airflow starts, or does not, and that records what it was asked to do."""

    name = "standalone"

    def __init__(self, settings, done, artifact=""):
        self.settings, self.done, self.artifact = settings, done, artifact
        self.database = SimpleNamespace(exists=lambda: True)
        self.secret_owner = SimpleNamespace(owner=None)

    @property
    def builder(self):
        return self

    def with_artifact(self, artifact):
        engine = Engine(self.settings, self.done, artifact)
        engine.database = self.database
        return engine

    def require(self):
        pass

    def require_fit(self):
        pass

    def states(self):
        return ["running"]

    def running_artifact(self):
        return "built for 2.11.2"

    def has(self, artifact):
        return True

    def labels(self, artifact):
        return {db_version.LABEL: artifact.rpartition(" ")[2]}

    def stop(self, data):
        assert not data
        self.done.append(f"stop as {self.settings.airflow_version}")


@pytest.fixture
def engine(make_settings):
    settings = make_settings("")
    settings.state_dir.mkdir()
    return Engine(settings, [])


def at(engine, version):
    """The engine with settings that name this version."""
    other = Engine(replace(engine.settings, airflow_version=version), engine.done)
    other.database = engine.database
    return other


# --- which Airflow the database is of ---


def test_versions_are_compared_as_numbers():
    assert db_version.is_older("2.9.3", "2.11.2") and db_version.is_older("2.11.2", "3.0.0")
    assert not db_version.is_older("2.11.2", "2.11.2") and not db_version.is_older("3.10.0", "3.9.9")


def test_without_a_record_the_running_version_counts_and_else_the_settings(engine):
    assert db_version.current(at(engine, "3.3.2")) == "2.11.2"
    engine.running_artifact = lambda: None
    assert db_version.current(engine) == engine.settings.airflow_version


def test_an_older_airflow_is_not_started_on_a_newer_database(engine):
    db_version.record(at(engine, "3.3.2"))
    db_version.check_compatible(at(engine, "3.3.2"))
    db_version.check_compatible(at(engine, "3.4.0"))
    with pytest.raises(UserError, match=r"is 2\.11\.2, .* of Airflow 3\.3\.2.* Set AIRFLOW_VERSION=3\.3\.2 in .env"):
        db_version.check_compatible(engine)
    engine.database.exists = lambda: False
    db_version.check_compatible(engine)


def test_a_newer_one_is_said_to_migrate_and_is_no_match_for_what_runs(engine, capsys):
    db_version.record(engine)
    db_version.warn_of_migration(engine)
    db_version.require_same(engine)
    assert capsys.readouterr().err == ""
    db_version.warn_of_migration(at(engine, "3.3.2"))
    assert "migrates the database, which is of 2.11.2" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"Type: inv upgrade 3\.3\.2"):
        db_version.require_same(at(engine, "3.3.2"))


def test_the_rollback_point_is_kept_as_long_as_the_version_runs(engine):
    new = at(engine, "3.3.2")
    db_version.begin_upgrade(new, db_version.VersionRecord("2.11.2", OLD_FILE, "3.3.2", "old one"))
    for some in (engine, new):
        with pytest.raises(
            UserError, match=rf"interrupted\. To do the rest: inv upgrade 3\.3\.2\. .* inv restore {OLD_FILE} --yes"
        ):
            db_version.check_compatible(some)
    db_version.record(new)
    db_version.record(new)
    assert db_version.read(new) == db_version.VersionRecord("3.3.2", OLD_FILE)
    with pytest.raises(UserError, match=f"inv restore {OLD_FILE} --yes"):
        db_version.check_compatible(engine)
    db_version.record(engine)  # as after a restore
    assert db_version.read(engine) == db_version.VersionRecord("2.11.2")
    db_version.clear(engine)
    assert db_version.read(engine) is None


# --- the verb ---


@pytest.fixture
def machine(engine, monkeypatch):
    """A stack of 2.11.2 that runs, and what each step of an upgrade does, by name in ``done``."""
    done, failing = engine.done, {}

    def step(name, result=None):
        def act(*args, **kwargs):
            done.append(name)
            if name in failing:
                raise failing[name]
            return result

        return act

    def start(started, timeout):
        done.append(f"start {started.artifact}")
        if f"start {started.artifact}" in failing:
            raise failing[f"start {started.artifact}"]
        db_version.record(started)

    bundle = SimpleNamespace(manifest=SimpleNamespace(artifact="built for 3.3.2", python="3.11"))
    dag = {"dag": "sample", "file": "/dags/sample.py"}
    parsed = {"folder": "/dags", "dags": [dag], "errors": [], "files": []}
    parsed_before = {"folder": "/dags", "dags": [dag], "errors": [], "files": []}

    def parse(parsing, *, isolated):
        assert isolated
        is_new = parsing.settings.airflow_version == "3.3.2"
        return step("parse", parsed)() if is_new else step("parse as before", parsed_before)()

    for module, name, act in [
        (stack, "require_startable", step("require startable")),
        (builds, "build_beside", step("lock and build", bundle)), (builds, "adopt", step("adopt")),
        (secret_files, "write", lambda *_: []), (folders, "prepare", lambda *_: None),
        (dags, "parse", parse), (deprecations, "report", step("deprecations")),
        (backup, "create", step("backup", Path(OLD_FILE))), (stack, "start", start),
        (backup, "roll_back_to", lambda engine, file: (done.append(f"restore {file}"), db_version.record(engine))),
    ]:  # fmt: skip
        monkeypatch.setattr(module, name, act)
    db_version.record(engine)
    return SimpleNamespace(engine=engine, done=done, failing=failing, parsed=parsed, before=parsed_before)


def run(machine, version="3.3.2"):
    engine = machine.engine
    upgrade.upgrade(lambda named: at(engine, named or engine.settings.airflow_version), version, 10.0)


REFUSED = ["require startable", "lock and build", "parse", "deprecations"]
LOOKING = [*REFUSED, "parse as before"]


def test_it_looks_then_backs_up_then_switches(machine, capsys):
    run(machine)
    assert machine.done == [*LOOKING, "backup", "stop as 2.11.2", "start built for 3.3.2", "adopt"]
    assert db_version.read(machine.engine) == db_version.VersionRecord("3.3.2", OLD_FILE)


@pytest.mark.parametrize("step", ["require startable", "lock and build", "parse", "backup"])
def test_what_fails_before_the_switch_changes_nothing(machine, capsys, step):
    machine.failing[step] = UserError("x", "does not fit.")
    with pytest.raises(UserError, match=r"does not fit"):
        run(machine)
    assert machine.done[-1] == step
    assert "Nothing was changed: Airflow 2.11.2 runs on" in capsys.readouterr().err
    assert db_version.read(machine.engine) == db_version.VersionRecord("2.11.2")


def test_a_file_that_cannot_be_imported_is_named_with_what_is_deprecated(machine, capsys):
    machine.parsed["errors"] = [{"file": "/dags/a.py", "line": 3, "error": "ImportError: no"}]
    with pytest.raises(UserError, match=r"1 file cannot be imported with Airflow 3\.3\.2"):
        run(machine)
    assert machine.done == REFUSED
    assert "a.py:3" in capsys.readouterr().err


def test_dags_that_appear_and_go_are_named_with_the_option_that_reads_the_ignore_file_as_before(machine, capsys):
    settings = machine.engine.settings
    folder = settings.workflow_dev_dir / settings.dags_dir / "old"
    folder.mkdir(parents=True)
    machine.parsed["dags"] = [{"dag": name, "file": f"/dags/old/{name}.py"} for name in ("y", "x", "sample")]
    machine.before["dags"].append({"dag": "gone", "file": "/dags/gone.py"})
    run(machine)
    printed = capsys.readouterr().err
    assert "! With Airflow 3.3.2 these DAGs appear: x (old/x.py), y (old/y.py)\n" in printed
    assert "! With Airflow 3.3.2 these DAGs are not found any more: gone (gone.py)\n" in printed
    assert "DAG_IGNORE_FILE_SYNTAX" not in printed
    (folder / ".airflowignore").write_text("x.*")
    upgrade._warn_of_changes(machine.before, machine.parsed, settings)
    assert "AIRFLOW__CORE__DAG_IGNORE_FILE_SYNTAX=regexp in .env" in capsys.readouterr().err
    upgrade._warn_of_changes(machine.before, machine.before, settings)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("reason", ["parse fails", "artifact is gone"])
def test_an_upgrade_goes_on_where_the_dags_of_before_cannot_be_listed(machine, capsys, monkeypatch, reason):
    machine.failing["parse as before"] = UserError("DAGS_DIR", "the DAGs could not be parsed.")
    monkeypatch.setattr(Engine, "has", lambda self, artifact: reason == "parse fails")
    run(machine)
    assert (
        "! The DAGs of Airflow 2.11.2 cannot be listed, so nothing says which appear or go." in capsys.readouterr().err
    )
    assert machine.done[-1] == "adopt"


def test_a_start_that_fails_brings_the_old_one_back(machine):
    machine.failing["start built for 3.3.2"] = UserError("scheduler", "the service has ended.")
    with pytest.raises(UserError, match=r"2\.11\.2 runs again, with its data\. The reason: scheduler: the service has"):
        run(machine)
    rollback = ["stop as 3.3.2", f"restore {OLD_FILE}", "start built for 2.11.2"]
    assert machine.done[len(LOOKING) + 3 :] == rollback
    assert db_version.read(machine.engine) == db_version.VersionRecord("2.11.2")


def test_a_stop_that_fails_needs_no_restore(machine, monkeypatch):
    monkeypatch.setattr(Engine, "stop", lambda self, data: (_ for _ in ()).throw(UserError("docker", "hangs.")))
    with pytest.raises(UserError, match="hangs"):
        run(machine)
    assert machine.done[len(LOOKING) :] == ["backup", "start built for 2.11.2"]


def test_both_reasons_are_reported_if_nothing_starts(machine):
    machine.failing["start built for 3.3.2"] = UserError("scheduler", "the service has ended.")
    machine.failing["start built for 2.11.2"] = UserError("docker", "is gone.")
    with pytest.raises(
        UserError, match=rf"(?s)has ended.*is gone.*AIRFLOW_VERSION=2\.11\.2: inv restore {OLD_FILE} --yes"
    ):
        run(machine)


def test_a_defect_of_ours_is_shown_as_one_and_yet_undone(machine):
    machine.failing["start built for 3.3.2"] = KeyError("x")
    with pytest.raises(KeyError):
        run(machine)
    assert machine.done[-1] == "start built for 2.11.2"


def test_after_a_kill_the_same_again_does_the_rest_without_another_backup(machine):
    machine.failing["start built for 3.3.2"] = Interrupted()
    with pytest.raises(Interrupted):
        run(machine)
    assert db_version.read(machine.engine) == db_version.VersionRecord("2.11.2", OLD_FILE, "3.3.2", "built for 2.11.2")
    with pytest.raises(UserError, match=r"inv upgrade 3\.3\.2"):
        run(machine, "3.4.0")
    machine.failing.clear()
    machine.done.clear()
    run(machine)
    assert "backup" not in machine.done and machine.done[-1] == "adopt"
    assert db_version.read(machine.engine) == db_version.VersionRecord("3.3.2", OLD_FILE)


def test_what_fails_after_a_kill_says_that_it_was_begun_before(machine, capsys):
    db_version.begin_upgrade(machine.engine, db_version.VersionRecord("2.11.2", OLD_FILE, "3.3.2", "built for 2.11.2"))
    machine.failing["parse"] = UserError("x", "does not fit.")
    with pytest.raises(UserError, match="does not fit"):
        run(machine)
    printed = capsys.readouterr().err
    assert (
        "Nothing was changed: the upgrade from Airflow 2.11.2 to 3.3.2 was interrupted. To do the rest: inv" in printed
    )


def test_after_a_kill_nothing_is_switched_if_no_rollback_is_possible(machine):
    recorded = db_version.VersionRecord("2.11.2", "/gone/old.backup", "3.3.2", "built for 2.11.2")
    db_version.begin_upgrade(machine.engine, recorded)
    with pytest.raises(UserError, match=r"/gone/old\.backup: this backup, .* does not exist"):
        run(machine)
    assert machine.done == LOOKING and db_version.read(machine.engine) == recorded


def test_no_version_is_bad_usage(machine):
    with pytest.raises(UserError, match="to which version") as refused:
        tasks.namespace["upgrade"].declared.run(Context(), {"version": "", "timeout": "10"})
    assert refused.value.code == 2 and machine.done == []


def test_neither_the_same_nor_an_older_version(machine):
    with pytest.raises(UserError, match=r"of Airflow 2\.11\.2 already") as refused:
        run(machine, "2.11.2")
    assert refused.value.code == 2
    with pytest.raises(UserError, match=r"To go back, set AIRFLOW_VERSION=2\.9\.3 and restore a backup"):
        run(machine, "2.9.3")
    assert machine.done == []


def test_without_a_database_there_is_nothing_to_back_up_or_to_bring_back(machine):
    machine.engine.database.exists = lambda: False
    machine.failing["start built for 3.3.2"] = UserError("scheduler", "the service has ended.")
    with pytest.raises(UserError, match="^scheduler: the service has ended"):
        run(machine)
    assert "backup" not in machine.done and machine.done[-1] == "start built for 3.3.2"


def test_it_says_what_the_settings_do_not_say_yet(make_settings):
    assert upgrade.lines_to_set(make_settings("", AIRFLOW_VERSION="3.3.2", AIRFLOW_BASE_IMAGE="mine:3")) == [
        "AIRFLOW_VERSION=3.3.2", "AIRFLOW_BASE_IMAGE=mine:3",
    ]  # fmt: skip
    assert upgrade.lines_to_set(make_settings("AIRFLOW_VERSION=3.3.2\n", AIRFLOW_VERSION="3.3.2")) == []


# --- deprecations ---


def test_deprecations_have_file_line_and_rule_and_nothing_else_is_found(tmp_path, capsys):
    (tmp_path / "deep").mkdir()
    (tmp_path / ".gitignore").write_text("*\n")
    (tmp_path / "deep" / "a.py").write_text(
        "import os\nfrom airflow.decorators import dag\nfrom airflow.operators.python_operator import PythonOperator\n\n"
        "@dag(schedule_interval=None)\ndef one():\n    PythonOperator(task_id='x', python_callable=print)\n"
    )
    (tmp_path / "broken.py").write_text("def (\n")
    listed = deprecations.find_deprecations(tmp_path, "3.11")
    assert {(one.location, one.rule) for one in listed} >= {("deep/a.py:5", "AIR301"), ("deep/a.py:7", "AIR302")}
    assert all(one.rule.startswith("AIR") for one in listed)
    deprecations.report(tmp_path, "3.11", "3.3.2")
    assert "deep/a.py:5" in capsys.readouterr().err
    deprecations.report(tmp_path, "3.11", "2.11.2")
    assert capsys.readouterr().err == ""


def test_the_rules_look_at_the_folder_alone():
    command = deprecations.command(Path("/dags"), "3.12")
    assert command[-1] == "/dags" and command[-3:-1] == ["--target-version", "py312"]
    assert "--isolated" in command and "--no-cache" in command and "--fix" not in command


def test_a_ruff_that_fails_stops_nothing(tmp_path, capsys):
    deprecations.report(tmp_path, "none", "3.3.2")
    assert "cannot look for deprecations" in capsys.readouterr().err


def test_ruff_is_installed_for_those_who_use_the_verb_as_it_is_for_the_tests():
    def pinned(name):
        return re.search(r"^ruff==.*\n(?:    --hash=.*\n)+", (PROJECT / name).read_text(), re.M)[0]

    assert pinned("requirements.txt") == pinned("requirements-dev.txt")


# --- the lock ---


def test_the_lock_of_another_airflow_is_no_model():
    current, locked = {"flask": "3.0"}, {"flask": "2.2", "boto3": "1.21", "apache-airflow": "3.3.2"}
    assert lock_file._preferred(current, locked, "3.3.2") == locked
    assert lock_file._preferred(current, locked, "3.4.0") == lock_file._preferred(current, {}, "3.4.0") == current


def test_a_trial_is_kept_when_it_is_taken(tmp_path):
    names = ("requirements.lock", "requirements.key", "requirements.own.lock", "requirements.own.key")
    for name in names:
        (tmp_path / name).write_text(name)
    lock_file.keep_trial(tmp_path)
    assert [(tmp_path / name).read_text() for name in names] == [*names[:2], *names[:2]]
