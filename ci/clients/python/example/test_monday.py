"""The Python on docs/monday.md: its outbox under faults, on both kinds of server, and that it stands
there as it is in outbox.py."""

import inspect
import pathlib
import re

import psycopg
import pytest

import midcommit_pytest
import outbox
from test_worker import prepare as prepare_server

PAGE = (pathlib.Path(__file__).parents[4] / "docs" / "monday.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```\n", PAGE, re.DOTALL)


@pytest.fixture(params=["serve", "proxy"])
def midcommit(request):
    """Either kind, with the page's tables and an invoice."""
    running = prepare_server(request.config, request.param)
    running.execute("drop table if exists shop_receipt, shop_invoice, outbox, inbox")
    for tables in (block for block in blocks("sql") if block.startswith("create table")):
        running.execute(tables)
    running.execute("insert into shop_invoice (id, paid_at) values (7, null), (8, now())")
    running.reset()
    yield running
    midcommit_pytest.finish(running)


class Broker:
    """Keeps what was published, and hands it to a consumer until that has applied it."""

    def __init__(self):
        self.messages = []

    def publish(self, topic, key):
        self.messages.append((topic, key))

    def deliver(self, dsn):
        for topic, key in self.messages:
            persist(dsn, lambda connection: outbox.apply_once(connection, topic, key))


def persist(dsn, work):
    """As who redelivers: again on a new connection, until it has come to an end."""
    for _ in range(3):
        try:
            with psycopg.connect(dsn, application_name="worker", autocommit=True) as connection:
                return work(connection)
        except psycopg.OperationalError:
            pass
    pytest.fail("it does not come to an end")


def run(midcommit, broker):
    """Payment, relay and consumer, each until it has succeeded."""
    persist(midcommit.dsn, lambda connection: outbox.pay(connection, 7))
    while persist(midcommit.dsn, lambda connection: outbox.publish_next(connection, broker.publish)):
        pass
    broker.deliver(midcommit.dsn)
    return [row.invoice_id for row in midcommit.execute("select invoice_id from shop_receipt")]


@pytest.mark.parametrize("point", ["received", "flushed", "reply+3"])
@pytest.mark.parametrize("commit", ["payment", "relay", "consumer"])
def test_a_connection_cut_in_any_commit_neither_loses_nor_doubles(midcommit, commit, point):
    broker = Broker()
    if commit != "payment":
        persist(midcommit.dsn, lambda connection: outbox.pay(connection, 7))
    if commit == "consumer":
        persist(midcommit.dsn, lambda connection: outbox.publish_next(connection, broker.publish))
        # Handed out twice, as brokers do.
        broker.publish(*broker.messages[0])
    midcommit.arm(f"commit {point}: rst", application_name="worker")
    assert run(midcommit, broker) == [7]
    assert midcommit.assert_fired() == 1


def test_a_relay_that_is_cut_off_publishes_again(midcommit):
    broker = Broker()
    persist(midcommit.dsn, lambda connection: outbox.pay(connection, 7))
    midcommit.arm("commit received: rst", application_name="worker")
    assert run(midcommit, broker) == [7]
    assert broker.messages == [("receipt", "7")] * 2


@pytest.mark.parametrize("invoice", [7, 8, 9], ids=["paid twice", "paid before", "not there"])
def test_what_changes_nothing_owes_nothing(midcommit, invoice):
    broker = Broker()
    run(midcommit, broker)
    # As when sent rows have been tidied up.
    midcommit.execute("delete from outbox")
    persist(midcommit.dsn, lambda connection: outbox.pay(connection, invoice))
    assert midcommit.execute("select key from outbox") == []


def test_the_page_shows_these_functions():
    for function in (outbox.pay, outbox.publish_next, outbox.apply_once):
        assert inspect.getsource(function) in PAGE


def test_its_other_blocks_are_python_and_the_settings_are_set():
    for block in blocks("python"):
        compile(block, "monday.md", "exec")
    settings = {}
    exec(next(block for block in blocks("python") if block.startswith("# settings.py")), settings)
    ordered = [
        settings["CELERY_TASK_TIME_LIMIT"],
        settings["CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT"],
        int(re.search(r"terminationGracePeriodSeconds: (\d+)", PAGE)[1]),
        settings["CELERY_BROKER_TRANSPORT_OPTIONS"]["visibility_timeout"],
    ]
    assert ordered == sorted(ordered)
    assert settings["CELERY_BROKER_TRANSPORT_OPTIONS"]["confirm_publish"] is True
