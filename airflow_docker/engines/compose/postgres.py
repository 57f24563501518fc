"""The Postgres database of a compose stack, copied while it is in use and replaced when it is not.

Postgres's own programs do it, in its container, over the local socket: there the image asks for no
password, so no program gets one, and a restore can set that of the backup.
"""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from airflow_docker import shell
from airflow_docker.engines import ServiceState, images
from airflow_docker.errors import UserError
from airflow_docker.settings import Settings

USED, BEFORE, RESTORED = "airflow", "airflow_before", "airflow_restored"
_SERVICE, _ROLE = "postgres", "airflow"
_END = "\x1e"
"""Ends the rows of a query: ASCII's record separator, which is no name, state or number."""
_END_OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'airflow%';\n"


class Stack(Protocol):
    """What the database needs of the stack around it: run commands, know what runs, start and stop."""

    @property
    def settings(self) -> Settings: ...
    def command(self, *args: str) -> list[str]: ...
    def down_command(self) -> list[str]: ...
    def exec_command(self, container: str, args: list[str], terminal: bool) -> list[str]: ...
    def environment(self) -> Mapping[str, str]: ...
    def container(self, service: str) -> str: ...
    def states(self) -> list[ServiceState]: ...
    def data(self) -> list[str]: ...
    def write_overlay(self) -> None: ...
    def require_bind_mounts(self) -> None: ...
    def stop(self, data: bool) -> None: ...


@dataclass(frozen=True)
class Postgres:
    """The database of one project."""

    stack: Stack
    kind = "postgres"
    size_query = "SELECT pg_database_size('airflow')"

    # --- what is run: builders ---

    def start_command(self) -> list[str]:
        return self.stack.command("up", "--detach", "--no-build", "--wait", _SERVICE)

    def client_command(self, program: str, *args: str) -> list[str]:
        return self.stack.command("exec", "-T", _SERVICE, program, f"--username={_ROLE}", *args)

    def dump_command(self) -> list[str]:
        """Not compressed: the backup file is."""
        return self.client_command("pg_dump", f"--dbname={USED}", "--format=custom", "--compress=0")

    def load_command(self) -> list[str]:
        only_whole = ("--single-transaction", "--exit-on-error", "--no-owner")
        return self.client_command("pg_restore", f"--dbname={RESTORED}", *only_whole)

    def sql_command(self, database: str) -> list[str]:
        """Reads statements from standard input; error messages do not quote them."""
        options = ("--no-psqlrc", "--quiet", "--no-align", "--tuples-only")
        strict = ("--variable=ON_ERROR_STOP=1", "--variable=VERBOSITY=terse")
        return self.client_command("psql", f"--dbname={database}", *options, *strict)

    def query_command(self, container: str) -> list[str]:
        """By docker itself, which is faster than compose."""
        options = ("--no-psqlrc", "--quiet", "--csv", "--tuples-only", "--variable=ON_ERROR_STOP=1")
        command = ["psql", f"--username={_ROLE}", f"--dbname={USED}", *options]
        return self.stack.exec_command(container, command, terminal=False)

    # --- what is done ---

    def query(self, sql: str) -> list[list[str]]:
        return self.queries(sql)[0]

    def queries(self, *sql: str) -> list[list[list[str]]]:
        command = self.query_command(self.stack.container(_SERVICE))
        result = shell.capture(command, stdin=script(sql), timeout=images.ASK_SECONDS)
        if result.returncode:
            last = (result.stderr.strip().splitlines() or ["no output"])[-1]
            raise UserError(_SERVICE, f"the database cannot be queried ({last}).", "Type: inv status")
        return split_tables(result.stdout)

    def exists(self) -> bool:
        return bool(self.stack.data())

    @contextlib.contextmanager
    def running_server(self) -> Iterator[None]:
        """Start the server alone if it does not run, and stop it afterwards."""
        self.stack.write_overlay()  # another version may have written it meanwhile, for other services
        before = self.stack.states()
        if any(state.service == _SERVICE and state.state == "running" for state in before):
            yield
            return
        images.require(self.stack.settings.postgres_image, "POSTGRES_IMAGE")
        self.stack.require_bind_mounts()
        try:
            result = shell.capture(self.start_command(), env=self.stack.environment())
            if result.returncode:
                what = f"the database does not start.\n{result.stderr.strip()}\n"
                raise UserError(_SERVICE, what, f"Read on: inv logs {_SERVICE}")
            yield
        finally:
            if before:
                shell.capture(self.stack.command("stop", _SERVICE), env=self.stack.environment())
            else:
                self.stop_server()

    def stop_server(self) -> None:
        """Unless a stack has been started meanwhile: that needs the server."""
        if {state.service for state in self.stack.states()} <= {_SERVICE}:
            shell.capture(self.stack.down_command(), env=self.stack.environment())

    def dump(self, file: Path) -> None:
        with self.running_server():
            self._pipe(self.dump_command(), "the database cannot be copied", target=file)

    def load_beside(self, file: Path) -> None:
        drop = f"{_END_OTHERS}DROP DATABASE IF EXISTS {RESTORED};\n"
        with self.running_server():
            self._sql(f"{drop}DROP DATABASE IF EXISTS {BEFORE};\nCREATE DATABASE {RESTORED} TEMPLATE template0;\n")
            try:
                self._pipe(self.load_command(), "the database of the backup cannot be loaded", source=file)
                self._require_airflow()
            except BaseException:
                self._sql(drop)
                raise

    def _require_airflow(self) -> None:
        if self._sql("SELECT to_regclass('alembic_version');\n", RESTORED) != "alembic_version":
            what = "its database is not that of an Airflow."
            raise UserError("backup", what, "Nothing was changed. Take another one.")

    def swap_in(self, password: str) -> None:
        with self.running_server():
            self._sql(swap_sql(password))

    def set_password(self, password: str) -> None:
        self._sql(f"BEGIN;\n{_password_sql(password)}COMMIT;\n")

    def rollback(self, had: bool, password: str) -> None:
        if not had or not self.exists():
            self.stack.stop(data=True)
            return
        with self.running_server():
            self._sql(rollback_sql(password))

    def drop_backup(self) -> None:
        with self.running_server():
            self._sql(f"DROP DATABASE IF EXISTS {BEFORE};\n")

    def _sql(self, statements: str, database: str = "postgres") -> str:
        command = self.sql_command(database)
        result = shell.capture(command, env=self.stack.environment(), stdin=statements)
        if result.returncode:
            raise _refused("the database refused a statement", result.stderr)
        return result.stdout.strip()

    def _pipe(self, command: list[str], what: str, source: Path | None = None, target: Path | None = None) -> None:
        result = shell.pipe(command, env=self.stack.environment(), source=source, target=target)
        if result.returncode:
            raise _refused(what, result.stderr.decode(errors="replace"))


