"""One word has one meaning: words that misled stay retired, so that nobody has to learn a language of ours."""

import io
import re
import tokenize

import pytest

from airflow_docker import PROJECT

CODE = ("airflow_docker/**/*.py", "docker/**/*.py", "tasks.py")
TEXTS = (
    "*.md",
    "docs/**/*.md",
    ".env.example",
    "compose.yaml",
    "docker/**/*",
    "inv",
    "tests/**/*.py",
    "examples/**/*",
    "benchmarks/**/*.py",
)
RETIRED = (
    ("told", ""),
    (r"tell_\w+", ""),
    (r"doubt_\w+", ""),
    ("is_as_before", ""),
    ("way_back", ""),
    ("half_pulled", ""),
    ("anew", ""),
    ("mend(s|ed|ing)?", ""),
    ("stands? in", ""),
)
"""(a word, the one folder that it is retired from; empty: everywhere)."""
NO_NAMES = ("found", "made", "place", "given", "words", "kept", "said", "told")
"""They say nothing of what a value is: the name of one is the thing, such as ``states``, ``spec`` or ``path``."""
MISLEADING = (
    ("load", "airflow_docker/database/replacement.py"),
    ("reader", "airflow_docker/secret_files.py"),
    ("part", "airflow_docker/engines/swarm/stack.py"),
    ("whole", "airflow_docker/engines/swarm/stack.py"),
    ("once", "airflow_docker/engines/swarm/stack.py"),
    ("note", "airflow_docker/database/db_version.py"),
    ("begin", "airflow_docker/database/db_version.py"),
    ("of", "airflow_docker/database/db_version.py"),
    ("now", "airflow_docker/engines/health.py"),
    ("runs", "airflow_docker/engines/swarm/tasks.py"),
)
"""(a name, the file in which it misled): it has a right use elsewhere."""


def files(*patterns):
    chosen = {file for pattern in patterns for file in PROJECT.glob(pattern) if file.is_file()}
    return sorted(
        file for file in chosen if file.suffix != ".pyc" and file.name not in ("test_glossary.py", "CHANGELOG.md")
    )


def names(file):
    """The names in a file's code, with the line of each."""
    tokens = tokenize.generate_tokens(io.StringIO(file.read_text()).readline)
    return [(token.string, token.start[0]) for token in tokens if token.type == tokenize.NAME]


@pytest.mark.parametrize(("word", "folder"), RETIRED, ids=[word for word, _ in RETIRED])
def test_a_retired_word_is_gone(word, folder):
    pattern = re.compile(rf"(?<![a-z]){word}(?![a-z_])", re.I)
    lines = [
        f"{file.relative_to(PROJECT)}:{number}: {line.strip()}"
        for file in files(*CODE, *TEXTS)
        if str(file.relative_to(PROJECT)).startswith(folder)
        for number, line in enumerate(file.read_text().splitlines(), start=1)
        if pattern.search(line)
    ]
    assert not lines, "\n".join(lines)


@pytest.mark.parametrize("word", NO_NAMES)
def test_a_name_says_what_a_value_is(word):
    lines = [
        f"{file.relative_to(PROJECT)}:{line}" for file in files(*CODE) for name, line in names(file) if name == word
    ]
    assert not lines, "\n".join(lines)


@pytest.mark.parametrize(("word", "file"), MISLEADING)
def test_a_name_that_misled_in_a_file_is_gone_there(word, file):
    assert word not in {name for name, _ in names(PROJECT / file)}
