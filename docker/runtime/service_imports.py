"""Prints the files of all modules that Airflow's services import: service_imports.py FOLDER

They are found by importing them, as many are named only in settings, entry points and drivers. What is written
meanwhile, a database among it, goes into FOLDER, which the caller takes away.
"""

import importlib
import logging
import os
import pkgutil
import sys
from collections.abc import Callable

PROVIDERS = ("celery", "common", "fab", "postgres", "standard")
"""Those that services are made of; others are for the tasks."""
BY_NAME = (
    "airflow.__main__", "airflow.sdk._shared.logging", "alembic.ddl.postgresql", "anyio._backends._asyncio",
    "anyio._core", "asyncpg", "celery.app", "celery.apps.worker", "celery.backends.database", "celery.backends.redis",
    "celery.bin", "celery.concurrency.prefork", "celery.fixups", "celery.loaders", "celery.worker",
    "gunicorn.app.wsgiapp", "gunicorn.glogging", "gunicorn.workers.sync", "jinja2.ext", "kombu.transport.redis",
    "sqlalchemy.dialects.postgresql", "uvicorn",
)  # fmt: skip
"""What is run as a program, or loads modules by a name from a setting or from a connection."""
NEVER = (".__main__", ".example_dags", ".migrations", ".providers", ".tests")
"""The ends of names that no service imports, or that are imported otherwise here."""


def environment(folder: str) -> dict[str, str]:
    """What keeps all that is written here within ``folder``."""
    return {
        "HOME": folder,
        "TMPDIR": folder,
        "AIRFLOW_HOME": folder,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "AIRFLOW__FAB__UPDATE_FAB_PERMS": "false",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "CRITICAL",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
        "AIRFLOW__WEBSERVER__UPDATE_FAB_PERMS": "false",
    }


def import_all(name: str) -> None:
    """A module with all that is below it. What cannot be imported here no service imports either."""
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit):
        return
    for submodule in pkgutil.iter_modules(getattr(module, "__path__", ()), f"{name}."):
        if not submodule.name.endswith(NEVER):
            import_all(submodule.name)


def make_database() -> None:
    """By the migrations, as a start does."""
    from airflow.utils import db

    db.upgradedb()


def make_web_app_of_2() -> None:
    """The web UI of Airflow 2, and its first pages."""
    from airflow.www.app import create_app

    client = create_app().test_client()
    for page in ("/health", "/login/", "/home"):
        client.get(page, follow_redirects=True)


def make_web_app_of_3() -> None:
    """The API server of Airflow 3, with users that have passwords."""
    from airflow.api_fastapi.app import create_app

    create_app(apps="all")


def load_providers() -> None:
    """The hooks of all providers: the web UI has a form for each."""
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    for name in ("hooks", "connection_form_widgets", "field_behaviours"):
        list(getattr(manager, name, {}).values())


def main() -> None:
    """Import, and print what has come of it."""
    from airflow.cli import cli_parser

    cli_parser.get_parser()
    import_all("airflow")
    for name in (*(f"airflow.providers.{provider}" for provider in PROVIDERS), *BY_NAME):
        import_all(name)
    steps: tuple[Callable[[], None], ...] = (make_database, load_providers, make_web_app_of_2, make_web_app_of_3)
    for step in steps:
        try:
            step()
        except ImportError:
            pass  # of the other release
        except (Exception, SystemExit) as problem:  # it costs time when services start, and nothing else
            print(f"{step.__name__}: {type(problem).__name__}: {problem}", file=sys.stderr)


def note(event: str, args: tuple) -> None:
    """An audit hook: modules are run by exec, also those that are in no list of modules, as migrations are."""
    if event == "exec":
        executed.add(args[0].co_filename)


if __name__ == "__main__":
    answer = os.dup(1)
    os.dup2(2, 1)  # whatever the modules print is no answer
    executed = {str(getattr(module, "__file__", "")) for name, module in sys.modules.items() if name != "__main__"}
    sys.addaudithook(note)
    logging.disable()
    os.environ |= environment(sys.argv[1])
    main()
    with os.fdopen(answer, "w") as output:
        output.write("".join(f"{file}\n" for file in sorted(executed) if file.endswith(".py")))
    os._exit(0)  # without waiting for what was started
