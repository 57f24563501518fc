"""Commands, settings and links in the README and the docs exist."""

import re
import subprocess

import pytest
from conftest import INV

import tasks
from airflow_docker import PROJECT, settings

OPERATORS = [
    PROJECT / name
    for name in (
        "README.md",
        *(f"docs/{page}.md" for page in ("start", "daily", "change", "backup", "troubleshooting")),
    )
]
"""The pages for operators."""
DOCS = [*OPERATORS, PROJECT / "CONTRIBUTING.md", *sorted(set((PROJECT / "docs").glob("*.md")) - set(OPERATORS))]


def inv(*args):
    command = [*INV, *args]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def verbs():
    return re.findall(r"^  ([a-z]+) ", inv("--list"), re.M)


@pytest.mark.parametrize("verb", verbs())
def test_every_verb_and_flag_has_help_and_is_in_the_readme(verb):
    text = inv("--help", verb)
    assert max(map(len, text.splitlines())) <= 80
    assert "none" not in text.partition("Docstring:")[2].partition("Options:")[0]
    options = dict(re.findall(r"^  (?:-\w(?: \w+)?, )?--([a-z-]+)\S*[ ]*(\S.*)?$", text.partition("Options:")[2], re.M))
    assert all(options.values()), f"{verb}: a flag without help in {options}"
    row = re.search(rf"^\| `{verb}`.*$", (PROJECT / "README.md").read_text(), re.M)
    assert row, f"{verb} is not in the table of verbs"
    listed = set(re.findall(r"`--([a-z-]+)", row[0]))
    assert listed == set(options)


def test_the_commands_in_the_docs_exist():
    known = set(verbs())
    for file in (*OPERATORS, PROJECT / "docs" / "migration.md", PROJECT / "CONTRIBUTING.md"):
        commands = re.findall(r"(?:^|`|/)inv ([a-z][^`\n#]*)", file.read_text(), re.M)
        assert len(commands) > 5, file.name
        for command in commands:
            args = re.sub(r"--[\w-]+ ('[^']*'|[A-Z]+|\d+\w?|bash)", "", command).split()
            takes_text = getattr(tasks.namespace[args[0]], "default_flag", "") or args[0] == "airflow"
            verbs_there = args[:1] if takes_text else [word for word in args if not word.startswith("-")]
            assert set(verbs_there) <= known, (file.name, command)


def test_settings_named_in_the_docs_exist():
    known = set(settings.names()) | {
        "SSL_CERT_FILE",
        "PIP_CERT",
        "ENV_FILE",
        "CI",
        "AWS_SHARED_CREDENTIALS_FILE",
        "SPT_NOENV",
        "SYNC_ACCESS_UID",
        "BACKUP_PASSPHRASE",
        "PIP_INDEX_URL",
        "POSTGRES_PASSWORD",
        "EXPOSE_CONFIG",
        "HELM_CHART_SCHEMA",
        "DOCKER_HOST",
        "DOCKER_CONTEXT",
    }
    for file in DOCS:
        for name in re.findall(r"`([A-Z][A-Z0-9]*_[A-Z0-9_]*[A-Z0-9])`", file.read_text()):
            if not name.startswith(("SECRET_", "AIRFLOW__")):
                assert name in known, (file.name, name)


def test_links_in_the_docs_lead_somewhere():
    for file in DOCS:
        for target in re.findall(r"\]\(([^)#:]+)\)", file.read_text()):
            assert (file.parent / target).exists(), (file.name, target)


@pytest.mark.parametrize("file", [file for file in OPERATORS if file.name not in ("README.md", "backup.md")], ids=str)
def test_a_page_begins_with_its_contents(file):
    text = file.read_text()
    headings = re.findall(r"^## (.*)$", text, re.M)
    assert re.findall(r"^- \[(.*)\]\(#", text.partition("\n## ")[0], re.M) == headings


def test_links_to_a_heading_lead_to_one():
    for file in DOCS:
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", file.read_text()):
            page = (file.parent / target) if target else file
            headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
            assert anchor in {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}, (
                file.name,
                anchor,
            )
