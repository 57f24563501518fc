"""Bad .env files and bad values in them."""

from trust.bad_input.case import Case, Sandbox


def setting(name: str, env: str, says: str, todo: str = "See .env.example.", **kwargs) -> Case:
    """A value that every verb refuses with exit code 2."""
    return Case(name, "config", says, todo, 2, env, **kwargs)


def dotenv(name: str, content: bytes, says: str, todo: str, **kwargs) -> Case:
    """A .env with only these bytes."""
    return Case(name, "config", says, todo, 2, content, **kwargs)


def link_to_itself(sandbox: Sandbox) -> None:
    sandbox.env_file.unlink()
    sandbox.env_file.symlink_to(sandbox.env_file.name)


def folder_in_its_place(sandbox: Sandbox) -> None:
    sandbox.env_file.unlink()
    sandbox.env_file.mkdir()


FILE = [
    dotenv("a line that is no assignment", b"AIRFLOW_PORT 8080\n", ".env line 1: this is not of the form NAME=value.", "Fix it or comment it out."),
    dotenv("a name without a value", b"\nTZ\n", ".env line 2: this is not of the form NAME=value.", "Fix it or comment it out."),
    dotenv("a quote that is never closed", b"TZ=UTC\nSTATE_DIR='/var/x\n", ".env line 2: this is not of the form", "Fix it or comment it out."),
    dotenv("a double quote that is never closed", b'STATE_DIR="x\nTZ=UTC\n', ".env line 1: this is not of the form", "Fix it or comment it out."),
    dotenv("words behind a quoted value", b"TZ='UTC' or so\n", ".env line 1: this is not of the form", "Fix it or comment it out."),
    dotenv("blanks in a name", b"AIRFLOW PORT=8080\n", ".env line 1: this is not of the form", "Fix it or comment it out."),
    dotenv("a text of another program", b"{\n  \"AIRFLOW_PORT\": 8080\n}\n", ".env line 1: this is not of the form", "Fix it or comment it out.", lines=3),
    dotenv("a name set twice", b"TZ=UTC\n# more\nTZ=CET\n", ".env line 3: TZ is already set in line 1.", "Keep one of the two."),
    dotenv("latin-1", "AIRFLOW_ADMIN_USER=J\u00f6rg\n".encode("latin-1"), "/.env: the file is not UTF-8 text.", "Save it as UTF-8."),
    dotenv("UTF-16", "TZ=UTC\n".encode("utf-16"), "/.env: the file is not UTF-8 text.", "Save it as UTF-8."),
    dotenv("UTF-16 without a mark", "TZ=UTC\n".encode("utf-16-le"), "/.env: the file holds NUL characters.", "Save it as UTF-8 text."),
    dotenv("a NUL in a value", b"STATE_DIR=a\0b\n", "/.env: the file holds NUL characters.", "Save it as UTF-8 text."),
    dotenv("a byte-order mark before a mistake", b"\xef\xbb\xbfAIRFLOW_PORT=x\n", "AIRFLOW_PORT: 'x' is not", "See .env.example."),
    dotenv("carriage returns before a mistake", b"TZ=UTC\r\nAIRFLOW_PORT=x\r\n", "AIRFLOW_PORT: 'x' is not", "See .env.example."),
    Case("a folder named .env", "config", "ENV_FILE: {project}/.env is not a file.", "Name another, or move it away.", 2, make=folder_in_its_place),
    Case("a .env that links to itself", "config", "ENV_FILE: {project}/.env is not a file.", "Name another, or move it away.", 2, make=link_to_itself),
    Case("a .env that may not be read", "config", "{project}/.env: cannot be read (Permission denied).", "Make it readable for you.", 2, make=lambda sandbox: sandbox.env_file.chmod(0o600), somebody=True),
    Case("an ENV_FILE that is not there", "config", "ENV_FILE: there is no file staging.env", "Copy .env.example to it", 2, environ={"ENV_FILE": "staging.env"}),
    Case("an ENV_FILE of nobody", "config", "ENV_FILE: '~nobody-such/.env' names a home directory", "Correct the path.", 2, environ={"ENV_FILE": "~nobody-such/.env"}),
    Case("an ENV_FILE with a name too long", "config", "ENV_FILE: ", "Copy .env.example", 2, environ={"ENV_FILE": "x" * 300}),
    Case("an --env that is not there", "config --env no-such", "--env: there is no file", "Copy .env.example to it", 2),
    Case("an --env that is a path", "config --env ../../x", "--env: ", "Copy .env.example to it", 2),
]  # fmt: skip

