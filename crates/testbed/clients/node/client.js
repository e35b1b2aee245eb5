// node-postgres: its own implementation of the protocol in JavaScript, text results.
'use strict'

const crypto = require('node:crypto')
const fs = require('node:fs')
const { Readable } = require('node:stream')
const { pipeline } = require('node:stream/promises')
const pg = require('pg')
const Cursor = require('pg-cursor')
const { from: copyFrom, to: copyTo } = require('pg-copy-streams')

const DDL =
  'create temporary table wire_check (id int constraint wire_check_pkey primary key, body text,' +
  ' amount numeric(10,2) constraint wire_check_amount check (amount >= 0), data bytea)'
const UNICODE = 'Zoë Müller · 田中 · Ω≈ç√ · 👩‍⚕️ · \u200fשלום · O\'Brien \\ "x"\n\ttab'
const NOTICE =
  "do $$ begin raise notice 'first %', 1 using detail = 'the detail', hint = 'the hint'; raise warning 'second'; end $$"

function options() {
  const mode = process.env.PGSSLMODE
  if (mode === 'disable') return { ssl: false }
  if (mode === 'require') return { ssl: { rejectUnauthorized: false } }
  return { ssl: { ca: fs.readFileSync(process.env.PGSSLROOTCERT, 'utf8'), servername: undefined } }
}

async function connect() {
  const client = new pg.Client(options())
  client.on('error', () => {})
  await client.connect()
  return client
}

function expect(condition, what) {
  if (!condition) throw new Error(`expected otherwise: ${JSON.stringify(what)}`)
}

async function all(stream) {
  const chunks = []
  for await (const chunk of stream) chunks.push(chunk)
  return Buffer.concat(chunks).toString('base64')
}

async function refused(client, sql, params) {
  try {
    await client.query(sql, params)
  } catch (e) {
    return e
  }
  throw new Error(`the server took: ${sql}`)
}

