"""A restore brings back everything in a backup; a backup that cannot be restored changes nothing."""

import stat
from pathlib import Path

import pytest
from conftest import git

from airflow_docker import secret_files
from airflow_docker.database import backup_file, replacement
from airflow_docker.engines.choice import choose
from stack.conftest import ENGINES, until
from stack.test_stack import Browser

DAG = """
from datetime import datetime
from airflow.decorators import dag, task

@dag(schedule="@once", start_date=datetime(2024, 1, 1), catchup=False, is_paused_upon_creation=False)
def rows():
    @task
    def one():
        return 1
    one()

rows()
"""
COMMANDS = """
from airflow.cli.cli_parser import get_parser
for line in {lines!r}:
    args = get_parser().parse_args(line.split())
    args.func(args)
"""
LINES = [
    "connections add kept --conn-type http --conn-password marker-stored",
    "variables set kept marker-variable",
    "users create --username second --role Viewer --firstname a --lastname b --email b@localhost --password old",
]
READ = """
from airflow.models import Connection, Variable
print("stored:", Connection.get_connection_from_secrets("kept").password, Variable.get("kept"))
"""
TABLES = ("dag_run", "task_instance", "connection", "variable", "ab_user", "ab_user_role")


class Content:
    """Everything that a restore must bring back; of the log, the rows up to ``last_event``."""

    def __init__(self, project, last_event=None, tables=TABLES):
        self.tables = tables
        self.last_event = last_event or project.sql("select max(id) from log")
        self.rows = {table: sorted(project.sql(f"select * from {table}").splitlines()) for table in tables}
        self.rows["log"] = project.sql(f"select * from log where id <= {self.last_event} order by id").splitlines()
        self.keys = secret_files.saved_keys(project.settings)

    def require_same(self, project):
        content = Content(project, self.last_event, self.tables)
        assert content.rows == self.rows
        assert content.keys == self.keys


@pytest.fixture
def filled(project):
    """A running stack with runs, a connection, a variable and a user."""
    repository = project.folder / "remotes" / "ao-workflows"
    (repository / "airflow-docker/dags/sample_sync.py").unlink()
    (repository / "airflow-docker/dags/rows.py").write_text(DAG)
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "rows")
    project.inv("up")
    project.python(COMMANDS.format(lines=LINES))
    until(lambda: project.sql("select 1 from dag_run where state = 'success'"))
    return project


def damaged(backup):
    """Damaged copies of a backup, which must be refused."""
    content = backup.read_bytes()
    middle = len(content) // 2
    changed = content[:middle] + bytes([content[middle] ^ 0x55]) + content[middle + 1 :]
    for name, bad in {"half": content[:middle], "short": content[:-1], "changed": changed, "empty": b""}.items():
        file = backup.with_name(name)
        file.write_bytes(bad)
        yield file


def without_database(backup, folder):
    """A complete backup with a valid checksum, whose database is no database."""
    folder.mkdir()
    described = backup_file.read(backup, folder)
    (folder / backup_file.DATABASE).write_bytes(b"no database at all")
    with (folder / "sealed").open("wb") as target:
        backup_file.write(target, described, folder)
    return folder / "sealed"


@pytest.mark.on(*ENGINES)
def test_everything_is_there_again_and_a_refusal_changes_nothing(filled, monkeypatch, tmp_path):
    project, encrypted = filled, tmp_path / "it.backup"
    before = Content(project)
    assert all(before.rows.values())
    plain = take_backup(project)
    monkeypatch.setenv("BACKUP_PASSPHRASE", "three words more")
    project.inv("backup", "--encrypt", "--file", str(encrypted))
    assert not [value for value in before.keys.values() if value.encode() in encrypted.read_bytes()]
    before.require_same(project)  # it kept running

    refuses_what_is_damaged_or_in_the_way(project, plain, before, tmp_path)
    comes_back_on_a_machine_that_knows_nothing(project, encrypted, before, monkeypatch)
    undoes_what_was_interrupted(project, plain, tmp_path)
    output = project.inv("restore", str(plain), "--yes")
    assert "Restoring" in output and project.running()
    before.require_same(project)