NAMES = [
    setting("a misspelt name", "AIRFLOW_PROT=8080", ".env: AIRFLOW_PROT: there is no such setting.", "Did you mean AIRFLOW_PORT?"),
    setting("a name in lower case", "airflow_port=8080", ".env: airflow_port: there is no such setting.", "Did you mean AIRFLOW_PORT?"),
    setting("a misspelt secret", "SECRET_AWZ_FILE=x", ".env: SECRET_AWZ_FILE: there is no such setting.", "Did you mean SECRET_AWS_FILE?"),
    setting("a secret without a key", "SECRET_AWS__default=x", ".env: SECRET_AWS__default: there is no such setting.", "A single key is written SECRET_AWS__section__key."),
    setting("an Airflow option with one underscore", "AIRFLOW_CORE_PARALLELISM=8", ".env: AIRFLOW_CORE_PARALLELISM: there is no such setting.", "Options of Airflow itself are written AIRFLOW__SECTION__KEY."),
    setting("an Airflow option in lower case", "AIRFLOW__core__parallelism=8", ".env: AIRFLOW__core__parallelism: there is no such setting.", "Did you mean AIRFLOW__CORE__PARALLELISM?"),
    setting("two mistakes at once", "AIRFLOW_PORT=x\nPYDEV_DEBUG=on", "AIRFLOW_PORT: 'x' is not", "See .env.example.", lines=2),
    setting("the connection to the database", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=x", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN: this option holds a secret", "Remove it;"),
    setting("a Fernet key", "AIRFLOW__CORE__FERNET_KEY=x", "AIRFLOW__CORE__FERNET_KEY: this option holds a secret", "Remove it;"),
    setting("a command that gives a secret", "AIRFLOW__WEBSERVER__SECRET_KEY_CMD=x", "AIRFLOW__WEBSERVER__SECRET_KEY_CMD: this option holds a secret", "Remove it;"),
    setting("a password for mail", "AIRFLOW__SMTP__SMTP_PASSWORD=x", "AIRFLOW__SMTP__SMTP_PASSWORD: this option holds a secret", "Remove it;"),
    setting("an address that is none", "AIRFLOW__WEBSERVER__BASE_URL=http://h:x/", "AIRFLOW__WEBSERVER__BASE_URL: 'http://h:x/' is not a URL", "Correct it."),
]  # fmt: skip

