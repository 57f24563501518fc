"""What comes from elsewhere: both repositories, and the images."""

from __future__ import annotations

import re

from airflow_docker import shell
from airflow_docker.engines import Engine, images
from airflow_docker.errors import UserError
from airflow_docker.findings import Finding, ok, problem
from airflow_docker.settings import Settings
from airflow_docker.settings.types import redact
from airflow_docker.sources import checkouts, git_command, pulls, remotes, repos
from airflow_docker.sources.checkouts import Source
from airflow_docker.verbs import builds

"""How long a registry may take: less than a whole check, as there is something to ask after it."""


def workflows(settings: Settings, engine: Engine) -> Finding:
    return _repository(repos.select(repos.sources(settings), "ao-workflows")[0])


def archive_ops(settings: Settings, engine: Engine) -> Finding:
    return _repository(repos.select(repos.sources(settings), "archive-ops")[0])


def list_command(url: str) -> list[str]:
    """Lists the refs of a remote; needs no checkout and makes none."""
    return git_command.command(None, "ls-remote", "--", url)


def _repository(source: Source) -> Finding:
    """Where there is a checkout, `inv up` does without the remote; only `inv pull` would fail."""
    try:
        return _check_ref(source, _refs(source))
    except UserError as error:
        return problem(error, "error" if checkouts.is_missing(source) else "warning")


def _refs(source: Source) -> dict[str, str]:
    """Every name that the remote has, and its commit."""
    shown = redact(source.url)
    try:
        result = shell.capture(list_command(source.url), env=source.environment)
    except shell.TimedOut as timeout:
        what = f"{shown} has not answered in {timeout.seconds:g} s."
        raise UserError(source.url_setting, what, f"Try: git ls-remote {shown}") from None
    if result.returncode:
        raise remotes.explain(source.url, source.url_setting, remotes.last_line(result.stderr))
    lines = (line.split("\t") for line in result.stdout.splitlines() if "\t" in line)
    return {name: commit for commit, name in lines}


def _check_ref(source: Source, refs: dict[str, str]) -> Finding:
    ref = source.ref or "HEAD"
    names = ("HEAD",) if not source.ref else (f"refs/heads/{ref}", f"refs/tags/{ref}")
    shown = redact(source.url)
    if any(name in refs for name in names):
        return ok(f"{shown} answers{f' and has {ref}' if source.ref else ''}")
    if not re.fullmatch(r"[0-9a-f]{7,64}", source.ref):
        raise pulls.no_such_ref(source, source.ref)
    if any(commit.startswith(ref) for commit in refs.values()) or checkouts.has_commit(source, ref):
        return ok(f"{shown} answers; the commit {ref[:10]} is known")
    what = f"{shown} answers; whether it has the commit {ref[:10]} shows only when it is fetched."
    return Finding("skipped", what, "Type: inv pull")


def base_image(settings: Settings, engine: Engine) -> Finding:
    """Needed by a build alone: what is built already runs without it."""
    return _image(settings.airflow_base_image, "AIRFLOW_BASE_IMAGE", is_needed=builds.built(engine) is None)


def postgres_image(settings: Settings, engine: Engine) -> Finding:
    return _image(settings.postgres_image, "POSTGRES_IMAGE", is_needed=True)


def redis_image(settings: Settings, engine: Engine) -> Finding:
    if settings.executor != "CeleryExecutor":
        return Finding("skipped", "the scheduler runs the tasks: there is no broker.", "Nothing is to be done.")
    return _image(settings.redis_image, "REDIS_IMAGE", is_needed=True)


def _image(name: str, where: str, is_needed: bool) -> Finding:
    if images.inspect(name):
        return ok(f"{name} is here")
    try:
        result = shell.capture(images.manifest_command(name), timeout=images.REGISTRY_SECONDS)
        last_line = (result.stderr.strip() or "no reason given").splitlines()[-1] if result.returncode else ""
    except shell.TimedOut as timeout:
        last_line = f"no answer in {timeout.seconds:g} s"
    if not last_line:
        return ok(f"{name} is not here; it can be pulled")
    todo = f"Check the name and your connection, or log in (docker login). Try: docker pull {name}"
    if images.pulls_through_proxy():
        what = f"{where}: {name} is not here, and only the engine's proxy or mirror knows whether it can be pulled."
        return Finding("warning", what, todo)
    what = f"{where}: {name} is not here, and cannot be had ({last_line})."
    return Finding("error" if is_needed else "warning", what, todo)
