"""`inv helm`: values for the official Helm chart of Apache Airflow, and commands that create their Secrets."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from airflow_docker import console, files
from airflow_docker.engines import Engine, images
from airflow_docker.errors import USAGE, UserError
from airflow_docker.settings import Settings
from airflow_docker.verbs import builds, helm_values

_HEADER = "# Values for the official Helm chart of Apache Airflow, by `inv helm`. Put your own into a second file.\n"
_CLAIM = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_PLAIN = re.compile(r"[A-Za-z_/][\w./-]+")
"""Text that every YAML parser reads as text; some read a tag like 12345678e901 as a number."""


def write(engine: Engine, file: Path | None, claim_args: Iterable[str]) -> None:
    """Write the values to ``file``, or to standard output; ``claim_args`` are those of --claim. Raises UserError."""
    settings = engine.settings
    claims = claims_of(settings, claim_args)
    if engine.name == "standalone":
        what = "Kubernetes runs images, and standalone builds none."
        raise UserError("inv helm", what, "Set ENGINE=compose and type: inv build")
    if file:
        files.require_new(file, "--file")
    image = built_image(engine)
    text = as_yaml(helm_values.values(settings, image, claims))
    if file:
        files.write(file, text.encode())
    else:
        console.out(text.rstrip("\n"))
    _print_next_steps(settings, image, claims, str(file or "FILE"))


def built_image(engine: Engine) -> helm_values.Image:
    """The image of the last build. Raises UserError if there is none, or it was built with other settings."""
    artifact = builds.built(engine)
    if artifact is None:
        raise UserError("inv helm", "nothing has been built with these settings.", "Type: inv build")
    digest = images.digest_of(images.inspect(artifact) or {}, artifact)
    repository, _, tag = artifact.rpartition(":")
    pin = images.pin_of(digest) if images.repository_of(digest) == repository else ""
    return helm_values.Image(repository, tag, pin)


def claims_of(settings: Settings, claim_args: Iterable[str]) -> dict[str, str]:
    """The claims of --claim: a setting that names a folder, or a folder of EXTRA_MOUNTS -> the claim for it."""
    known = [*helm_values.FOLDERS, "DAGS_DIR", "LOGS_DIR", *(inside for _, inside in settings.extra_mounts)]
    claims = {}
    for arg in claim_args:
        setting, _, claim = arg.rpartition("=")
        if setting not in known:
            raise UserError("--claim", f"'{arg}' is for none of {', '.join(known)}.", "Say SETTING=CLAIM.", USAGE)
        if not _CLAIM.fullmatch(claim):
            raise UserError("--claim", f"'{claim}' is no name of a claim.", "Say for instance ARCH_ROOT=nas.", USAGE)
        claims[setting] = claim
    return claims


def as_yaml(document: dict[str, Any]) -> str:
    """The values as a file; the same values give the same bytes."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes no anchors, and quotes what might be misread."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def quoted(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        style = None if _PLAIN.fullmatch(text) else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, quoted)
    return _HEADER + yaml.dump(document, Dumper=Dumper, sort_keys=False, width=10_000)


def _print_next_steps(settings: Settings, image: helm_values.Image, claims: dict[str, str], file: str) -> None:
    """Print on standard error what is left to do by hand."""
    if "/" not in image.repository:
        consequence = "the cluster cannot pull it"
        console.warn(f"AIRFLOW_IMAGE={image.repository} names no registry: {consequence}, so its nodes must have it.")
    if not any(name in claims or settings.sources[name] != "default" for name in helm_values.ARCHIVES):
        console.warn(f"no archive is named ({', '.join(helm_values.ARCHIVES)}), so tasks will find none.")
    if missing := [name for name in _files(settings) if not (settings.secrets_dir / name).is_file()]:
        console.warn(f"not in SECRETS_DIR yet: {', '.join(missing)}. Type: inv secrets")
    console.say("Type these once, in the namespace of the release:")
    for command in commands(settings, image, claims, file):
        console.say(f"  {command}")


def _files(settings: Settings) -> list[str]:
    return [name for keys in helm_values.referenced(settings).values() for name in keys.values()]


def commands(settings: Settings, image: helm_values.Image, claims: dict[str, str], file: str) -> list[str]:
    """The commands that create the Secrets and start Airflow. They contain paths, never secrets."""
    prefix = helm_values.prefix_of(settings)
    lines = [f"docker push {image.repository}:{image.tag}"] if "/" in image.repository else []
    for name, keys in helm_values.referenced(settings).items():
        sources = {key: settings.secrets_dir / source for key, source in keys.items()}
        lines.append(
            _create_host_secret(prefix, name, sources)
            if name in helm_values.HOSTS
            else _create_secret(f"{prefix}-{name}", sources)
        )
    if secret := helm_values.git_secret(settings, claims):
        lines.append(_create_secret(f"{prefix}-git", {key: Path(source) for key, source in secret.items()}))
    return [*lines, shlex.join(["helm", "upgrade", "--install", prefix, "apache-airflow/airflow", "--values", file])]


def _create_secret(secret: str, sources: dict[str, Path]) -> str:
    options = [f"--from-file={key}={source}" for key, source in sources.items()]
    return shlex.join(["kubectl", "create", "secret", "generic", secret, *options])


def _create_host_secret(prefix: str, name: str, sources: dict[str, Path]) -> str:
    """The same for a connection string, whose host has another name in the cluster than on compose."""
    ((key, source),) = sources.items()
    host = helm_values.HOSTS[name]
    rewrite = shlex.join(["sed", f"s/@{host}:/@{prefix}-{host}:/", str(source)])
    return f"{rewrite} | tr -d '\\n' | {_create_secret(f'{prefix}-{name}', {key: Path('/dev/stdin')})}"
