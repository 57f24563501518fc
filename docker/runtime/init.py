"""Brings the database to this Airflow's schema and makes the web admin, once. Any failure ends with an error.

Airflow's own command line runs here in one process: each start of it costs seconds, and a
password must not be visible in an argument list.
"""

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airflow.cli.cli_parser import get_parser


def airflow(*command: str, password: str | None = None) -> None:
    """Run one Airflow command."""
    args = get_parser().parse_args(list(command))
    if password is not None:
        args.password = password
    args.func(args)


def key(name: str) -> str:
    """One of the infrastructure's keys, from its file."""
    value = Path(os.environ.get("AIRFLOW_KEYS", "/run/secrets"), name).read_text().strip()
    return value or sys.exit(f"{name}: the file is empty. Type: inv secrets")


def migrate() -> None:
    """Bring the database to this Airflow's schema; of a newer one's, Airflow itself says what nobody understands."""
    import airflow as package
    from airflow import settings
    from alembic.migration import MigrationContext

    steps = Path(package.__file__).parent / "migrations" / "versions"
    with settings.engine.connect() as connection:
        heads = MigrationContext.configure(connection).get_current_heads()
    known = "".join(step.read_text() for step in steps.glob("*.py")) if heads else ""
    if unknown := [revision for revision in heads if f'"{revision}"' not in known]:
        sys.exit(
            f"Airflow {package.__version__} does not know the database's schema ({unknown[0]}): it is of a newer one. "
            "Set AIRFLOW_VERSION to that, or restore a backup: inv restore FILE --yes"
        )
    with keep_rows():
        airflow("db", "migrate")


@contextmanager
def keep_rows() -> Iterator[None]:
    """With SQLite, let a migration remove no rows but those that it means to.

    There a column is changed by dropping its table, and with foreign keys on go all rows that refer to
    that table's: those of the tasks, for one. Migrations switch the keys off, and then on for all that
    follows; so once they are off nobody may switch them.
    """
    from airflow import settings
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def authorize(action: int, name: str, value: str | None, *_: str | None) -> int:
        is_switch = (action, name) == (sqlite3.SQLITE_PRAGMA, "foreign_keys") and value is not None
        return sqlite3.SQLITE_IGNORE if is_switch else sqlite3.SQLITE_OK

    def switch_off(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.set_authorizer(authorize)

    if settings.engine.dialect.name != "sqlite":
        yield
        return
    settings.engine.dispose()
    event.listen(Engine, "connect", switch_off)  # of all engines, as Airflow makes another one on the way
    try:
        yield
    finally:
        event.remove(Engine, "connect", switch_off)
        settings.engine.dispose()


def hand_over_unfinished() -> None:
    """Let Airflow 3 go on with the runs that it has from Airflow 2.

    It gives their unfinished tasks the version of the DAG, without which none is started, but overlooks
    those in no state yet; and it puts those that ran into none. So all of them get one that it sees.
    """
    from airflow.models import DagRun, TaskInstance
    from airflow.utils.session import create_session
    from sqlalchemy import and_, or_, select, update

    if not hasattr(TaskInstance, "dag_version_id"):
        return
    lost = or_(TaskInstance.state.is_(None), TaskInstance.state.in_(["scheduled", "queued", "running", "restarting"]))
    run = select(DagRun.run_id).where(
        and_(DagRun.dag_id == TaskInstance.dag_id, DagRun.run_id == TaskInstance.run_id),
        DagRun.state.in_(["queued", "running"]),
    )
    waiting = update(TaskInstance).where(TaskInstance.dag_version_id.is_(None), lost, run.exists())
    with create_session() as session:
        session.execute(waiting.values(state="up_for_reschedule"), execution_options={"synchronize_session": False})


def share_sqlite() -> None:
    """Let processes read an SQLite database while one writes it. The mode stays with the file."""
    from airflow.settings import engine

    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")


def main() -> None:
    """Wait for the database, migrate it, make the user if there is none of that name."""
    user = os.environ["AIRFLOW_ADMIN_USER"]
    password = key("admin_password")
    airflow("db", "check", "--retry", "20", "--retry-delay", "1")
    migrate()
    hand_over_unfinished()
    share_sqlite()
    airflow(
        "users", "create", "--username", user, "--role", "Admin", "--firstname", "Airflow", "--lastname", "Admin",
        "--email", f"{user}@localhost", password=password,
    )  # fmt: skip


if __name__ == "__main__":
    main()
