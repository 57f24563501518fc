"""Turns two git repositories and a .env into a running Apache Airflow."""
