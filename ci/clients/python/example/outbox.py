"""The outbox of docs/monday.md, which shows these functions as they stand here."""


def pay(connection, invoice):
    """The payment and what it owes: both or neither. What is paid already, or not there, owes nothing."""
    with connection.transaction():
        paid = connection.execute(
            "update shop_invoice set paid_at = now() where id = %s and paid_at is null", [invoice]
        )
        if paid.rowcount == 1:
            connection.execute(
                "insert into outbox (topic, key) values ('receipt', %s) on conflict do nothing",
                [str(invoice)],
            )


def publish_next(connection, publish):
    """Publishes the oldest row that is unsent, unless there is none. Run as many as you like."""
    with connection.transaction():
        row = connection.execute(
            "select id, topic, key from outbox where sent_at is null"
            " order by id limit 1 for update skip locked"
        ).fetchone()
        if row is None:
            return False
        publish(row[1], row[2])  # returns when the broker has confirmed; if it raises, the row stays unsent
        connection.execute("update outbox set sent_at = now() where id = %s", [row[0]])
    return True


def apply_once(connection, topic, key):
    """Applies a message, unless that has been done. Acknowledge it when this has returned."""
    with connection.transaction():
        noted = connection.execute(
            "insert into inbox (topic, key) values (%s, %s) on conflict do nothing", [topic, key]
        )
        if noted.rowcount == 1:
            connection.execute("insert into shop_receipt (invoice_id) values (%s)", [int(key)])
