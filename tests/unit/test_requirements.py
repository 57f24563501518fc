"""Forms of requirements files, good and broken: the right lock, or a message with file and line."""

import http.server
import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from wheel_index import hash_of

from airflow_docker.errors import UserError
from airflow_docker.requirements import additions, lock_file, requirement_files, resolver
from airflow_docker.requirements.platforms import Platform

BASE = Platform(
    "base:1",
    "sha256:1",
    "amd64",
    "2.11.2",
    "3.11",
    {"apache-airflow": "2.11.2", "six": "1.16.0"},
    {},
    "2026-01-02T03:04:05Z",
)
SIX_117, SIX_116 = hash_of("six 1.17.0"), hash_of("six 1.16.0")

# What is read -> what uv is given: (text of the file, its requirements, its constraints).
READ = {
    "a name": ("six\n", ["six"], []),
    "nothing at all": ("", [], []),
    "no end of line": ("six", ["six"], []),
    "blank lines and comments": ("\n# a comment\n\n  six  # why\n#x\n", ["six"], []),
    "a hash in a URL is no comment": ("a @ https://h/a.zip#egg=a\n", ["a @ https://h/a.zip#egg=a"], []),
    "CRLF": ("six\r\nidna\r\n", ["six", "idna"], []),
    "a byte-order mark": ("\ufeffsix\n", ["six"], []),
    "a version": ("six==1.16.0\n", ["six==1.16.0"], []),
    "several specifiers": ("six>=1.15,<2,!=1.15.1\n", ["six>=1.15,<2,!=1.15.1"], []),
    "blanks between": ("six >= 1.15 , < 2\n", ["six >= 1.15 , < 2"], []),
    "compatible release": ("boto3~=1.21.21\n", ["boto3~=1.21.21"], []),
    "a pre-release": ("bdrc-bag==0.0.8a\n", ["bdrc-bag==0.0.8a"], []),
    "extras": ("requests[socks,use_chardet_on_py3]>=2\n", ["requests[socks,use_chardet_on_py3]>=2"], []),
    "a marker": ("six; python_version < '4'\n", ["six; python_version < '4'"], []),
    "a marker that is false": ("pywin32; sys_platform == 'win32'\n", ["pywin32; sys_platform == 'win32'"], []),
    "one name twice": ("six>=1.15\nsix<2\n", ["six>=1.15", "six<2"], []),
    "two spellings of one name": (
        "Typing_Extensions>=4\ntyping.extensions<5\n",
        ["Typing_Extensions>=4", "typing.extensions<5"],
        [],
    ),
    "a continued line": ("six \\\n  >=1.15\n", ["six    >=1.15"], []),
    "a continued last line": ("six \\", ["six"], []),
    "hashes": (f"six==1.17.0 --hash={SIX_117}\n", ["six==1.17.0"], []),
    "hashes on continued lines": (f"six==1.17.0 \\\n    --hash={SIX_117}\\\n  --hash={SIX_116}\n", ["six==1.17.0"], []),
    "an include": ("-r more.txt\nsix\n", ["idna", "six"], []),
    "an include, spelt out": ("--requirement=more.txt\n", ["idna"], []),
    "an include, with a comment": ("-r more.txt # those\n", ["idna"], []),
    "an include in quotes": ('-r "more.txt"\n', ["idna"], []),
    "an include without a blank": ("-rmore.txt\n", ["idna"], []),
    "an include in a folder, relative to itself": ("-r deep/er.txt\n", ["certifi", "idna"], []),
    "constraints": ("-c more.txt\nsix\n", ["six"], ["idna"]),
    "constraints, spelt out": ("--constraint more.txt\n", [], ["idna"]),
    "what constraints include constrains": ("-c deep/er.txt\n", [], ["certifi", "idna"]),
    "a URL with a name": (
        "six @ https://h/six-1.0-py3-none-any.whl\n",
        ["six @ https://h/six-1.0-py3-none-any.whl"],
        [],
    ),
    "a bare URL": ("https://h/six-1.0-py3-none-any.whl\n", ["https://h/six-1.0-py3-none-any.whl"], []),
    "a git reference with a name": ("x @ git+https://h/x.git@v1\n", ["x @ git+https://h/x.git@v1"], []),
    "a bare git reference": ("git+https://h/x.git@v1#egg=x\n", ["git+https://h/x.git@v1#egg=x"], []),
    "a git reference by ssh": ("x @ git+ssh://git@h/x.git\n", ["x @ git+ssh://git@h/x.git"], []),
}

