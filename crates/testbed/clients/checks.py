"""What the Python drivers' scripts share: runs checks, prints one JSON line each with a digest of what came."""

import hashlib
import json
import os

DDL = (
    "create temporary table wire_check (id int constraint wire_check_pkey primary key, body text,"
    " amount numeric(10,2) constraint wire_check_amount check (amount >= 0), data bytea)"
)
UNICODE = "Zoë Müller · 田中 · Ω≈ç√ · 👩‍⚕️ · \u200fשלום · O'Brien \\ \"x\"\n\ttab"
ROWS = (
    "select i, 'row ' || i as body, (i * 7919) % 1000 as code, i::numeric / 8 as share"
    " from generate_series(1, 100000) i order by i"
)
TYPES = (
    "select 1::int2, -2::int4, 3::int8, 1.5::float4, 'NaN'::float8, 12345.678::numeric, true, null::text,"
    " 'x'::char(3), date '2026-03-04', timestamp '2026-03-04 05:06:07.891', timestamptz '2026-03-04 05:06:07+00',"
    " interval '1 day 2 hours', '\\x00ff'::bytea, array[1,null,3], '{\"a\": [1, 2]}'::jsonb,"
    " '6f1c2a34-0000-4000-8000-000000000001'::uuid, inet '10.0.0.1'"
)
NOTICE = "do $$ begin raise notice 'first %', 1 using detail = 'the detail', hint = 'the hint'; raise warning 'second'; end $$"


def digest(value):
    return hashlib.sha256(repr(value).encode()).hexdigest()


def report(name, value=None, error=None):
    line = {"check": name, "ok": error is None}
    if error is None:
        line["digest"] = digest(value)
    else:
        line["error"] = str(error)
    print(json.dumps(line), flush=True)


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


def statements():
    """The statements of the file that WIRE_DECODE names, with their names; None without one."""
    path = os.environ.get("WIRE_DECODE")
    if path is None:
        return None
    with open(path) as file:
        return [line.rstrip("\n").split("\t") for line in file]


def decoded(name, rows):
    """Says what the driver made of the rows of one column: the values themselves, not a digest."""
    values = [None if value is None else str(value) for (value, *_) in rows]
    print(json.dumps({"check": name, "ok": True, "digest": json.dumps(values)}), flush=True)
