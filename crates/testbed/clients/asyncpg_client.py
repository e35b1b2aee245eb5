"""asyncpg: its own implementation of the protocol, binary throughout, portals with row limits."""

import asyncio
import io

import asyncpg

from checks import DDL, NOTICE, ROWS, TYPES, UNICODE, decoded, expect, report, statements


async def rows(c, sql, *params):
    return [tuple(row) for row in await c.fetch(sql, *params)]


async def simple_query(c):
    return [await c.execute("select 1"), await c.execute("create temporary table s (a int)")]


async def multi_statement(c):
    return await c.execute("create temporary table m (a int); insert into m values (1), (2); select * from m")


async def extended_query(c):
    return await rows(c, "select $1::int + 1, $2::text, $3::numeric, $4::int[]", 41, "it's", 1, [1, None, 3])


async def types(c):
    return await rows(c, TYPES)


async def prepared_reuse(c):
    statement = await c.prepare("select $1::int * 2, $2::text")
    described = [(a.name, a.type.name) for a in statement.get_attributes()]
    return [described, [await statement.fetchval(i, str(i)) for i in range(50)]]


async def cursor_fetch(c):
    sizes, total = [], 0
    async with c.transaction():
        cursor = await c.cursor("select i from generate_series(1, 1000) i")
        while batch := await cursor.fetch(300):
            sizes.append(len(batch))
            total += sum(row["i"] for row in batch)
    expect(sizes == [300, 300, 300, 100], sizes)
    return [sizes, total]


async def execute_many(c):
    await c.execute(DDL)
    await c.executemany("insert into wire_check (id, body) values ($1, $2)", [(i, UNICODE) for i in range(500)])
    return await rows(c, "select * from wire_check order by id")


async def copy_text(c):
    await c.execute(DDL)
    source = io.BytesIO("".join(f"{i}\tünï {i}\t{i}.25\t\\\\x00ff\n" for i in range(5000)).encode())
    status = await c.copy_to_table("wire_check", source=source)
    out = io.BytesIO()
    await c.copy_from_query("select * from wire_check order by id", output=out)
    return [status, out.getvalue()]


async def copy_csv(c):
    await c.execute(DDL)
    source = io.BytesIO(b'id,body\n1,"a ""quoted"", text"\n2,\n3,plain\n')
    status = await c.copy_to_table("wire_check", source=source, columns=["id", "body"], format="csv", header=True)
    out = io.BytesIO()
    await c.copy_from_query("select * from wire_check order by id", output=out, format="csv", header=True)
    return [status, out.getvalue()]


async def copy_binary(c):
    await c.execute(DDL)
    records = [(i, UNICODE, None, b"\x00\xff" * i) for i in range(1000)]
    status = await c.copy_records_to_table("wire_check", records=records)
    out = io.BytesIO()
    await c.copy_from_query("select * from wire_check order by id", output=out, format="binary")
    return [status, out.getvalue()]


async def transaction_error(c):
    await c.execute(DDL)
    states = []
    async with c.transaction():
        await c.execute("insert into wire_check values (1, 'kept')")
        try:
            async with c.transaction():
                await c.execute("insert into wire_check values (1, 'again')")
        except asyncpg.PostgresError as error:
            states.append(error.sqlstate)
        await c.execute("insert into wire_check values (2, 'after')")
    try:
        async with c.transaction():
            await c.execute("insert into wire_check values (3, 'lost')")
            await c.execute("select 1/0")
    except asyncpg.PostgresError as error:
        states.append(error.sqlstate)
    return [states, await rows(c, "select id, body from wire_check order by id")]


async def notice(c):
    seen = []
    c.add_log_listener(lambda _, m: seen.append((m.severity_en, m.sqlstate, m.message, m.detail, m.hint)))
    await c.execute(NOTICE)
    for _ in range(100):
        if len(seen) == 2:
            break
        await asyncio.sleep(0.02)
    expect(len(seen) == 2, seen)
    return seen


async def listen_notify(c):
    heard = asyncio.get_running_loop().create_future()
    await c.add_listener("wire_channel", lambda _c, _pid, channel, payload: heard.set_result((channel, payload)))
    other = await asyncpg.connect()
    await other.execute("select pg_notify('wire_channel', $1)", UNICODE)
    await other.close()
    return await asyncio.wait_for(heard, 10)


async def error_fields(c):
    await c.execute(DDL)
    found = []
    for sql in (
        "insert into wire_check values (1), (1)",
        "insert into wire_check values (2, 'x', -1)",
        "select 1 from no_such_table",
        "select 'é', nonsense( 1 )",
    ):
        try:
            await c.fetch(sql)
        except asyncpg.PostgresError as e:
            found.append((e.severity, e.sqlstate, e.message, e.detail, e.hint, e.position, e.constraint_name, e.table_name))
    expect(len(found) == 4, found)
    return found


async def unicode(c):
    (row,) = await rows(c, "select $1::text, length($1::text)", UNICODE)
    expect(row[0] == UNICODE, row)
    return row


async def bytea_1mb(c):
    data = bytes(range(256)) * 4096
    (row,) = await rows(c, "select $1::bytea, length($1::bytea)", data)
    expect(row == (data, len(data)), "not the same bytes")
    return row


async def rows_100k(c):
    found = await rows(c, ROWS)
    expect(len(found) == 100_000, len(found))
    return found


async def cancel(c):
    try:
        await c.execute("select pg_sleep(30)", timeout=0.3)
        raise AssertionError("slept to the end")
    except asyncio.TimeoutError:
        return await rows(c, "select 'after'")


async def concurrent_sessions(_):
    async def one(number):
        connection = await asyncpg.connect()
        try:
            return [await connection.fetchval("select $1::int", number) for _ in range(5)]
        finally:
            await connection.close()

    return await asyncio.gather(*(one(number) for number in range(10)))


CHECKS = [simple_query, multi_statement, extended_query, types, prepared_reuse, cursor_fetch, execute_many, copy_text,
          copy_csv, copy_binary, transaction_error, notice, listen_notify, error_fields, unicode, bytea_1mb,
          rows_100k, cancel, concurrent_sessions]


async def decode(asked):
    connection = await asyncpg.connect()
    for name, sql in asked:
        try:
            decoded(name, await rows(connection, sql))
        except Exception as error:  # the check's verdict, whatever it was
            report(name, error=f"{type(error).__name__}: {error}")
    await connection.close(timeout=5)


async def main():
    if asked := statements():
        return await decode(asked)
    for check in CHECKS:
        try:
            connection = await asyncpg.connect()
            try:
                report(check.__name__, await check(connection))
            finally:
                await connection.close(timeout=5)
        except Exception as error:  # the check's verdict, whatever it was
            report(check.__name__, error=f"{type(error).__name__}: {error}")


asyncio.run(main())
