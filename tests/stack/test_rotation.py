"""Key rotation on a running stack with stored connections, on each engine."""

import contextlib
import json
import shutil

import pytest
from cryptography.fernet import Fernet, InvalidToken

from airflow_docker import secret_files
from airflow_docker.engines.choice import choose
from airflow_docker.verbs import demo
from stack.conftest import ENGINES
from stack.test_stack import Browser

MANY = 120  # more than Airflow's own command re-encrypts at once
STORE = f"""
from airflow.models import Connection, Variable
from airflow.utils.session import create_session
with create_session() as session:
    for old in session.query(Connection).filter(Connection.conn_id.like("kept%")):
        session.delete(old)
    session.flush()
    for n in range({MANY}):
        session.add(Connection(conn_id=f"kept{{n}}", conn_type="http", password=f"secret{{n}}", extra='{{"k": "v"}}'))
Variable.set("kept", "secret")
"""
READ = f"""
from airflow.models import Connection, Variable
connections = [Connection.get_connection_from_secrets(f"kept{{n}}") for n in range({MANY})]
print(sum(c.password == f"secret{{n}}" and c.extra_dejson == {{"k": "v"}} for n, c in enumerate(connections)), Variable.get("kept"))
"""


@pytest.fixture
def keys(stack):
    """``keys()`` reads the generated keys."""
    stack.python(STORE)
    return lambda: {name: (stack.settings.secrets_dir / name).read_text() for name in secret_files.GENERATED}


def rotate(stack, keys, name):
    """Rotate a key, and check that all is healthy and only it and the key of sessions changed; the old key."""
    before = keys()
    output = stack.inv("secrets", "--rotate", name)
    after = keys()
    also = {"jwt_secret"} if stack.release.number == 3 and name in ("admin_password", "webserver_secret_key") else set()
    assert {other for other in before if before[other] != after[other]} == {name} | also
    assert before[name] not in output and after[name] not in output
    assert stack.inv("secrets", "--check") and json.loads(json.dumps(stack.json("status")))["state"] == "healthy"
    assert stack.python(READ).splitlines()[-1] == f"{MANY} secret"
    return before[name]


@pytest.mark.on(*ENGINES, "standalone-3")
def test_the_fernet_key_and_all_that_is_written_with_it(stack, keys):
    old = rotate(stack, keys, "fernet_key")
    stored = stack.sql("select password from connection where conn_id like 'kept%'").splitlines()
    stored += stack.sql("select val from variable where key = 'kept'").splitlines()
    assert len(stored) == MANY + 1
    for value in stored:
        assert Fernet(keys()["fernet_key"]).decrypt(value.encode())
        with contextlib.suppress(InvalidToken):
            pytest.fail(Fernet(old).decrypt(value.encode()).decode())


@pytest.mark.on("standalone")
def test_a_fernet_key_whose_change_was_interrupted(stack, keys):
    both = {**keys(), "fernet_key": f"{Fernet.generate_key().decode()},{keys()['fernet_key']}"}
    secret_files.put(stack.settings, secret_owner_of(stack), both)
    rotate(stack, keys, "fernet_key")
    assert "," not in keys()["fernet_key"]


def secret_owner_of(stack):
    return choose(stack.settings, notify=False).secret_owner


@pytest.mark.on(*ENGINES, "standalone-3", "compose-celery")
def test_the_password_of_the_admin(stack, keys):
    before, browser = stack.running(), Browser(stack)
    assert browser.log_in(stack.settings.airflow_admin_user, keys()["admin_password"])
    old = rotate(stack, keys, "admin_password")
    assert not browser.is_in()
    assert (stack.running() == before) is (stack.release.number == 2)  # Airflow 2 needs no restart for it
    user = stack.settings.airflow_admin_user
    assert Browser(stack).log_in(user, keys()["admin_password"])
    assert not Browser(stack).log_in(user, old)
    assert "Already up and healthy" in stack.inv("up")


def test_the_key_of_the_sessions(stack, keys):
    browser = Browser(stack)
    assert browser.log_in(stack.settings.airflow_admin_user, keys()["admin_password"])
    rotate(stack, keys, "webserver_secret_key")
    assert not browser.is_in()


@pytest.mark.on("compose-celery")
def test_the_password_of_the_broker(stack, keys):
    old = rotate(stack, keys, "redis_password")
    script = "import redis; print(redis.Redis(host='redis', password={!r}).ping())"
    assert stack.python(script.format(keys()["redis_password"])) == "True"
    with pytest.raises(AssertionError, match="invalid username-password pair"):
        stack.python(script.format(old))
    demo.drop_work(choose(stack.settings), "W1ROTATED")
    assert demo.wait_for_arrival(choose(stack.settings), "W1ROTATED")


def test_the_password_of_the_database(stack, keys):
    old = rotate(stack, keys, "postgres_password")
    if stack.engine == "compose":
        script = "import psycopg2; psycopg2.connect(host='postgres', user='airflow', dbname='airflow', password={!r})"
        stack.python(script.format(keys()["postgres_password"]))
        with pytest.raises(AssertionError, match="password authentication failed"):
            stack.python(script.format(old))


def test_a_key_there_is_not(project):
    assert "--rotate: there is no key 'fernet'. There are: admin_password" in project.inv(
        "secrets", "--rotate", "fernet", code=2
    )
    assert "there is no fernet_key yet. Type: inv secrets" in project.inv("secrets", "--rotate", "fernet_key", code=1)
    project.inv("secrets")
    before = (project.settings.secrets_dir / "fernet_key").read_text()
    project.inv("secrets", "--rotate", "fernet_key")
    assert (project.settings.secrets_dir / "fernet_key").read_text() != before


def test_a_key_that_another_engine_needs_too(stack, keys):
    before = keys()
    other = "standalone" if stack.engine == "compose" else "compose"
    if other == "compose":
        pytest.skip("the other way round is enough")
    database = stack.settings.state_dir / "standalone" / "airflow" / "airflow.db"
    database.parent.mkdir(parents=True)
    database.write_text("x")
    try:
        output = stack.inv("secrets", "--rotate", "fernet_key", code=1)
    finally:
        shutil.rmtree(stack.settings.state_dir / "standalone")
    assert (
        "this project has a database on standalone too" in output and "ENGINE=standalone inv down --volumes" in output
    )
    assert keys() == before
