"""The two source repositories of the settings; they are pulled in parallel."""

from __future__ import annotations

from typing import Any

from airflow_docker import console
from airflow_docker.errors import USAGE, UserError, raise_all
from airflow_docker.settings import Settings
from airflow_docker.settings.types import Secret
from airflow_docker.sources import checkouts, clones, git_command, pulls, remotes
from airflow_docker.sources.checkouts import Report, Source
from airflow_docker.sources.pulls import Pulled


def sources(settings: Settings) -> list[Source]:
    """Both repositories, from the settings."""
    ours = [("ao-workflows", "AO_WORKFLOWS", "WORKFLOW_DEV_DIR"), ("archive-ops", "ARCHIVE_OPS", "AO_DEV_DIR")]
    repositories = []
    for name, prefix, path_setting in ours:
        url, credentials = remotes.split_credentials(getattr(settings, f"{prefix}_URL".lower()))
        ref, path = getattr(settings, f"{prefix}_REF".lower()), getattr(settings, path_setting.lower())
        repositories.append(
            Source(name, url, Secret(credentials), ref, path, f"{prefix}_URL", f"{prefix}_REF", path_setting)
        )
    return repositories


def select(chosen: list[Source], only: str | None) -> list[Source]:
    """The source named ``only``, or all. Raises UserError for an unknown name."""
    if not only:
        return chosen
    selected = [source for source in chosen if source.name == only]
    if not selected:
        names = " or ".join(source.name for source in chosen)
        raise UserError("--only", f"there is no repository '{only}'.", f"Say {names}.", USAGE)
    return selected


def pull(chosen: list[Source]) -> list[Pulled]:
    """Clone or fast-forward all ``chosen`` in parallel. Raises UserError for all failures, after all have ended."""
    from concurrent.futures import ThreadPoolExecutor

    errors: list[UserError] = []
    results: list[Pulled] = []
    git_command.require_git()
    if any(checkouts.is_missing(source) for source in chosen):
        clones.load_git()
    with console.progress() as bars, ThreadPoolExecutor(len(chosen)) as pool:
        jobs = [pool.submit(pulls.sync, source, _reporter(bars, source.name)) for source in chosen]
        for job in jobs:
            try:
                results.append(job.result())
            except UserError as error:
                errors.append(error)
    for result in results:
        console.done(result.text)
    raise_all(errors)
    return results


def _reporter(bars: Any, name: str) -> Report:
    if bars is None:
        console.say(f"· {name}: asking the remote …")
        return lambda stage, part: None
    bar = bars.add_task(name, total=1.0, stage="connecting")
    return lambda stage, part: bars.update(bar, completed=part, stage=stage)
