"""Health checks of Airflow's services: by HTTP and in the database."""

from __future__ import annotations

import contextlib
import http.client
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

_OLDEST_HEARTBEAT = timedelta(seconds=30)


def web_ui(port: int, path: str) -> str:
    """What is wrong with the web UI, or nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        status = connection.getresponse().status
    except OSError as problem:
        return f"the web UI does not answer ({problem.strerror or problem})"
    except http.client.HTTPException:
        return "the web UI does not speak HTTP"
    finally:
        connection.close()
    return "" if status == http.client.OK else f"the web UI answers {status}"


def reading(database: Path) -> sqlite3.Connection:
    """A connection that writes nothing."""
    return sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True)


def job(database: Path, job_type: str, started: datetime) -> str:
    """What is wrong with a job that was started then, or nothing. Airflow records heartbeats in UTC."""
    recent = max(started, datetime.now(UTC) - _OLDEST_HEARTBEAT)
    query = (
        "SELECT count(*) FROM job WHERE job_type = ? AND state = 'running'"
        " AND start_date >= ? AND latest_heartbeat >= ?"
    )
    times = [f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}" for moment in (started, recent)]
    try:
        with contextlib.closing(reading(database)) as opened:
            heartbeats = opened.execute(query, [job_type, *times]).fetchone()[0]
    except sqlite3.Error as problem:
        return f"the database cannot be queried ({problem})"
    return "" if heartbeats else "it has not sent a heartbeat lately"
