"""A pytest plugin: faults at every step of COMMIT, for code in the process under test.

    pytest -p midcommit_pytest                              the simulated server
    pytest -p midcommit_pytest --midcommit-to HOST:PORT     a proxy in front of a real one

The fixture `midcommit` starts `midcommit serve` or `midcommit proxy` for one test, and stops it
after it. A fault that was armed and has not struck fails the test: it has tested nothing.

    def test_receipt(midcommit):
        midcommit.arm("commit flushed: rst")
        with pytest.raises(psycopg.OperationalError):
            worker.pay(midcommit.dsn, invoice=1)
        assert midcommit.commits()[-1].outcome == "committed"
"""

import json
import os
import select
import shutil
import subprocess
import tempfile

import psycopg
import pytest
from psycopg.rows import namedtuple_row


class Midcommit:
    """A running `midcommit serve` or `midcommit proxy`, and its faults by SQL.

    Every call is a connection of its own: it works from any thread, and after a crash.
    """

    def __init__(self, command, database="postgres", user="postgres"):
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            [*command, "--format", "json"],
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        # It says one line when it listens, and none when it cannot.
        ready, _, _ = select.select([self._process.stdout], [], [], 30)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            self.stop()
            raise RuntimeError(f"{' '.join(command)}: {self.complaints() or 'it says nothing'}")
        address = json.loads(line)
        self.host, self.port = address["host"], address["port"]
        self.database, self.user = database, user

    @property
    def dsn(self):
        """Where to connect, for psycopg."""
        return f"host={self.host} port={self.port} user={self.user} dbname={self.database}"

    @property
    def url(self):
        """Where to connect, for everything else."""
        return f"postgresql://{self.user}@{self.host}:{self.port}/{self.database}"

    def connect(self, **options):
        """A connection for asking: it commits by itself, and no fault strikes what only reads."""
        options.setdefault("application_name", "midcommit pytest")
        return psycopg.connect(self.dsn, autocommit=True, **options)

    def execute(self, sql, parameters=None):
        """The rows of a statement, by name."""
        with self.connect(row_factory=namedtuple_row) as connection:
            cursor = connection.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def _call(self, sql, *parameters):
        return self.execute(sql, parameters)[0][0]

    def arm(self, fault, *, times=None, application_name=None):
        """Arms `commit POINT: ACTION`; it strikes the next COMMIT that fits. Gives its id."""
        return self._call(
            "select midcommit.arm(%s, times => %s::bigint, application_name => %s::text)",
            fault,
            times,
            application_name,
        )

    def wait(self, point, timeout="10s"):
        """Until a COMMIT is paused at this point; gives its number."""
        return self._call("select midcommit.wait(%s, timeout => %s)", point, timeout)

    def resume(self, commit=None):
        """Lets what is paused go on; gives how many that were."""
        return self._call("select midcommit.resume(%s::bigint)", commit)

    def assert_fired(self):
        """Fails if a fault that was armed has not struck; gives how often one has."""
        return self._call("select midcommit.assert_fired()")

    def disarm(self, fault=None):
        """What is armed strikes no more; gives how many faults that were."""
        return self._call("select midcommit.disarm(%s::bigint)", fault)

    def reset(self):
        """Forgets faults and COMMITs, resumes what is paused, resets what is silent."""
        self._call("select midcommit.reset()")

    def commits(self):
        """What has become of each COMMIT that writes, oldest first."""
        return self.execute("select * from midcommit.commits order by number")

    def faults(self):
        """What was armed, and what it has struck."""
        return self.execute("select * from midcommit.faults order by id")

    def complaints(self):
        """What it has said on standard error."""
        self._errors.seek(0)
        return self._errors.read().strip()

    def stop(self):
        """Ends it, as a signal does."""
        self._process.terminate()
        try:
            return self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def pytest_addoption(parser):
    group = parser.getgroup("midcommit", "faults at every step of COMMIT")
    group.addoption(
        "--midcommit",
        default=os.environ.get("MIDCOMMIT", "midcommit"),
        metavar="PROGRAM",
        help="the program to run [default: $MIDCOMMIT, or midcommit on the path]",
    )
    group.addoption(
        "--midcommit-to",
        default=os.environ.get("MIDCOMMIT_TO"),
        metavar="HOST:PORT",
        help="run a proxy in front of this server [default: $MIDCOMMIT_TO, or the simulated server]",
    )
    parser.addini("midcommit_schema", "a script that the simulated server runs before each test")


def start(config, to=None):
    """Starts what the options say; `to` says which server a proxy stands in front of."""
    program = shutil.which(config.getoption("--midcommit"))
    if program is None:
        pytest.fail(
            f"there is no program {config.getoption('--midcommit')}: build it with "
            "`cargo build -p midcommit-scenarios`, and name it by --midcommit or $MIDCOMMIT",
            pytrace=False,
        )
    listen = ["--listen", "127.0.0.1:0"]
    if to:
        return Midcommit([program, "proxy", "--to", to, *listen])
    schema = config.getini("midcommit_schema")
    if schema:
        listen += ["--schema", str(config.rootpath / schema)]
    return Midcommit([program, "serve", *listen])


def finish(midcommit):
    """Ends it; a fault that has not struck is a failure."""
    try:
        missed = [row.fault for row in midcommit.faults() if row.times_left > 0]
        midcommit.reset()
    finally:
        midcommit.stop()
    if missed:
        pytest.fail(f"armed, and has not struck: {', '.join(missed)}", pytrace=False)


@pytest.fixture
def midcommit(request):
    """A server of this test's own, or a proxy; stopped after it."""
    running = start(request.config, request.config.getoption("--midcommit-to"))
    yield running
    finish(running)
