"""Read by Airflow itself as each of its programs begins.

A log that cannot be written ends no task. Python reports such a log on standard error, and Airflow
leads that of a task into its log. On a full disk the one calls the other until the task ends, or
hangs, with a RecursionError.
https://docs.python.org/3/howto/logging.html#exceptions-raised-during-logging

And no process talks to the database on a connection of the one that it was forked from, whose
answers it would take: the scheduler then hangs, and no task is run any more. Airflow 2 looks whose
a connection is only when it has been asked whether it still works. Airflow 3 does as is done here.
https://docs.sqlalchemy.org/en/14/core/pooling.html#using-connection-pools-with-multiprocessing-or-os-fork

And the log of a task that runs is read where it is written, if that is here. Airflow asks its worker for it
besides, and where no worker serves logs its failure would be shown as the log.
https://github.com/apache/airflow/issues/42136
"""

import logging
import os
from pathlib import Path

__all__: list[str] = []  # Airflow would take all other names as settings of its own


def leave_connections_to_parent() -> None:
    """Forget them without a word to the server."""
    from airflow import settings

    if engine := getattr(settings, "engine", None):
        engine.dispose(close=False)


def prefer_local_logs() -> None:
    """Ask a worker for a log only if there is none here."""
    from airflow.utils.log.file_task_handler import FileTaskHandler

    ask = getattr(FileTaskHandler, "_read_from_logs_server", None)
    if ask is None:  # a later Airflow may do without
        return

    def read(self: FileTaskHandler, ti: object, path: str) -> tuple[list, list]:
        file = Path(self.local_base, path)
        return ([], []) if any(file.parent.glob(f"{file.name}*")) else ask(self, ti, path)

    FileTaskHandler._read_from_logs_server = read


prefer_local_logs()
logging.raiseExceptions = False
os.register_at_fork(after_in_child=leave_connections_to_parent)
