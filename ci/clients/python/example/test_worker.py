"""The example of README: what a fault between COMMIT and the callback does to the worker.

Each test runs on the simulated server, and through a proxy in front of a real one. What the client
saw, what the server says, and what is in the table must be the same.
"""

import os
import signal
import threading

import psycopg
import pytest

import midcommit_pytest
from worker import SCHEMA, Worker


def prepare(config, kind):
    """Starts one of the two kinds; the real server is named by --midcommit-to."""
    to = config.getoption("--midcommit-to")
    if kind == "proxy" and not to:
        pytest.fail("name a real server by --midcommit-to HOST:PORT or $MIDCOMMIT_TO", pytrace=False)
    running = midcommit_pytest.start(config, to if kind == "proxy" else None)
    running.execute(SCHEMA)
    running.execute("truncate invoice")
    running.execute("insert into invoice (id) values (1), (2)")
    running.reset()
    return running


@pytest.fixture(params=["serve", "proxy"])
def midcommit(request):
    """Either kind."""
    running = prepare(request.config, request.param)
    yield running
    midcommit_pytest.finish(running)


def play(midcommit, fault):
    """Pays one invoice under a fault; says all there is to see, in words that do not differ from
    run to run."""
    lines, receipts, pids = [], [], {}
    worker = Worker(midcommit.dsn, receipts.append)
    midcommit.arm(fault, application_name="worker")
    try:
        worker.pay(1)
        lines.append("pay 1: ok")
    except Exception as error:
        said = " ".join(str(error).split())
        lines.append(f"pay 1: {type(error).__name__} {error.sqlstate}: {said}")
    lines.append(f"receipts: {receipts}")
    for row in midcommit.commits():
        pid = pids.setdefault(row.pid, len(pids) + 1)
        acknowledged = "acknowledged" if row.acknowledged else "not acknowledged"
        lines.append(
            f"commit {row.number} of pid {pid}, {row.application_name}: {row.outcome}, {acknowledged}"
        )
    for row in midcommit.faults():
        lines.append(f"{row.fault}: fired {row.fired}, last at commit {row.last_commit}")
    paid = midcommit.execute("select id from invoice where paid order by id")
    lines.append(f"paid: {[row.id for row in paid]}")
    return lines


def test_a_lost_answer_loses_the_receipt(midcommit):
    receipts = []
    worker = Worker(midcommit.dsn, receipts.append)
    midcommit.arm("commit flushed: rst")
    with pytest.raises(psycopg.OperationalError):
        worker.pay(1)
    # The server says committed, the client does not know, the callback did not run.
    assert [row.outcome for row in midcommit.commits()] == ["committed"]
    assert receipts == []
    assert midcommit.assert_fired() == 1


CLOSED = (
    "server closed the connection unexpectedly This probably means the server terminated "
    "abnormally before or while processing the request."
)


@pytest.mark.parametrize(
    "fault, paid, receipts, said",
    [
        ("received: rst", [], [], f"OperationalError None: consuming input failed: {CLOSED}"),
        ("received: fin", [], [], f"OperationalError None: consuming input failed: {CLOSED}"),
        (
            "received: sqlstate 40001",
            [],
            [],
            "SerializationFailure 40001: could not serialize access due to read/write "
            "dependencies among transactions",
        ),
        ("received: delay 20ms", [1], [1], "ok"),
        ("request+3: fin", [], [], f"OperationalError None: consuming input failed: {CLOSED}"),
        ("flushed: rst", [1], [], f"OperationalError None: consuming input failed: {CLOSED}"),
        ("flushed: fin", [1], [], f"OperationalError None: consuming input failed: {CLOSED}"),
        ("flushed: delay 20ms", [1], [1], "ok"),
        ("reply+0: rst", [1], [], f"OperationalError None: consuming input failed: {CLOSED}"),
        ("reply+5: fin", [1], [], f"OperationalError None: consuming input failed: {CLOSED}"),
        ("ready: rst", [1], [1], "ok"),
    ],
)
def test_a_simulated_and_a_real_server_agree(request, fault, paid, receipts, said):
    transcripts = {}
    for kind in ("serve", "proxy"):
        midcommit = prepare(request.config, kind)
        transcripts[kind] = play(midcommit, f"commit {fault}")
        midcommit_pytest.finish(midcommit)
    assert transcripts["serve"] == transcripts["proxy"]
    transcript = transcripts["serve"]
    assert transcript[0] == f"pay 1: {said}"
    assert transcript[1] == f"receipts: {receipts}"
    assert transcript[-1] == f"paid: {paid}"


class Stopped(SystemExit):
    """What a SIGTERM handler raises, in the middle of whatever runs."""


def test_a_signal_in_the_middle_of_commit_loses_the_receipt(midcommit):
    """The COMMIT is paused behind its point of no return; the signal comes; it goes on."""
    receipts = []
    worker = Worker(midcommit.dsn, receipts.append)
    midcommit.arm("commit flushed: pause", application_name="worker")
    watched = []

    def stop_in_the_middle():
        midcommit.wait("flushed", timeout="20s")
        watched.append([row.paused_at for row in midcommit.commits()])
        os.kill(os.getpid(), signal.SIGTERM)
        # The driver may want to hear the end of the COMMIT before it lets the exception out.
        watched.append(midcommit.resume())

    def handler(number, frame):
        raise Stopped(128 + number)

    before = signal.signal(signal.SIGTERM, handler)
    other = threading.Thread(target=stop_in_the_middle)
    try:
        other.start()
        with pytest.raises(Stopped):
            worker.pay(1)
    finally:
        other.join()
        signal.signal(signal.SIGTERM, before)
    assert watched == [["flushed"], 1]
    assert [row.outcome for row in midcommit.commits()] == ["committed"]
    assert [row.id for row in midcommit.execute("select id from invoice where paid")] == [1]
    assert receipts == []


def test_without_a_fault_the_receipt_is_sent(midcommit):
    receipts = []
    worker = Worker(midcommit.dsn, receipts.append)
    worker.pay(1)
    worker.pay(2)
    assert receipts == [1, 2]
    assert [(row.outcome, row.acknowledged) for row in midcommit.commits()] == [("committed", True)] * 2
