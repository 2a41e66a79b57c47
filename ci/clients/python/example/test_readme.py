"""The test of README, and that it stands there as it is here."""

import inspect
import pathlib

import psycopg
import pytest

from worker import SCHEMA, Worker


def test_a_lost_answer_loses_the_receipt(midcommit):
    midcommit.execute(SCHEMA)
    midcommit.execute("insert into invoice (id) values (1) on conflict do nothing")
    receipts = []
    worker = Worker(midcommit.dsn, receipts.append)
    midcommit.arm("commit flushed: rst", application_name="worker")
    with pytest.raises(psycopg.OperationalError):
        worker.pay(1)
    assert midcommit.commits()[-1].outcome == "committed"
    assert receipts == []  # committed, and the callback did not run


def test_readme_shows_it():
    readme = pathlib.Path(__file__).parents[4] / "README.md"
    assert inspect.getsource(test_a_lost_answer_loses_the_receipt) in readme.read_text()
