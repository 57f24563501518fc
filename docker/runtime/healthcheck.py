"""Exit 0 if what runs in this container has given a sign of life lately: healthcheck.py TriggererJob | worker

Airflow's own ``airflow jobs check`` and ``celery inspect ping`` ask the same, but cost seconds of
a processor at each call.
"""

import re
import socket
import sys
from pathlib import Path

OLDEST_SECONDS = 30
SECRETS = Path("/run/secrets")


def job(name: str) -> bool:
    """True if a job of this type and this container has a young heartbeat in the database."""
    import psycopg2

    url = (SECRETS / "sql_alchemy_conn").read_text().replace("+psycopg2", "")
    host = socket.gethostname()
    names = [socket.getfqdn(), host, socket.gethostbyname(host)]  # as AIRFLOW__CORE__HOSTNAME_CALLABLE may have it
    with psycopg2.connect(url, connect_timeout=5) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT count(*) FROM job WHERE job_type = %s AND state = 'running' AND hostname = ANY(%s)"
            " AND latest_heartbeat > now() - make_interval(secs => %s)",
            (name, names, OLDEST_SECONDS),
        )
        return bool(cursor.fetchone()[0])


def worker() -> bool:
    """True if the broker has heard from this container lately: a worker of Celery sends a heartbeat every 2 s."""
    password, host, port = re.fullmatch(
        r"redis://:(.*)@(.*):(\d+)/0", (SECRETS / "broker_url").read_text().strip()
    ).groups()
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(f"AUTH {password}\r\nCLIENT LIST\r\nQUIT\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        own = connection.getsockname()
    others = re.findall(rf"addr={re.escape(own[0])}:(?!{own[1]} )\d+ .*?\bidle=(\d+)", answer)
    return any(int(idle) < OLDEST_SECONDS for idle in others)


if __name__ == "__main__":
    what = sys.argv[1]
    sys.exit(0 if (worker() if what == "worker" else job(what)) else f"no {what} has been heard for {OLDEST_SECONDS} s")
