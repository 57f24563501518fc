"""How far each work has come: a row of a table for each."""

from datetime import datetime

import staging
from BdrcDbLib.DbOrm.DrsContextBase import DrsDbContextBase
from sqlalchemy import TIMESTAMP, Column, Integer, String
from sqlalchemy.orm import declarative_base

Base = declarative_base()


class WorkProgress(Base):
    __tablename__ = "work_progress"

    id = Column(Integer, primary_key=True)
    name = Column(String(255))
    unpacked_on = Column(TIMESTAMP, nullable=True)
    synced_on = Column(TIMESTAMP, nullable=True)
    deep_archived_on = Column(TIMESTAMP, nullable=True)


def note(name, step):
    """Note that a work has come to this step now."""
    with DrsDbContextBase(staging.database()) as drs:
        session = drs.get_session()
        row = session.query(WorkProgress).filter(WorkProgress.name == name).first() or WorkProgress(name=name)
        setattr(row, step, datetime.now())
        session.add(row)
        session.commit()
