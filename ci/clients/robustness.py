"""A server under clients that behave badly: garbage, crowds, one that never reads, coming and going.

    robustness.py PORT PID SEED

All the while another session asks `select 1`, and every answer must come. At the end the server's
resident memory must be within 10 % of what it was before, after a warm-up of the same kind.
"""

import asyncio
import random
import struct
import sys
import time

PORT, PID, SEED = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
HOST = "127.0.0.1"
# How long anybody may wait for an answer. Two cores may be shared by many.
PATIENCE = 30


def resident():
    """The server's resident memory, in bytes."""
    with open(f"/proc/{PID}/status") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


def message(tag, body):
    return tag + struct.pack("!I", len(body) + 4) + body


def query(sql):
    return message(b"Q", sql.encode() + b"\0")


STARTUP = struct.pack("!I", 3 << 16) + b"user\0postgres\0database\0postgres\0\0"
STARTUP = struct.pack("!I", len(STARTUP) + 4) + STARTUP


async def until_ready(reader):
    """Reads messages up to ReadyForQuery; gives their tags."""
    tags = b""
    while not tags.endswith(b"Z"):
        tag = await reader.readexactly(1)
        (length,) = struct.unpack("!I", await reader.readexactly(4))
        body = await reader.readexactly(length - 4)
        if tag == b"E":
            raise RuntimeError(body)
        tags += tag
    return tags


async def connect():
    reader, writer = await asyncio.open_connection(HOST, PORT)
    writer.write(STARTUP)
    await until_ready(reader)
    return reader, writer


async def ask(reader, writer):
    writer.write(query("select 1"))
    tags = await asyncio.wait_for(until_ready(reader), PATIENCE)
    if tags != b"TDCZ":
        raise RuntimeError(f"select 1 was answered with {tags!r}")


def close(writer):
    writer.transport.abort()


class Onlooker:
    """Asks `select 1` all the time, on a session of its own."""

    async def __aenter__(self):
        self.session = await connect()
        self.asked, self.longest = 0, 0.0
        self.task = asyncio.create_task(self.look())
        return self

    async def look(self):
        while True:
            begin = time.monotonic()
            await ask(*self.session)
            self.asked += 1
            self.longest = max(self.longest, time.monotonic() - begin)
            await asyncio.sleep(0.005)

    def check(self):
        if self.task.done():
            self.task.result()

    async def __aexit__(self, *exception):
        self.check()
        self.task.cancel()
        close(self.session[1])


async def garbage(count, chance):
    """Connections that say anything but what they should."""
    for _ in range(count):
        reader, writer = await asyncio.open_connection(HOST, PORT)
        bytes_ = chance.randbytes(chance.randint(1, 3000))
        kind = chance.randrange(4)
        if kind == 1:
            # A length that may even be right, and then no startup packet.
            bytes_ = struct.pack("!I", len(bytes_) + 4) + bytes_
        elif kind >= 2:
            bytes_ = STARTUP + bytes_
        if kind == 3:
            # A message that begins well.
            tag = bytes([chance.choice(b"QPBEDCSHXFdcfp")])
            bytes_ = STARTUP + message(tag, chance.randbytes(chance.randint(0, 300)))
        writer.write(bytes_)
        if chance.random() < 0.5:
            writer.write_eof()
            try:
                await asyncio.wait_for(reader.read(), 0.05)
            except (asyncio.TimeoutError, ConnectionError):
                pass
        close(writer)


async def idle(count, onlooker):
    """Many that only stay."""
    before = resident()
    sessions = []
    for _ in range(count):
        sessions.append(await connect())
    await asyncio.sleep(0.5)
    each = (resident() - before) // count
    # Each of them can still be heard.
    for session in sessions[:: max(1, count // 50)]:
        await ask(*session)
    onlooker.check()
    for _, writer in sessions:
        close(writer)
    return each


async def never_reads(queries):
    """One that asks for much, and reads none of it."""
    reader, writer = await connect()
    before = resident()
    writer.transport.pause_reading()
    asked = query("select repeat('x', 100000)") * queries
    writer.write(asked)
    most = before
    for _ in range(20):
        await asyncio.sleep(0.1)
        most = max(most, resident())
    close(writer)
    return most - before


async def come_and_go(count, at_a_time=20):
    async def one(rounds):
        for _ in range(rounds):
            reader, writer = await connect()
            close(writer)

    await asyncio.gather(*(one(count // at_a_time) for _ in range(at_a_time)))


async def all_of_it(chance, onlooker, tell):
    await garbage(300, chance)
    onlooker.check()
    tell("300 connections that sent garbage")
    each = await idle(1000, onlooker)
    tell(f"1000 idle connections, {each / 1024:.1f} KiB each")
    growth = await never_reads(20_000)
    tell(f"2 GB asked for and not read: {growth / 2**20:.1f} MiB more resident memory")
    if growth > 64 * 2**20:
        raise SystemExit("the server buffers without bound for a client that does not read")
    onlooker.check()
    await come_and_go(10_000)
    onlooker.check()
    tell("10000 connections opened and closed")


async def main():
    chance = random.Random(SEED)
    async with Onlooker() as onlooker:
        # Twice: an allocator settles on how it cuts its memory up, and a leak goes on.
        for _ in range(2):
            await all_of_it(chance, onlooker, lambda said: None)
        await asyncio.sleep(1)
        before = resident()
        print(f"after a warm-up of the same kind: {before / 2**20:.1f} MiB resident; seed {SEED}")
        await all_of_it(chance, onlooker, lambda said: print(f"  {said}"))
        await asyncio.sleep(1)
        after = resident()
    print(
        f"select 1 was answered {onlooker.asked} times, in {onlooker.longest * 1000:.0f} ms at most; "
        f"{after / 2**20:.1f} MiB resident, {100 * (after - before) / before:+.1f} %"
    )
    if after > before * 1.1:
        raise SystemExit("resident memory has grown by more than 10 %")


asyncio.run(main())
