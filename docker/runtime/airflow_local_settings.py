"""Read by Airflow itself as each of its programs begins: a log that cannot be written ends no task.

Python tells of such a log on standard error, and Airflow leads that of a task into its log. On a
full disk the one calls the other until the task ends, or hangs, with a RecursionError.
https://docs.python.org/3/howto/logging.html#exceptions-raised-during-logging
"""

import logging

__all__: list[str] = []  # Airflow would take all other names as settings of its own

logging.raiseExceptions = False
