"""The environment variables of a standalone stack: like those of the containers, with this machine's paths."""

from __future__ import annotations

import getpass
import os
import shlex
from pathlib import Path

from airflow_docker import secret_files
from airflow_docker.engines import release
from airflow_docker.engines.standalone import environments, processes
from airflow_docker.settings import Settings, is_macos

_INHERITED = (
    "LANG", "LC_ALL", "LC_CTYPE", "TERM", "TMPDIR", "USER", "SHELL", "SSH_AUTH_SOCK", "JAVA_HOME",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "LD_LIBRARY_PATH",
)  # fmt: skip
"""Variables of the user that the services get; a container would get none of them."""
_PATIENCE = 60  # seconds that a process waits while another writes the database


def database_file(folder: Path) -> Path:
    """The SQLite file of the stack in ``folder``."""
    return folder / "airflow" / "airflow.db"


def variables(settings: Settings, folder: Path, environment: Path) -> dict[str, str]:
    """All that the services get; nothing in it is secret. ``folder`` is the stack's own."""
    path = [str(environments.python(environment).parent), str(environment / environments.SCRIPTS)]
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    user = {"LOGNAME": _user_name(), "PATH": os.pathsep.join([*path, os.environ.get("PATH", os.defpath)])}
    return {"LANG": "C.UTF-8"} | inherited | user | own_variables(settings, folder)


def own_variables(settings: Settings, folder: Path) -> dict[str, str]:
    """Those of them that come from the settings."""
    keys = settings.secrets_dir
    current = release.of(settings)
    fork_safe = {"OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES"} if is_macos() else {}
    return {
        "HOME": str(folder / "home"), "TZ": settings.tz,
        processes.MARK: str(folder), **processes.KEEP_ENVIRON, **fork_safe,
        "AIRFLOW_HOME": str(folder / "airflow"),
        # Each Airflow writes all its defaults into it at its first start; they must not outlive it.
        "AIRFLOW_CONFIG": str(folder / "airflow" / f"airflow-{settings.airflow_version}.cfg"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(settings.workflow_dev_dir / settings.dags_dir),
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        # What was queued or ran when a scheduler crashed is found within this time and run again; else after 300 s.
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
        # Enough of the traceback of an import error to name the line of the DAG file; Airflow's own default is 2.
        "AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACK_DEPTH": "30",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{database_file(folder)}?timeout={_PATIENCE}",
        "AIRFLOW__CORE__FERNET_KEY_CMD": _reads(settings, "fernet_key"),
        **(_of_two(settings) if current.number == 2 else _of_three(settings, current.web_ui_path(settings))),
        "AIRFLOW_ADMIN_USER": settings.airflow_admin_user,
        "AIRFLOW_KEYS": str(keys),
        "ARCH_ROOT": str(settings.arch_root),
        "PYDEV_DEBUG": settings.pydev_debug,
        "AWS_SHARED_CREDENTIALS_FILE": str(keys / secret_files.FILE_NAMES["AWS"]),
        **settings.airflow_options,
    }  # fmt: skip


def _of_two(settings: Settings) -> dict[str, str]:
    """Options of Airflow 2 only; compare docker/airflow-2.env."""
    return {
        # It refuses more than one task at a time on SQLite for fear of its locks. With a
        # write-ahead log (see init.py) and a patient client they wait for each other instead.
        "_AIRFLOW__SKIP_DATABASE_EXECUTOR_COMPATIBILITY_CHECK": "1",
        # A task that ends would schedule those after it; only a row lock, which SQLite lacks, keeps
        # the scheduler from doing so too, and a task that both schedule is run as a second attempt.
        "AIRFLOW__SCHEDULER__SCHEDULE_AFTER_TASK_EXECUTION": "false",
        "AIRFLOW__SCHEDULER__DAG_DIR_LIST_INTERVAL": "10",
        "AIRFLOW__WEBSERVER__SECRET_KEY_CMD": _reads(settings, "webserver_secret_key"),
        "AIRFLOW__WEBSERVER__EXPOSE_CONFIG": "false",
        "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
        "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(settings.airflow_port),
    }


def _of_three(settings: Settings, path: str) -> dict[str, str]:
    """Options of Airflow 3 only; compare docker/airflow-3.env."""
    return {
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
        "AIRFLOW__API__SECRET_KEY_CMD": _reads(settings, "webserver_secret_key"),
        "AIRFLOW__API__EXPOSE_CONFIG": "false",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(settings.airflow_port),
        "AIRFLOW__API_AUTH__JWT_SECRET_CMD": _reads(settings, "jwt_secret"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{settings.airflow_port}{path}/execution/",
        "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "24",
        "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "10",
        "AIRFLOW__CORE__AUTH_MANAGER": "airflow.providers.fab.auth_manager.fab_auth_manager.FabAuthManager",
    }


def _reads(settings: Settings, key: str) -> str:
    """The command that prints a key."""
    return f"cat {shlex.quote(str(settings.secrets_dir / key))}"


def _user_name() -> str:
    """Airflow wants one, and a uid need not have one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "airflow"