# What is refused -> (text of the file, what the message begins with after the file's name, and holds).
REFUSED = {
    "editable": ("six\n-e ./x\n", "line 2: an editable install"),
    "editable, spelt out": ("--editable git+https://h/x\n", "line 1: an editable install"),
    "an index": ("--index-url https://h/simple\nsix\n", "line 1: --index-url is not taken from requirements."),
    "another index": ("-i https://h/simple\n", "line 1: -i is not taken from requirements."),
    "links": ("--find-links=/x\n", "line 1: --find-links is not taken"),
    "an unknown option": ("--frobnicate\n", "line 1: --frobnicate is not an option"),
    "a relative path": ("./x\n", "line 1: './x' is a path on this host"),
    "an absolute path": ("six\n\n/x.whl\n", "line 3: '/x.whl' is a path on this host"),
    "a file URL": ("x @ file:///x.whl\n", "line 1: 'x @ file:///x.whl' is a path on this host"),
    "a git repository on this host": ("x @ git+file:///x\n", "line 1: 'x @ git+file:///x' is a path on this host"),
    "a bare file URL": ("file:///x.whl\n", "line 1: 'file:///x.whl' is a path"),
    "a bare URL with a hash": (
        f"https://h/x.whl --hash={SIX_117}\n",
        "line 1: 'https://h/x.whl' has hashes but no name.",
    ),
    "an include of itself through another": ("-r deep/loop.txt\n", "in.txt includes itself."),
    "no requirement at all": ("what is this?\n", "line 1: 'what is this?' is not a requirement"),
    "broken extras": ("requests[socks, ==1\n", "line 1: 'requests[socks, ==1' is not a requirement"),
    "one equals sign": ("six=1\n", "line 1: 'six=1' is not a requirement"),
    "a broken version": ("six==one..two\n", "line 1: 'six==one..two' is not a requirement"),
    "a broken marker": ("six; python > 3\n", "line 1: 'six; python > 3' is not a requirement"),
    "a broken line after continued ones": ("six \\\n >=1\n?\n", "line 3: '?' is not a requirement"),
    "an include that is not there": ("\n-r none.txt\n", "line 2: there is no file"),
    "constraints that are not there": ("-c none.txt\n", "line 1: there is no file"),
    "constraints from elsewhere": ("-c https://h/c.txt\n", "is a URL, and nothing is included from one. Set AIRFLOW_"),
    "an include from elsewhere": (
        "-r https://me:pw@h/r.txt\n",
        "https://***@h/r.txt is a URL, and nothing is included",
    ),
    "an include of itself": ("-r in.txt\n", "line 1: in.txt includes itself."),
    "a broken line in an include": ("-r broken.txt\n", "broken.txt line 2: '?' is not a requirement"),
    "an include of a folder": ("-r deep\n", "line 1: there is no file"),
}


@pytest.fixture
def write(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "more.txt").write_text("idna\n")
    (tmp_path / "deep" / "loop.txt").write_text("-r ../in.txt\n")
    (tmp_path / "broken.txt").write_text("six\n?\n")
    (tmp_path / "deep" / "er.txt").write_text("certifi\n-r ../more.txt\n")

    def run(text):
        (tmp_path / "in.txt").write_bytes(text.encode())
        return tmp_path / "in.txt"

    return run


@pytest.mark.parametrize("text, wanted, constraints", READ.values(), ids=READ)
def test_read(write, text, wanted, constraints):
    requirements = requirement_files.read([write(text)])
    assert [r.text for r in requirements if not r.constraint] == wanted
    assert [r.text for r in requirements if r.constraint] == constraints


@pytest.mark.parametrize("text, message", REFUSED.values(), ids=REFUSED)
def test_refused(write, text, message):
    with pytest.raises(UserError) as caught:
        requirement_files.read([write(text)])
    assert message in caught.value.text
    assert re.search(r"(in|broken|loop)\.txt line \d", caught.value.text)


def test_all_broken_lines_are_reported_at_once(write):
    with pytest.raises(UserError) as caught:
        requirement_files.read([write("?\nsix\n-e .\n-r none\n")])
    assert [line.split(": ")[0].rpartition(" ")[2] for line in caught.value.text.splitlines()] == ["1", "3", "4"]


def test_not_text(tmp_path):
    (tmp_path / "in.txt").write_bytes(b"six\xff\n")
    with pytest.raises(UserError, match="in.txt: the file is not UTF-8 text"):
        requirement_files.read([tmp_path / "in.txt"])


def test_each_requirement_knows_its_place(write):
    requirements = requirement_files.read([write(f"# x\nSix_Pack \\\n --hash={SIX_117}\n-r deep/er.txt\n")])
    assert [(r.name, r.file.name, r.line, r.hashes) for r in requirements] == [
        ("six-pack", "in.txt", 2, (SIX_117,)),
        ("certifi", "er.txt", 1, ()),
        ("idna", "more.txt", 1, ()),
    ]


