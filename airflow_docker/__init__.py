"""Turns two git repositories and a .env file into a running Apache Airflow."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
"""The folder of tasks.py, compose.yaml and docker/."""
__version__ = "0.1.0"
