"""Takes a new infrastructure key into the database: python keys.py fernet_key|admin_password.

Each is read from its file. While the Fernet key is changed, its file holds the new one and
the old one with a comma between, as Airflow wants it.
"""

import os
import sys
from collections.abc import Iterator
from typing import Any

from airflow.configuration import conf
from airflow.models import Connection, Trigger, Variable
from airflow.utils.session import create_session
from cryptography.fernet import Fernet
from init import key
from sqlalchemy import text
from werkzeug.security import generate_password_hash


def encrypt_again() -> None:
    """Write all that is encrypted with the first of the Fernet keys, and prove that this one alone reads it.

    Airflow's own command pages through rows without an order while it rewrites them, so with
    more than a hundred of a kind it may pass some over, and the old key could not be given up.
    """
    first = Fernet(conf.get("core", "fernet_key").partition(",")[0].encode())
    with create_session() as session:
        items = [item for model in (Connection, Variable, Trigger) for item in session.query(model).all()]
        for item in items:
            if hasattr(item, "rotate_fernet_key"):  # triggers are encrypted from Airflow 2.9 on
                item.rotate_fernet_key()
        session.flush()
        values = [value for item in items for value in encrypted(item)]
        for value in values:
            first.decrypt(value.encode())
    print(f"{len(values)} values are encrypted with the new key")


def encrypted(item: Any) -> Iterator[str]:
    """The encrypted columns of a row."""
    if isinstance(item, Connection):
        yield from [item._password] if item.is_encrypted and item._password else []
        yield from [item._extra] if item.is_extra_encrypted and item._extra else []
    elif isinstance(item, Variable):
        yield from [item._val] if item.is_encrypted and item._val else []
    elif getattr(item, "encrypted_kwargs", ""):
        yield item.encrypted_kwargs


def set_admin_password() -> None:
    """Let the admin in with this password, and nobody by an earlier login.

    Airflow's own command for it fails where sessions are in the database, as they are by default.
    """
    user = os.environ["AIRFLOW_ADMIN_USER"]
    named = {"name": user, "password": generate_password_hash(key("admin_password"))}
    with create_session() as session:
        if not session.execute(text("UPDATE ab_user SET password = :password WHERE username = :name"), named).rowcount:
            sys.exit(f"there is no user {user}; AIRFLOW_ADMIN_USER names one that is not in the database")
        session.execute(text("DELETE FROM session"))


if __name__ == "__main__":
    {"fernet_key": encrypt_again, "admin_password": set_admin_password}[sys.argv[1]]()