VALUES = [
    setting("a port that is a word", "AIRFLOW_PORT=http", "AIRFLOW_PORT: 'http' is not a whole number from 1 to 65535 (from .env)."),
    setting("port 0", "AIRFLOW_PORT=0", "AIRFLOW_PORT: '0' is not a whole number from 1 to 65535"),
    setting("a port too high", "AIRFLOW_PORT=65536", "AIRFLOW_PORT: '65536' is not a whole number from 1 to 65535"),
    setting("a negative port", "AIRFLOW_PORT=-1", "AIRFLOW_PORT: '-1' is not a whole number"),
    setting("a port with an address", "AIRFLOW_PORT=0.0.0.0:80", "AIRFLOW_PORT: '0.0.0.0:80' is not a whole number"),
    setting("a port in quotes with a blank", "AIRFLOW_PORT=' 8080'", "AIRFLOW_PORT: ' 8080' is not a whole number"),
    setting("a port in digits of another script", "AIRFLOW_PORT=\u0668\u0660\u0668\u0660", "AIRFLOW_PORT: '\u0668\u0660\u0668\u0660' is not a whole number"),
    setting("a port with a variable", "AIRFLOW_PORT=$PORT", "AIRFLOW_PORT: '$PORT' is not a whole number"),
    Case("a port from the environment", "config", "AIRFLOW_PORT: 'x' is not a whole number from 1 to 65535 (from environment).", "See .env.example.", 2, environ={"AIRFLOW_PORT": "x"}),
    setting("uid 0", "AIRFLOW_UID=0", "AIRFLOW_UID: '0' is not a whole number from 1"),
    setting("a user's name for a uid", "AIRFLOW_UID=jim", "AIRFLOW_UID: 'jim' is not a whole number from 1"),
    setting("a uid beyond all", "AIRFLOW_UID=4294967295", "AIRFLOW_UID: '4294967295' is not a whole number from 1"),
    setting("an old Airflow", "AIRFLOW_VERSION=1.10.15", "AIRFLOW_VERSION: '1.10.15' is not a version from 2.7.0 on"),
    setting("a range of Airflows", "AIRFLOW_VERSION=>=2.10", "AIRFLOW_VERSION: '>=2.10' is not a version"),
    setting("the latest Airflow", "AIRFLOW_VERSION=latest", "AIRFLOW_VERSION: 'latest' is not a version"),
    setting("an unknown engine", "ENGINE=podman", "ENGINE: 'podman' is not auto, compose, standalone or swarm"),
    setting("an engine in capitals", "ENGINE=Compose", "ENGINE: 'Compose' is not auto, compose, standalone or swarm"),
    setting("an unknown executor", "EXECUTOR=KubernetesExecutor", "EXECUTOR: 'KubernetesExecutor' is not"),
    setting("no worker at all", "WORKERS=0", "WORKERS: '0' is not"),
    setting("a registry with a scheme", "IMAGE_REGISTRY=https://registry.example.org", "IMAGE_REGISTRY: 'https://registry.example.org' is not a registry like"),
    setting("DAGs that are handed on by nothing", "DAGS_DELIVERY=git", "DAGS_DELIVERY: 'git' is not"),
    setting("a project name in capitals", "COMPOSE_PROJECT_NAME=Airflow", "COMPOSE_PROJECT_NAME: 'Airflow' is not lower-case letters"),
    setting("a project name that is an option", "COMPOSE_PROJECT_NAME=--help", "COMPOSE_PROJECT_NAME: '--help' is not lower-case letters"),
    setting("a project name with a path", "COMPOSE_PROJECT_NAME=../x", "COMPOSE_PROJECT_NAME: '../x' is not lower-case letters"),
    setting("a time zone with blanks", "TZ=New York", "TZ: 'New York' is not a time zone like America/New_York"),
    setting("a time zone that is none", "TZ=America/NewYork", "TZ: 'America/NewYork' is not a time zone like America/New_York"),
    setting("a switch that is neither", "PYDEV_DEBUG=true", "PYDEV_DEBUG: 'true' is not YES or NO"),
    setting("an admin with blanks", "AIRFLOW_ADMIN_USER='the boss'", "AIRFLOW_ADMIN_USER: 'the boss' is not a user name without blanks"),
    setting("an image with a tag", "AIRFLOW_IMAGE=my/airflow:1", "AIRFLOW_IMAGE: 'my/airflow:1' is not an image name without a tag"),
    setting("an image in capitals", "POSTGRES_IMAGE=Postgres:16", "POSTGRES_IMAGE: 'Postgres:16' is not an image name"),
    setting("an image that is an option", "AIRFLOW_BASE_IMAGE=--privileged", "AIRFLOW_BASE_IMAGE: '--privileged' is not an image name"),
    setting("a path of nobody", "STATE_DIR=~nobody-such/state", "STATE_DIR: '~nobody-such/state' names a home directory that is not known"),
    setting("certificates that are not there", "EXTRA_CA_BUNDLE=company.pem", "EXTRA_CA_BUNDLE: there is no file {project}/company.pem"),
    setting("a folder for a file", "AUDIT_TOOL_DEB=sources", "AUDIT_TOOL_DEB: there is no file {project}/sources"),
    setting("constraints that are not there", "AIRFLOW_CONSTRAINTS=constraints.txt", "AIRFLOW_CONSTRAINTS: there is no file {project}/constraints.txt"),
    setting("a package with a version of pip", "SYSTEM_PACKAGES=git>=2", "SYSTEM_PACKAGES: 'git>=2' is not the name of a Debian package"),
    setting("a package that is a command", "BUILD_PACKAGES=$(reboot)", "BUILD_PACKAGES: '$(reboot)' is not the name of a Debian package"),
    setting("an audit tool by ftp", "AUDIT_TOOL_URL=ftp://h/x.deb", "AUDIT_TOOL_URL: 'ftp://h/x.deb' is not an http or https URL"),
    setting("a short checksum", "AUDIT_TOOL_SHA256=abc", "AUDIT_TOOL_SHA256: 'abc' is not 64 hexadecimal digits"),
    setting("a checksum in capitals", f"AUDIT_TOOL_SHA256={'A' * 64}", "AUDIT_TOOL_SHA256: 'AAA"),
    setting("a mount without a target", "EXTRA_MOUNTS=/data", "EXTRA_MOUNTS: '/data' is not of the form HOST_FOLDER:/container/folder"),
    setting("a mount to a relative target", "EXTRA_MOUNTS=/data:data", "EXTRA_MOUNTS: '/data:data' is not of the form"),
    setting("a mount with a mode", "EXTRA_MOUNTS=/data:/data:ro", "EXTRA_MOUNTS: '/data:/data:ro' is not of the form"),
    setting("a mount of nobody", "EXTRA_MOUNTS=~nobody-such/x:/x", "EXTRA_MOUNTS: '~nobody-such/x' names a home directory"),
    setting("a mount over another", "EXTRA_MOUNTS=a:/x,b:/x", "EXTRA_MOUNTS: two folders are mounted at /x (from .env)."),
    setting("two configurations at one place", "SITE_CONFIG=a:x,b:x", "SITE_CONFIG: 'x' and 'x' cannot both be there"),
    setting("a configuration inside of another", "SITE_CONFIG=a:x/y,b:x", "SITE_CONFIG: 'x' and 'x/y' cannot both be there"),
    setting("a configuration without a target", "SITE_CONFIG=site.yml", "SITE_CONFIG: 'site.yml' is not of the form FILE:path/in/the/home/folder"),
    setting("a configuration that leaves the home", "SITE_CONFIG=site.yml:../x", "SITE_CONFIG: '../x' must be a relative path, without '..'"),
    setting("a configuration at the root", "SITE_CONFIG=site.yml:/etc/passwd", "SITE_CONFIG: '/etc/passwd' must be a relative path"),
    setting("DAGs outside the repository", "DAGS_DIR=../dags", "DAGS_DIR: '../dags' must be a relative path"),
    setting("DAGs by an absolute path", "DAGS_DIR=/srv/dags", "DAGS_DIR: '/srv/dags' must be a relative path"),
    setting("a repository on a port that is a word", "AO_WORKFLOWS_URL=https://h:x/r.git", "AO_WORKFLOWS_URL: 'https://h:x/r.git' is not a URL"),
    setting("a repository of nobody", "ARCHIVE_OPS_URL=~nobody-such/r.git", "ARCHIVE_OPS_URL: '~nobody-such/r.git' names a home directory"),
]  # fmt: skip

CASES = [*FILE, *NAMES, *VALUES]
