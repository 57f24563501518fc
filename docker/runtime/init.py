"""Brings the database to this Airflow's schema and makes the web admin, once. Any failure ends with an error.

Airflow's own command line runs here in one process: each start of it costs seconds, and a
password must not stand in an argument list.
"""

import os
import sys
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
    found = Path(os.environ.get("AIRFLOW_KEYS", "/run/secrets"), name).read_text().strip()
    return found or sys.exit(f"{name}: the file is empty. Type: inv secrets")


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
    airflow("db", "migrate")
    share_sqlite()
    airflow(
        "users", "create", "--username", user, "--role", "Admin", "--firstname", "Airflow", "--lastname", "Admin",
        "--email", f"{user}@localhost", password=password,
    )  # fmt: skip


if __name__ == "__main__":
    main()
