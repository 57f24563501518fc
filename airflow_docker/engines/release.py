"""What differs between the releases of Airflow: their services, options and paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from airflow_docker.settings import Settings


@dataclass(frozen=True)
class Release:
    """One of the releases.

    ``page`` is the service of the web UI, ``health_path`` its path that needs no login, and
    ``base_url`` the option with the URL that people use for it. ``parser`` reads the DAG files.
    ``commands`` maps the services to what follows ``airflow``, without serving logs on ports of their
    own; ``jobs`` maps those that send heartbeats to their job type. ``is_known`` is the SQL condition on
    table ``dag`` for DAGs whose file exists. ``signs_logins`` is the key of SECRETS_DIR, if any, that signs
    login tokens: these stay valid when passwords and sessions change. ``grace`` is for how many seconds
    services may run after SIGTERM, the same as stop_grace_period of the scheduler in the compose files.
    """

    number: int
    page: str
    health_path: str
    base_url: str
    parser: str
    commands: dict[str, list[str]]
    jobs: dict[str, str]
    is_known: str
    signs_logins: str = ""
    grace: float = 30.0

    def web_ui_path(self, settings: Settings) -> str:
        """The path of the web UI's address, without a slash at its end; empty unless an option sets one."""
        return urlsplit(settings.airflow_options.get(self.base_url, "")).path.rstrip("/")


# https://airflow.apache.org/docs/apache-airflow/2.11.2/administration-and-deployment/logging-monitoring/check-health.html
TWO = Release(
    2,
    "webserver",
    "/health",
    "AIRFLOW__WEBSERVER__BASE_URL",
    "scheduler",
    {
        "webserver": ["webserver"],
        "scheduler": ["scheduler", "--skip-serve-logs"],
        "triggerer": ["triggerer", "--skip-serve-logs"],
    },
    {"scheduler": "SchedulerJob", "triggerer": "TriggererJob"},
    "is_active",
)
# https://airflow.apache.org/docs/apache-airflow/3.0.0/installation/upgrading_to_airflow3.html
THREE = Release(
    3,
    "api-server",
    "/execution/health",  # what tasks ask; its first answer takes seconds, in which the web UI does not answer either
    "AIRFLOW__API__BASE_URL",
    "dag-processor",
    {
        "api-server": ["api-server"],
        "scheduler": ["scheduler", "--skip-serve-logs"],
        "dag-processor": ["dag-processor"],
        "triggerer": ["triggerer", "--skip-serve-logs"],
    },
    {"scheduler": "SchedulerJob", "dag-processor": "DagProcessorJob", "triggerer": "TriggererJob"},
    "NOT is_stale",
    "jwt_secret",
    10.0,  # its tasks ignore SIGTERM, and the scheduler waits for them
)


def of(settings: Settings) -> Release:
    """The release that AIRFLOW_VERSION is of."""
    return TWO if settings.airflow_version.startswith("2.") else THREE


def address(settings: Settings) -> str:
    """The URL of the web UI on this machine."""
    return f"http://localhost:{settings.airflow_port}{of(settings).web_ui_path(settings)}"


def with_service(name: str, settings: Settings) -> Release:
    """That of the settings, or another that has this service: the running version may differ from the settings."""
    return next((release for release in (of(settings), TWO, THREE) if name in release.commands), of(settings))
