"""Runs the verbs: python airflow_docker VERB"""

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from airflow_docker.program import Inv  # noqa: E402

Inv(name="airflow-docker", binary="inv", binary_names=["inv"]).run()
