"""psycopg 3 (libpq): text results by default, binary with the argument `binary`."""

import sys
import threading
import time

import psycopg

from checks import DDL, NOTICE, ROWS, TYPES, UNICODE, decoded, expect, report, statements

BINARY = "binary" in sys.argv[1:]


def connect(**options):
    connection = psycopg.connect("", autocommit=True, **options)
    connection.prepare_threshold = 5
    return connection


def rows(connection, sql, params=None):
    return connection.cursor(binary=BINARY).execute(sql, params).fetchall()


def simple_query(c):
    cursor = psycopg.ClientCursor(c)
    return [cursor.execute("select 1 as a, 'x' as b").fetchall(), cursor.execute("").statusmessage]


def multi_statement(c):
    cursor = c.execute("select 1; select 'two'; select 3, 4")
    found = [cursor.fetchall()]
    while cursor.nextset():
        found.append(cursor.fetchall())
    return found


def extended_query(c):
    return rows(c, "select %s::int + 1, %s::text, %s::numeric, %s::int[]", (41, "it's", "1.50", [1, None, 3]))


def types(c):
    return rows(c, TYPES)


def prepared_reuse(c):
    return [rows(c, "select %s::int * 2", (i,)) for i in range(50)]


def cursor_fetch(c):
    sizes, total = [], 0
    with c.transaction(), c.cursor(name="wire", binary=BINARY) as cursor:
        cursor.execute("select i from generate_series(1, 1000) i")
        while batch := cursor.fetchmany(300):
            sizes.append(len(batch))
            total += sum(i for (i,) in batch)
    expect(sizes == [300, 300, 300, 100], sizes)
    return [sizes, total]


def pipeline(c):
    with c.pipeline():
        cursors = [c.cursor(binary=BINARY).execute("select %s::int, 'p'", (i,)) for i in range(200)]
    return [cursor.fetchall() for cursor in cursors]


def pipeline_error(c):
    found = []
    try:
        with c.pipeline():
            first = c.execute("select 1")
            c.execute("select 1/0")
            c.execute("select 3")
    except psycopg.Error as error:
        found.append(error.sqlstate)
    return [found, first.fetchall(), rows(c, "select 'after'")]


def copy_text(c):
    c.execute(DDL)
    with c.cursor().copy("copy wire_check from stdin") as copy:
        for i in range(5000):
            copy.write_row((i, UNICODE, i / 4, bytes([i % 256])))
    with c.cursor().copy("copy (select * from wire_check order by id) to stdout") as copy:
        return b"".join(bytes(block) for block in copy)


def copy_csv(c):
    c.execute(DDL)
    with c.cursor().copy("copy wire_check (id, body) from stdin with (format csv, header)") as copy:
        copy.write('id,body\n1,"a ""quoted"", text"\n2,\n3,plain\n')
    with c.cursor().copy("copy (select * from wire_check order by id) to stdout with (format csv, header)") as copy:
        return b"".join(bytes(block) for block in copy)


def copy_binary(c):
    c.execute(DDL)
    with c.cursor().copy("copy wire_check (id, body, data) from stdin with (format binary)") as copy:
        copy.set_types(["int4", "text", "bytea"])
        for i in range(1000):
            copy.write_row((i, UNICODE, b"\x00\xff" * i))
    with c.cursor().copy("copy (select id, body, data from wire_check order by id) to stdout (format binary)") as copy:
        return b"".join(bytes(block) for block in copy)


def copy_error(c):
    c.execute(DDL)
    try:
        with c.cursor().copy("copy wire_check (id) from stdin") as copy:
            copy.write("1\nnot a number\n")
        raise AssertionError("the server took it")
    except psycopg.errors.InvalidTextRepresentation as error:
        return [error.sqlstate, error.diag.context, rows(c, "select count(*) from wire_check")]


def transaction_error(c):
    c.execute(DDL)
    states = []
    c.execute("begin")
    c.execute("insert into wire_check values (1, 'kept')")
    c.execute("savepoint s")
    for sql in ("insert into wire_check values (1, 'again')", "select 1"):
        try:
            c.execute(sql)
        except psycopg.Error as error:
            states.append(error.sqlstate)
        states.append(c.info.transaction_status.name)
    c.execute("rollback to s")
    c.execute("insert into wire_check values (2, 'after')")
    c.execute("commit")
    states.append(c.info.transaction_status.name)
    return [states, rows(c, "select id, body from wire_check order by id")]


def notice(c):
    seen = []
    c.add_notice_handler(lambda d: seen.append((d.severity, d.sqlstate, d.message_primary, d.message_detail, d.message_hint)))
    c.execute(NOTICE)
    expect(len(seen) == 2, seen)
    return seen


def listen_notify(c):
    c.execute("listen wire_channel")
    with connect() as other:
        other.execute("select pg_notify('wire_channel', %s)", (UNICODE,))
    seen = [(n.channel, n.payload) for n in c.notifies(timeout=10, stop_after=1)]
    expect(len(seen) == 1, seen)
    return seen


def error_fields(c):
    c.execute(DDL)
    found = []
    for sql in (
        "insert into wire_check values (1), (1)",
        "insert into wire_check values (2, 'x', -1)",
        "select 1 from no_such_table",
        "select 'é', nonsense( 1 )",
    ):
        try:
            c.execute(sql)
        except psycopg.Error as error:
            d = error.diag
            found.append((d.severity, d.sqlstate, d.message_primary, d.message_detail, d.message_hint,
                          d.statement_position, d.constraint_name, d.table_name, d.column_name, d.source_function))
    expect(len(found) == 4, found)
    return found


def unicode(c):
    (row,) = rows(c, "select %s::text, length(%s::text)", (UNICODE, UNICODE))
    expect(row[0] == UNICODE, row)
    return row


def bytea_1mb(c):
    data = bytes(range(256)) * 4096
    (row,) = rows(c, "select %b::bytea, length(%b::bytea)", (data, data))
    expect(bytes(row[0]) == data and row[1] == len(data), "not the same bytes")
    return bytes(row[0])


def rows_100k(c):
    found = rows(c, ROWS)
    expect(len(found) == 100_000, len(found))
    return found


def cancel(c):
    timer = threading.Timer(0.3, c.cancel)
    timer.start()
    began = time.monotonic()
    try:
        c.execute("select pg_sleep(30)")
        raise AssertionError("slept to the end")
    except psycopg.errors.QueryCanceled as error:
        expect(time.monotonic() - began < 15, "too late")
        return [error.sqlstate, rows(c, "select 'after'")]


def parameter_status(c):
    return [c.info.parameter_status(name) for name in ("server_encoding", "integer_datetimes", "DateStyle")]


CHECKS = [simple_query, multi_statement, extended_query, types, prepared_reuse, cursor_fetch, pipeline,
          pipeline_error, copy_text, copy_csv, copy_binary, copy_error, transaction_error, notice, listen_notify,
          error_fields, unicode, bytea_1mb, rows_100k, cancel, parameter_status]

if asked := statements():
    with connect() as connection:
        for name, sql in asked:
            try:
                decoded(name, rows(connection, sql))
            except Exception as error:  # the check's verdict, whatever it was
                report(name, error=f"{type(error).__name__}: {error}")
    sys.exit()

for check in CHECKS:
    try:
        with connect() as connection:
            report(check.__name__, check(connection))
    except Exception as error:  # the check's verdict, whatever it was
        report(check.__name__, error=f"{type(error).__name__}: {error}")