@pytest.fixture
def lock(resolve, wheel_index):
    """Resolve a text with the real resolver and the wheels of wheel_index.py; the lock's text."""
    return resolve


@pytest.fixture
def resolve(write, make_settings, tmp_path):
    """The same with the packages that there really are."""
    (tmp_path / "build").mkdir()

    def run(*texts, upgrade=False, **settings):
        lines = "".join(f"{name}={value}\n" for name, value in settings.items())
        inputs = []
        for number, text in enumerate(texts):
            (tmp_path / f"in{number}.txt").write_bytes(text.encode())
            inputs.append(tmp_path / f"in{number}.txt")
        return lock_file.lock(make_settings(lines), BASE, inputs, tmp_path / "build", upgrade).read_text()

    return run


def test_everything_in_one_lock(resolve):
    text = resolve(
        "\ufeffrequests[socks] >=2.30 ; python_version < '4'\r\nTyping_Extensions>=4.12\r\n-r more.txt\r\n"
        "pywin32; sys_platform == 'win32'\r\n",
        "typing.extensions<5\nrequests!=2.31.0\nsix\n",
    )
    pins = resolver.pins(text)
    assert pins["apache-airflow"] == "2.11.2" and {"pysocks", "requests", "idna"} <= set(pins) and "pywin32" not in pins
    assert pins["typing-extensions"].startswith("4.")
    assert pins["six"] == "1.16.0"  # what the image has


def test_the_lock_is_kept_and_changes_as_little_as_possible(lock, tmp_path):
    first = lock("six==1.17.0\npyfiglet==1.0.2\n")
    assert lock("# other comment\npyfiglet==1.0.2\n\nsix==1.17.0\n") == first
    loosened = lock("six\npyfiglet\n")
    assert (resolver.pins(loosened)["six"], resolver.pins(loosened)["pyfiglet"]) == ("1.17.0", "1.0.2")
    more = resolver.pins(lock("six\npyfiglet\nxxhash\n"))
    assert {name: version for name, version in more.items() if name != "xxhash"} == resolver.pins(loosened)
    upgraded = resolver.pins(lock("six\npyfiglet\nxxhash\n", upgrade=True))
    assert upgraded["pyfiglet"] > "1.0.2" and upgraded["six"] == "1.16.0"
    assert not list((tmp_path / "build").glob(".resolving*"))


@pytest.fixture
def asked(monkeypatch):
    """What the resolver is asked for, each time: the requirements, and whether Airflow is among them."""
    calls, solve = [], resolver.Resolver.solve

    def recording(self, wanted, preferred=None, **options):
        calls.append(([r.text for r in wanted], options.get("root") is None))
        return solve(self, wanted, preferred, **options)

    monkeypatch.setattr(resolver.Resolver, "solve", recording)
    return calls


def test_a_new_line_is_resolved_alone_to_the_lock_that_all_lines_give(lock, asked, tmp_path):
    first = lock("six\nrequests\n", "-c more.txt\n")
    grown = lock("six\nrequests\nrequests[socks]\ntablib\n", "-c more.txt\n")
    assert asked == [(["six", "requests", "idna"], True), (["requests[socks]", "tablib", "idna"], False)]
    assert set(resolver.pins(grown)) - set(resolver.pins(first)) == {"pysocks", "tablib"}
    assert set(resolver.blocks(first)) < set(resolver.blocks(grown))
    (tmp_path / "build/requirements.key").unlink()
    assert lock("six\nrequests\nrequests[socks]\ntablib\n", "-c more.txt\n") == grown
    assert asked[2] == (["six", "requests", "requests[socks]", "tablib", "idna"], True)


ONE, TWO = (requirement_files.Requirement(text, text, Path("f"), 1) for text in ("one", "two"))


@pytest.mark.parametrize(
    ("before", "now", "new"),
    [
        ([], [ONE], [ONE]),
        ([ONE], [TWO, ONE], [TWO]),
        ([ONE], [replace(ONE, line=9)], []),  # places decide nothing
        ([ONE, TWO], [ONE], None),  # a line is gone
        ([ONE], [replace(ONE, text="one<2")], None),
        ([ONE], [replace(ONE, hashes=(SIX_117,))], None),
        ([ONE], [ONE, replace(TWO, constraint=True)], None),
    ],
)
def test_new_lines_are_all_that_is_new_or_there_are_none(before, now, new):
    key = additions.key("platform", before)
    assert additions.new_lines(key, additions.key("platform", now), now) == new
    assert additions.new_lines(key, additions.key("another platform", now), now) is None
    assert additions.new_lines("", additions.key("platform", now), now) is None


