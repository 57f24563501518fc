"""Exit 0 if the job of this container has sent a heartbeat lately: healthcheck.py TriggererJob

Airflow's own ``airflow jobs check`` asks the same of the same table, but costs seconds of
a processor at each call.
"""

import socket
import sys
from pathlib import Path

import psycopg2

OLDEST_SECONDS = 30

url = Path("/run/secrets/sql_alchemy_conn").read_text().replace("+psycopg2", "")
host = socket.gethostname()
names = [socket.getfqdn(), host, socket.gethostbyname(host)]  # as AIRFLOW__CORE__HOSTNAME_CALLABLE may have it
with psycopg2.connect(url, connect_timeout=5) as connection:
    cursor = connection.cursor()
    cursor.execute(
        "SELECT count(*) FROM job WHERE job_type = %s AND state = 'running' AND hostname = ANY(%s)"
        " AND latest_heartbeat > now() - make_interval(secs => %s)",
        (sys.argv[1], names, OLDEST_SECONDS),
    )
    sys.exit(0 if cursor.fetchone()[0] else f"no {sys.argv[1]} has sent a heartbeat for {OLDEST_SECONDS} s")
