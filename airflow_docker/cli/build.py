"""Verbs that fetch, build, and tell what was built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_docker.cli.verb import Mode, verb
from airflow_docker.errors import USAGE, UserError
from airflow_docker.verbs.preflight import Need

if TYPE_CHECKING:
    from airflow_docker.engines import Engine
    from airflow_docker.settings import Settings


@verb("Build", help={"only": "one repository: ao-workflows or archive-ops"})
def pull(settings: Settings, only: str = "") -> None:
    """Clone or fast-forward both source repositories."""
    from airflow_docker.sources import repos

    repos.pull(repos.select(repos.sources(settings), only))


def _one_at_most(check: bool, rotate: str) -> None:
    if rotate and check:
        raise UserError("--check", "changes nothing, and --rotate does.", "Use one of them.", USAGE)


@verb(
    "Build",
    needs=[Need.OWN_STATE],
    locks=True,
    modes={
        "check": Mode(),
        "rotate": Mode((Need.OWN_STATE, Need.ENGINE, Need.UNDONE, Need.SAME, Need.ALONE), locks=True),
    },
    require=_one_at_most,
    help={
        "check": "write nothing; report missing, stale or too readable files (exit code 1)",
        "rotate": "generate this infrastructure key again, and restart what reads it",
    },
)
def secrets(engine: Engine, check: bool = False, rotate: str = "") -> None:
    """Write the secret files from the environment and .env."""
    from airflow_docker.verbs import rotation, stack

    if rotate:
        rotation.rotate(engine, rotate)
    elif check:
        stack.check_secrets(engine)
    else:
        stack.write_secrets(engine)


def _build_dir(build_dir: str, **_: Any) -> dict[str, str]:
    from airflow_docker.settings import flag_path

    return {"BUILD_DIR": str(flag_path("--build-dir", build_dir) or "")}


@verb(
    "Build",
    needs=[Need.OWN_STATE, Need.COMPATIBLE],
    locks=True,
    sets=_build_dir,
    notify=True,
    help={
        "refresh": "remove the build context and start over",
        "requirements": "requirements file of the DAGs (default: DAG_REQUIREMENTS)",
        "build-dir": "folder of the build context (default: BUILD_DIR)",
        "no-cache": "build every layer again",
        "upgrade": "take the newest versions the requirements allow",
        "strict": "fail if the install would change packages of the base image",
    },
)
def build(
    engine: Engine, refresh: bool = False, requirements: str = "", build_dir: str = "", no_cache: bool = False,
    upgrade: bool = False, strict: bool = False,
) -> None:  # fmt: skip
    """Resolve the requirements, assemble the build context, build the image."""
    from airflow_docker.settings import flag_path
    from airflow_docker.verbs import builds

    chosen = flag_path("--requirements", requirements)
    builds.build(engine, refresh=refresh, no_cache=no_cache, upgrade=upgrade, strict=strict, chosen=chosen)


@verb("Build", help={"name": "an image that was built here (default: the last one)"})
def image(engine: Engine, name: str = "") -> None:
    """Show what an image was built from: commits, lock file, base image."""
    from airflow_docker.verbs import builds

    builds.show(engine, name)


@verb("Build", needs=[Need.ENGINE], default_flag="file", help={"file": "file to write (default: standard output)"})
def sbom(engine: Engine, file: str = "") -> None:
    """Write a bill of materials (SBOM) of the last build, as CycloneDX JSON."""
    from airflow_docker.settings import flag_path
    from airflow_docker.verbs import sbom as sbom_verb

    sbom_verb.write(engine, flag_path("--file", file))


@verb(
    "Build",
    needs=[Need.ENGINE],
    default_flag="file",
    iterable=["claim"],
    help={
        "file": "file to write (default: standard output)",
        "claim": "SETTING=CLAIM: an existing PersistentVolumeClaim for this folder; repeatable",
    },
)
def helm(engine: Engine, claim: list[str], file: str = "") -> None:
    """Write values for the official Helm chart, to run the last build on Kubernetes."""
    from airflow_docker.settings import flag_path
    from airflow_docker.verbs import helm as helm_verb

    helm_verb.write(engine, flag_path("--file", file), claim)