def take_backup(project):
    project.inv("backup")
    (backup,) = (project.settings.state_dir / "backups").iterdir()
    assert backup.name.startswith(f"{project.settings.compose_project_name}-20")
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert not [left for left in project.settings.state_dir.iterdir() if left.name.startswith(("backup.", "undo."))]
    assert "there already" in project.inv("backup", "--file", str(backup), code=1)
    return backup


def refuses_what_is_damaged_or_in_the_way(project, backup, before, folder):
    started = project.running()
    for file in damaged(backup):
        project.inv("restore", str(file), "--yes", code=1)
        file.unlink()
    assert "is running. Type: inv down" in project.inv("restore", str(backup), code=2)
    assert project.running() == started
    before.require_same(project)
    # This one is detected only after the old database was set aside.
    project.inv("restore", str(without_database(backup, folder / "members")), "--yes", code=1)
    assert project.json("status")["state"] == "healthy"
    before.require_same(project)
    project.inv("down")
    assert "has a database, which this would replace" in project.inv("restore", str(backup), code=2)
    project.inv("backup", "--file", str(folder / "while down"))
    (folder / "of that").mkdir()
    assert (
        backup_file.read(folder / "while down", folder / "of that").database == choose(project.settings).database.kind
    )
    project.inv("status", code=3)


def comes_back_on_a_machine_that_knows_nothing(project, backup, before, monkeypatch):
    project.inv("down", "--volumes", "--yes")
    for file in [*project.settings.secrets_dir.iterdir()]:
        file.unlink()
    project.settings.secrets_dir.rmdir()
    right = "three words more"
    monkeypatch.setenv("BACKUP_PASSPHRASE", right.upper())
    assert "the passphrase is wrong" in project.inv("restore", str(backup), code=1)
    assert not project.settings.secrets_dir.exists()
    monkeypatch.setenv("BACKUP_PASSPHRASE", right)
    project.inv("restore", str(backup))
    assert not project.running()
    for name in secret_files.OF_DATABASE:
        file_status = (project.settings.secrets_dir / name).stat()
        assert (stat.S_IMODE(file_status.st_mode), file_status.st_uid) == (
            0o400,
            choose(project.settings).secret_owner.owner,
        )
    project.inv("up")
    before.require_same(project)
    assert "stored: marker-stored marker-variable" in project.python(READ)
    assert Browser(project).log_in("admin", before.keys["admin_password"])
    assert Browser(project).log_in("second", "old")


def undoes_what_was_interrupted(project, backup, folder):
    """A kill after the databases were swapped; the next start undoes the restore."""
    project.python(COMMANDS.format(lines=["variables set later x"]))
    project.inv("down")
    engine = choose(project.settings)
    (folder / "other").mkdir()
    backup_file.read(backup, folder / "other")
    keys = {name: "another-" + name for name in secret_files.OF_DATABASE}
    keys_before = secret_files.saved_keys(project.settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replacement, "_undo", lambda _: None)
        patch.setattr(type(engine.database), "drop_backup", lambda _: None)
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            replacement.replace(engine, folder / "other" / backup_file.DATABASE, keys)
    assert secret_files.saved_keys(project.settings) == keys
    assert "Undoing a restore that was interrupted" in project.inv("up")
    assert secret_files.saved_keys(project.settings) == keys_before
    assert project.sql("select count(*) from variable where key = 'later'") == "1"


def killed(file, *, missing_ok=False, unlink=Path.unlink):
    if file.name.startswith("undo."):
        raise KeyboardInterrupt
    unlink(file, missing_ok=missing_ok)


@pytest.mark.on("standalone-3", "compose-3", "compose-celery")
def test_what_runs_goes_back_to_what_it_was(stack, tmp_path):
    """The test above in short for the other flavours; rows of runs are ignored, as a run may continue meanwhile."""
    stack.python(COMMANDS.format(lines=LINES[:2]))
    before = Content(stack, tables=set(TABLES) - {"dag_run", "task_instance"})
    assert all(before.rows.values())
    stack.inv("backup", "--file", str(tmp_path / "it.backup"))
    stack.python(COMMANDS.format(lines=["variables set later x", "connections delete kept"]))
    assert "Restoring" in stack.inv("restore", str(tmp_path / "it.backup"), "--yes")
    before.require_same(stack)
    assert "stored: marker-stored marker-variable" in stack.python(READ)
