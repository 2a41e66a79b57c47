"""A worker as people write them: a transaction, then what must follow its commit."""

import psycopg

SCHEMA = """
    create table if not exists invoice (
        id int primary key,
        paid boolean not null default false
    )
"""


class Worker:
    """Marks invoices paid, and sends a receipt for each once that is committed."""

    def __init__(self, dsn, send_receipt):
        self.connection = psycopg.connect(dsn, application_name="worker")
        self.send_receipt = send_receipt

    def pay(self, invoice):
        with self.connection.transaction():
            self.connection.execute("update invoice set paid = true where id = %s", [invoice])
        # The window: the commit is durable, and the receipt is not sent yet.
        self.send_receipt(invoice)