const CHECKS = {
  async simple_query(c) {
    const r = await c.query("select 1 as a, 'x' as b")
    return [r.rows, r.command, r.rowCount, r.fields.map((f) => [f.name, f.dataTypeID])]
  },
  async empty_query(c) {
    return [(await c.query('')).rows, (await c.query('-- nothing')).rows]
  },
  async multi_statement(c) {
    return (await c.query("select 1; select 'two'; select 3, 4")).map((r) => r.rows)
  },
  async extended_query(c) {
    return (await c.query('select $1::int + 1 a, $2::text b, $3::numeric c, $4::int[] d', [41, "it's", '1.50', [1, null, 3]])).rows
  },
  async prepared_reuse(c) {
    const found = []
    for (let i = 0; i < 50; i++) {
      found.push((await c.query({ name: 'twice', text: 'select $1::int * 2 as a', values: [i] })).rows)
    }
    return found
  },
  async cursor_fetch(c) {
    const cursor = c.query(new Cursor('select i from generate_series(1, 1000) i'))
    const sizes = []
    for (let batch; (batch = await cursor.read(300)).length > 0; ) sizes.push(batch.length)
    expect(sizes.join() === '300,300,300,100', sizes)
    const early = c.query(new Cursor('select i from generate_series(1, 1000) i where i > $1', [5]))
    const first = await early.read(3)
    await early.close()
    return [sizes, first, (await c.query("select 'after' a")).rows]
  },
  async queued_queries(c) {
    const queries = []
    for (let i = 0; i < 100; i++) queries.push(c.query('select $1::int a', [i]))
    return (await Promise.all(queries)).map((r) => r.rows)
  },
  async copy_text(c) {
    await c.query(DDL)
    const lines = Array.from({ length: 5000 }, (_, i) => `${i}\tünï ${i}\t${i}.25\t\\\\x00ff\n`)
    await pipeline(Readable.from(lines), c.query(copyFrom('copy wire_check from stdin')))
    return all(c.query(copyTo('copy (select * from wire_check order by id) to stdout')))
  },
  async copy_csv(c) {
    await c.query(DDL)
    const csv = 'id,body\n1,"a ""quoted"", text"\n2,\n3,plain\n'
    const into = c.query(copyFrom('copy wire_check (id, body) from stdin with (format csv, header)'))
    await pipeline(Readable.from([csv]), into)
    return all(c.query(copyTo('copy (select * from wire_check order by id) to stdout with (format csv, header)')))
  },
  async copy_binary(c) {
    await c.query(DDL)
    await c.query("insert into wire_check (id, body, data) select i, 'row ' || i, '\\x00ff' from generate_series(1, 1000) i")
    const sql = 'copy (select id, body, data from wire_check order by id) to stdout (format binary)'
    const before = await all(c.query(copyTo(sql)))
    await c.query('truncate wire_check')
    const into = c.query(copyFrom('copy wire_check (id, body, data) from stdin (format binary)'))
    await pipeline(Readable.from([Buffer.from(before, 'base64')]), into)
    const after = await all(c.query(copyTo(sql)))
    expect(before === after, 'not the same bytes')
    return after
  },
  async transaction_error(c) {
    await c.query(DDL)
    await c.query('begin')
    await c.query("insert into wire_check values (1, 'kept')")
    await c.query('savepoint s')
    const codes = []
    codes.push((await refused(c, "insert into wire_check values (1, 'again')")).code)
    codes.push((await refused(c, 'select 1')).code)
    await c.query('rollback to s')
    await c.query("insert into wire_check values (2, 'after')")
    await c.query('commit')
    return [codes, (await c.query('select id, body from wire_check order by id')).rows]
  },
  async notice(c) {
    const seen = []
    c.on('notice', (n) => seen.push([n.severity, n.code, n.message, n.detail, n.hint]))
    await c.query(NOTICE)
    expect(seen.length === 2, seen)
    return seen
  },
  async listen_notify(c) {
    const heard = new Promise((resolve, reject) => {
      setTimeout(() => reject(new Error('nothing heard')), 10000).unref()
      c.on('notification', (n) => resolve([n.channel, n.payload]))
    })
    await c.query('listen wire_channel')
    const other = await connect()
    await other.query("select pg_notify('wire_channel', $1)", [UNICODE])
    await other.end()
    return heard
  },
  async error_fields(c) {
    await c.query(DDL)
    const found = []
    for (const sql of [
      'insert into wire_check values (1), (1)',
      "insert into wire_check values (2, 'x', -1)",
      'select 1 from no_such_table',
      "select 'é', nonsense( 1 )",
    ]) {
      const e = await refused(c, sql)
      found.push([e.severity, e.code, e.message, e.detail, e.hint, e.position, e.constraint, e.table, e.schema?.slice(0, 7), e.routine])
    }
    return found
  },
  async unicode(c) {
    const { rows } = await c.query('select $1::text as a, length($1::text) as b', [UNICODE])
    expect(rows[0].a === UNICODE, rows)
    return rows
  },
  async bytea_1mb(c) {
    const data = Buffer.alloc(1 << 20, Buffer.from(Array.from({ length: 256 }, (_, i) => i)))
    const { rows } = await c.query('select $1::bytea as a, length($1::bytea) as b', [data])
    expect(rows[0].a.equals(data) && rows[0].b === data.length, 'not the same bytes')
    return rows[0].a.toString('base64')
  },
  async rows_100k(c) {
    const sql =
      "select i, 'row ' || i as body, (i * 7919) % 1000 as code, i::numeric / 8 as share from generate_series(1, 100000) i order by i"
    const { rows } = await c.query(sql)
    expect(rows.length === 100000, rows.length)
    return rows
  },
  async cancel(c) {
    const sleep = refused(c, 'select pg_sleep(30)')
    await new Promise((resolve) => setTimeout(resolve, 300))
    // The driver's own cancel knows no TLS; there the request is written by hand.
    if (process.env.PGSSLMODE === 'disable') {
      new pg.Client(options()).cancel(c, c.activeQuery ?? c._activeQuery)
      return [(await sleep).code, (await c.query("select 'after' a")).rows]
    }
    await new Promise((resolve) => {
      const socket = require('node:net').connect(Number(process.env.PGPORT), process.env.PGHOST, () => {
        socket.write(Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]))
        socket.once('data', () => {
          const tls = require('node:tls').connect({ socket, rejectUnauthorized: false }, () => {
            const request = Buffer.alloc(16)
            request.writeInt32BE(16, 0)
            request.writeInt32BE(80877102, 4)
            request.writeInt32BE(c.processID, 8)
            request.writeInt32BE(c.secretKey, 12)
            tls.end(request)
          })
          tls.on('close', resolve).on('error', resolve)
        })
      })
    })
    return [(await sleep).code, (await c.query("select 'after' a")).rows]
  },
}

// Says what the driver made of the rows of one column: the values themselves, not a digest. As text, then in binary.
async function decode(path) {
  const client = await connect()
  for (const line of fs.readFileSync(path, 'utf8').split('\n')) {
    if (line === '') continue
    const [check, text] = line.split('\t')
    for (const binary of [false, true]) {
      const name = binary ? `${check} in binary` : check
      try {
        const r = await client.query({ text, values: [], binary, rowMode: 'array' })
        const values = r.rows.map(([v]) => (v === null ? null : typeof v === 'object' ? JSON.stringify(v) : String(v)))
        console.log(JSON.stringify({ check: name, ok: true, digest: JSON.stringify(values) }))
      } catch (e) {
        console.log(JSON.stringify({ check: name, ok: false, error: `${e.name}: ${e.message}` }))
      }
    }
  }
  await client.end()
}

async function main() {
  if (process.env.WIRE_DECODE) return decode(process.env.WIRE_DECODE)
  for (const [check, run] of Object.entries(CHECKS)) {
    let line
    let client
    try {
      client = await connect()
      const value = JSON.stringify(await run(client))
      line = { check, ok: true, digest: crypto.createHash('sha256').update(value).digest('hex') }
    } catch (e) {
      line = { check, ok: false, error: `${e.name}: ${e.message}` }
    }
    await client?.end().catch(() => {})
    console.log(JSON.stringify(line))
  }
}

main()
