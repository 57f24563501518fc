"""The verbs of airflow-docker. `inv --list` shows them, `inv --help VERB` explains one.

Each is declared in airflow_docker/cli/, with its flags and with what it needs before it runs.
"""

from invoke.collection import Collection

from airflow_docker.cli.build import build, helm, image, pull, sbom, secrets
from airflow_docker.cli.check import config, doctor
from airflow_docker.cli.data import backup, clean, restore, upgrade
from airflow_docker.cli.develop import bench, lint, test
from airflow_docker.cli.operate import airflow, dags, logs, restart, scale, shell
from airflow_docker.cli.run import demo, down, status, up

namespace = Collection(
    up, down, status, pull, secrets, build, image, sbom, helm, logs, shell, airflow, restart, scale, dags, clean,
    backup, restore, upgrade, doctor, config, demo, test, bench, lint,
)  # fmt: skip