def swap_sql(password: str) -> str:
    """Replaces the database in use by the restored one, and sets its password, in one transaction."""
    renames = f"ALTER DATABASE {USED} RENAME TO {BEFORE};\nALTER DATABASE {RESTORED} RENAME TO {USED};\n"
    return f"{_END_OTHERS}BEGIN;\n{renames}{_password_sql(password)}COMMIT;\n"


def rollback_sql(password: str) -> str:
    """Undoes the swap, if it was done; without a ``password`` that of the role stays."""
    is_aside = f"EXISTS (SELECT FROM pg_database WHERE datname = '{BEFORE}')"
    drop = f"DROP DATABASE IF EXISTS {RESTORED};\n"
    renames = "".join(
        f"SELECT 'ALTER DATABASE {old} RENAME TO {new}' WHERE {is_aside} \\gexec\n"
        for old, new in ((USED, RESTORED), (BEFORE, USED))
    )
    return f"{_END_OTHERS}{drop}BEGIN;\n{renames}{_password_sql(password)}COMMIT;\n{drop}"


def script(sql: Sequence[str]) -> str:
    """Several queries for one psql; a line of its own ends the rows of each."""
    return "".join(f"{statement};\n\\echo '{_END}'\n" for statement in sql)


def split_tables(answers: str) -> list[list[list[str]]]:
    """The rows of each query, from CSV; a quoted cell may contain line ends."""
    tables: list[list[list[str]]] = [[]]
    for row in csv.reader(io.StringIO(answers)):
        if row == [_END]:
            tables.append([])
        else:
            tables[-1].append(row)
    return tables[:-1]


def _password_sql(password: str) -> str:
    """Sets the password; the server logs no statement, not even one that fails."""
    if not password:
        return ""
    quoted = password.replace("'", "''")
    return (
        "SET LOCAL log_statement = 'none';\nSET LOCAL log_min_error_statement = 'panic';\n"
        f"SET LOCAL log_min_duration_statement = -1;\nALTER ROLE {_ROLE} PASSWORD '{quoted}';\n"
    )


def _refused(what: str, stderr: str) -> UserError:
    return UserError(_SERVICE, f"{what}.\n{stderr.strip()}\n", "Fix what it reports and try again.")