def test_a_new_line_that_moves_what_is_locked_has_all_resolved_again(lock, asked):
    assert resolver.pins(lock("six\n"))["six"] == "1.16.0"
    text = lock("six\nsix>1.16\n")
    assert [with_airflow for _, with_airflow in asked] == [True, False, True]
    assert resolver.pins(text)["six"] == "1.17.0"


def test_hashes_of_the_user_hold(lock):
    text = lock(f"six==1.17.0 --hash={SIX_117}\n")
    block = text.partition("\nsix==")[2].partition("\nsmmap")[0].split("\n")
    assert [line.strip(" \\") for line in block[1:]] == [f"--hash={SIX_117}"]
    with pytest.raises(UserError, match=r"in0.txt line 2: no hash of 'six==1.17.0' is one of the version"):
        lock(f"# x\nsix==1.17.0 --hash={SIX_116}\n")


def test_constraints_by_setting(lock, tmp_path):
    (tmp_path / "constraints.txt").write_text("pyfiglet<1.0.3\n")
    assert resolver.pins(lock("pyfiglet\n", AIRFLOW_CONSTRAINTS="constraints.txt"))["pyfiglet"] == "1.0.2"


def test_constraints_from_a_url_with_credentials_stay_out_of_the_argument_list(lock, tmp_path, monkeypatch):
    seen = []
    run = resolver.shell.capture
    monkeypatch.setattr(resolver.shell, "capture", lambda args, **more: seen.append(args) or run(args, **more))
    (tmp_path / "constraints.txt").write_text("pyfiglet<1.0.3\n")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(tmp_path))

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://me:hunter2@127.0.0.1:{server.server_port}/constraints.txt"
        assert resolver.pins(lock("pyfiglet\n", AIRFLOW_CONSTRAINTS=url))["pyfiglet"] == "1.0.2"
        server.shutdown()
    assert seen and "hunter2" not in str(seen)


@pytest.mark.parametrize(
    ("texts", "places", "remedies"),
    [
        (["pyfiglet\n\nsqlalchemy>=2\n"],
         ["apache-airflow==2.11.2    (AIRFLOW_VERSION)", "sqlalchemy>=2    (", "in0.txt line 3"],
         ["Loosen 'sqlalchemy>=2' in "]),
        (["six==1.17.0\npyfiglet\n", "#\nsix<1.17\n"],
         ["six==1.17.0    (", "in0.txt line 1", "six<1.17    (", "in1.txt line 2"],
         ["Loosen 'six==1.17.0' in ", "(without its bounds: 1.16.0)"]),
        (["boto3==1.21.1\n", "botocore==1.30\n"],
         ["in0.txt line 1", "in1.txt line 1", "boto3==1.21.1 depends on botocore"],
         ["Loosen 'botocore==1.30'"]),
        (["apache-airflow==2.10.5\n"],
         ["apache-airflow==2.10.5    (", "in0.txt line 1"], ["Loosen 'apache-airflow==2.10.5'"]),
        (["six\nno-such-package-of-ours\n"],
         ["this cannot be satisfied:", "no-such-package-of-ours    (", "in0.txt line 2"], []),
        (["six==99\n"], ["this cannot be satisfied:", "six==99    (", "in0.txt line 1"], ["Loosen 'six==99'"]),
    ],
)  # fmt: skip
def test_conflicts_are_explained_with_file_and_line(lock, texts, places, remedies):
    with pytest.raises(UserError) as caught:
        lock(*texts)
    for text in (*places, *remedies):
        assert text in caught.value.text, caught.value.text
    assert "pyfiglet" not in caught.value.text.partition("For Python")[0]


def test_an_unreachable_index_is_not_called_a_conflict(lock, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "https://127.0.0.1:1/simple")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(UserError, match="^requirements: cannot be resolved.") as caught:
        lock("six\n")
    assert "exclude" not in caught.value.text


@pytest.mark.parametrize(
    "line", ["six", "A.b_c-d", "x9 >= 1.15 , < 2", "bdrc-bag==0.0.8a", "boto3~=1.21.21", "a!=2,>1.0rc1,<=3.0b2"]
)
def test_the_usual_lines_are_read_as_packaging_reads_them(line):
    from packaging.requirements import Requirement

    assert requirement_files._USUAL.fullmatch(line)[1] == Requirement(line).name


@pytest.mark.parametrize(
    "line", ["six-", "-six", "a b", "six>1.", "x~=1", "x==1.*", "x[y]", "x>=1;os_name=='nt'", "six=1", "é", "x>=1,"]
)
def test_what_is_unusual_is_for_packaging_to_judge(line):
    assert requirement_files._USUAL.fullmatch(line) is None
