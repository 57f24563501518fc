"""Runs the verbs: python airflow_docker VERB"""

import signal
import sys
from pathlib import Path

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until interruption.py installs its handler

sys.path[0] = str(Path(__file__).resolve().parent.parent)

from airflow_docker.program import Inv  # noqa: E402

Inv(name="airflow-docker", binary="inv", binary_names=["inv"]).run()
