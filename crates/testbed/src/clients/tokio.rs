//! tokio-postgres over rustls: pipelining by concurrent futures, binary COPY, portals, channel binding.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::{join_all, poll_fn};
use futures_util::{SinkExt as _, TryStreamExt as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, Row, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Check;
use crate::{Conninfo, SslMode};

const CHECK_TIMEOUT: Duration = Duration::from_secs(30);
const UNICODE: &str = "Zoë Müller · 田中 · Ω≈ç√ · O'Brien \\ \"x\"\n\ttab";
const DDL: &str = "create temporary table wire_check (id int constraint wire_check_pkey primary key, body text, \
    amount numeric(10,2) constraint wire_check_amount check (amount >= 0), data bytea)";
const ROWS: &str = "select i, 'row ' || i as body, (i * 7919) % 1000 as code \
    from generate_series(1, 100000) i order by i";

/// Runs the checks.
pub(super) fn run(conninfo: &Conninfo) -> Result<Vec<Check>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut checks = Vec::new();
        // One macro line each: async functions that borrow have no common type to put into a table.
        macro_rules! check {
            ($($name:ident),*) => {$(
                let outcome = async {
                    let mut session = Session::open(conninfo).await?;
                    tokio::time::timeout(CHECK_TIMEOUT, $name(&mut session)).await.context("took too long")?
                };
                checks.push(Check::new(stringify!($name), outcome.await));
            )*};
        }
        check!(simple_query, multi_statement, extended_query, prepared_reuse, portal_rows, pipeline);
        check!(copy_text, copy_binary, copy_abandoned, transaction_error, dropped_transaction, notice);
        check!(listen_notify, error_fields, unicode, bytea_1mb, rows_100k, cancel);
        Ok(checks)
    })
}

/// Decodes the first column of each statement by its type, as text by the simple protocol and in binary by the extended.
pub(super) fn decode(conninfo: &Conninfo, statements: &[(String, String)]) -> Result<Vec<Check>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let session = Session::open(conninfo).await?;
        let mut checks = Vec::new();
        for (name, sql) in statements {
            let values = decode_text(&session.client, sql).await;
            checks.push(shown(name.clone(), values));
            let values = decode_binary(&session.client, sql).await;
            checks.push(shown(format!("{name} in binary"), values));
        }
        Ok(checks)
    })
}

fn shown(name: String, values: Result<Vec<Option<String>>>) -> Check {
    let outcome =
        values.map_err(|error| format!("{error:#}")).map(|values| serde_json::json!(values).to_string());
    Check { name, outcome }
}

async fn decode_text(client: &Client, sql: &str) -> Result<Vec<Option<String>>> {
    let mut values = Vec::new();
    for message in client.simple_query(sql).await? {
        if let SimpleQueryMessage::Row(row) = message {
            values.push(row.try_get(0)?.map(str::to_owned));
        }
    }
    Ok(values)
}

async fn decode_binary(client: &Client, sql: &str) -> Result<Vec<Option<String>>> {
    let rows = client.query(sql, &[]).await?;
    rows.iter().map(decode_cell).collect()
}

/// Decodes by the type that the server announced; types that the driver has nothing for come as their bytes.
fn decode_cell(row: &Row) -> Result<Option<String>> {
    macro_rules! cell {
        ($ty:ty) => {
            row.try_get::<_, Option<$ty>>(0)?.map(|value| format!("{value:?}"))
        };
    }
    let ty = row.columns().first().context("a column")?.type_().clone();
    Ok(match ty {
        Type::BOOL => cell!(bool),
        Type::CHAR => cell!(i8),
        Type::INT2 => cell!(i16),
        Type::INT4 => cell!(i32),
        Type::INT8 => cell!(i64),
        Type::OID => cell!(u32),
        Type::FLOAT4 => cell!(f32),
        Type::FLOAT8 => cell!(f64),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => row.try_get::<_, Option<String>>(0)?,
        Type::BYTEA => cell!(Vec<u8>),
        Type::TIMESTAMP | Type::TIMESTAMPTZ => cell!(std::time::SystemTime),
        Type::INET => cell!(std::net::IpAddr),
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY => cell!(Vec<Option<String>>),
        Type::INT4_ARRAY => cell!(Vec<Option<i32>>),
        Type::INET_ARRAY => cell!(Vec<Option<std::net::IpAddr>>),
        _ => row.try_get::<_, Option<Bytes>>(0)?.map(|Bytes(bytes)| format!("{bytes:02x?}")),
    })
}

/// A value of any type, as it came.
struct Bytes(Vec<u8>);

impl<'a> FromSql<'a> for Bytes {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Bytes, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Bytes(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Opens one session after another as one person.
pub(crate) struct Connector {
    config: Config,
    tls: Option<MakeRustlsConnect>,
}

impl Connector {
    /// Prepares what all sessions share.
    pub(crate) fn new(conninfo: &Conninfo) -> Result<Connector> {
        let tls = if conninfo.sslmode == SslMode::Disable { None } else { Some(tls(conninfo)?) };
        Ok(Connector { config: config(conninfo)?, tls })
    }

    /// Opens a session under a name for the client program.
    pub(crate) async fn connect(&self, name: &str) -> Result<Client, tokio_postgres::Error> {
        let mut config = self.config.clone();
        config.application_name(name);
        // The connection's own error is what the client's next statement meets.
        match &self.tls {
            None => {
                let (client, connection) = config.connect(NoTls).await?;
                tokio::spawn(connection);
                Ok(client)
            }
            Some(tls) => {
                let (client, connection) = config.connect(tls.clone()).await?;
                tokio::spawn(connection);
                Ok(client)
            }
        }
    }
}

/// A connection with what it heard beside the answers.
struct Session {
    conninfo: Conninfo,
    client: Client,
    messages: tokio::sync::mpsc::UnboundedReceiver<AsyncMessage>,
}

impl Session {
    async fn open(conninfo: &Conninfo) -> Result<Session> {
        let config = config(conninfo)?;
        let (sender, messages) = tokio::sync::mpsc::unbounded_channel();
        let client = if conninfo.sslmode == SslMode::Disable {
            let (client, connection) = config.connect(NoTls).await?;
            listen(connection, sender);
            client
        } else {
            let (client, connection) = config.connect(tls(conninfo)?).await?;
            listen(connection, sender);
            client
        };
        Ok(Session { conninfo: conninfo.clone(), client, messages })
    }
}

fn listen<S, T>(mut connection: Connection<S, T>, sender: tokio::sync::mpsc::UnboundedSender<AsyncMessage>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        // Ends with the connection, or with an error that the client's own futures tell as well.
        while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
            let _ = sender.send(message);
        }
    });
}

fn config(conninfo: &Conninfo) -> Result<Config> {
    let mut config = Config::new();
    config.host(&conninfo.host).port(conninfo.port).user(&conninfo.user).password(&conninfo.password);
    config
        .dbname(&conninfo.dbname)
        .connect_timeout(Duration::from_secs(10))
        .application_name("tokio-postgres");
    config.ssl_mode(match conninfo.sslmode {
        SslMode::Disable => tokio_postgres::config::SslMode::Disable,
        SslMode::Require | SslMode::VerifyFull => tokio_postgres::config::SslMode::Require,
    });
    ensure!(conninfo.sslmode != SslMode::Require, "rustls checks certificates: use verify-full");
    Ok(config)
}

fn tls(conninfo: &Conninfo) -> Result<MakeRustlsConnect> {
    let path = conninfo.root_cert.as_ref().context("verify-full needs a root certificate")?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(
        CertificateDer::from_pem_file(path).map_err(|e| anyhow::anyhow!("`{}`: {e}", path.display()))?,
    )?;
    ensure!(ServerName::try_from(conninfo.host.as_str()).is_ok(), "`{}` is no host name", conninfo.host);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

async fn simple_query(s: &mut Session) -> Result<String> {
    Ok(simple(&s.client.simple_query("select 1 as a, 'x' as b, null as c").await?))
}

async fn multi_statement(s: &mut Session) -> Result<String> {
    Ok(simple(&s.client.simple_query("select 1; create temporary table m (a int); ; select 'two'").await?))
}

async fn extended_query(s: &mut Session) -> Result<String> {
    let params: [&(dyn ToSql + Sync); 4] =
        [&41_i32, &"it's", &vec![Some(1_i32), None, Some(3)], &None::<i64>];
    let rows = s.client.query("select $1::int + 1, $2::text, $3::int[], $4::bigint", &params).await?;
    let row = rows.first().context("a row")?;
    let (a, b): (i32, String) = (row.try_get(0)?, row.try_get(1)?);
    let (c, d): (Vec<Option<i32>>, Option<i64>) = (row.try_get(2)?, row.try_get(3)?);
    Ok(format!("{a} {b} {c:?} {d:?}"))
}

async fn prepared_reuse(s: &mut Session) -> Result<String> {
    let statement = s.client.prepare_typed("select $1 * 2, $2::text", &[Type::INT4]).await?;
    let mut found = format!("{:?} ", statement.columns().iter().map(|c| c.name()).collect::<Vec<_>>());
    for i in 0..50_i32 {
        let row = s.client.query_one(&statement, &[&i, &i.to_string()]).await?;
        found += &format!("{} {} ", row.try_get::<_, i32>(0)?, row.try_get::<_, String>(1)?);
    }
    Ok(found)
}

async fn portal_rows(s: &mut Session) -> Result<String> {
    let transaction = s.client.transaction().await?;
    let portal = transaction.bind("select i from generate_series(1, 1000) i", &[]).await?;
    let mut sizes = Vec::new();
    loop {
        let rows = transaction.query_portal(&portal, 300).await?;
        if rows.is_empty() {
            break;
        }
        sizes.push(rows.len());
    }
    ensure!(sizes == [300, 300, 300, 100], "{sizes:?}");
    let other = transaction.bind("select i from generate_series(1, 1000) i", &[]).await?;
    let first = transaction.query_portal(&other, 3).await?.len();
    transaction.rollback().await?;
    Ok(format!("{sizes:?} {first}"))
}

async fn pipeline(s: &mut Session) -> Result<String> {
    let client = &s.client;
    let numbers = (0..200_i32).map(|i| async move {
        let sql = if i == 100 { "select $1::int / 0" } else { "select $1::int" };
        match client.query_one(sql, &[&i]).await {
            Ok(row) => row.try_get::<_, i32>(0).map(|n| n.to_string()),
            Err(error) => Ok(code(&error)),
        }
    });
    let found: Result<Vec<String>, _> = join_all(numbers).await.into_iter().collect();
    Ok(found?.join(" "))
}

async fn copy_text(s: &mut Session) -> Result<Vec<u8>> {
    s.client.batch_execute(DDL).await?;
    let mut sink = pin!(s.client.copy_in("copy wire_check from stdin").await?);
    for i in 0..5000 {
        sink.send(std::io::Cursor::new(format!("{i}\tünï {i}\t{i}.25\t\\\\x00ff\n").into_bytes())).await?;
    }
    ensure!(sink.finish().await? == 5000, "not all rows were taken");
    copied(s, "copy (select * from wire_check order by id) to stdout").await
}

async fn copy_binary(s: &mut Session) -> Result<Vec<u8>> {
    s.client.batch_execute(DDL).await?;
    let fill = "insert into wire_check (id, data) select i, '\\x00ff' from generate_series(1, 1000) i";
    s.client.batch_execute(fill).await?;
    let out = "copy (select id, data from wire_check order by id) to stdout (format binary)";
    let before = copied(s, out).await?;
    s.client.batch_execute("truncate wire_check").await?;
    let mut sink = pin!(s.client.copy_in("copy wire_check (id, data) from stdin (format binary)").await?);
    sink.send(std::io::Cursor::new(before.clone())).await?;
    sink.finish().await?;
    let after = copied(s, out).await?;
    ensure!(before == after, "not the same bytes");
    Ok(after)
}

async fn copy_abandoned(s: &mut Session) -> Result<String> {
    s.client.batch_execute(DDL).await?;
    {
        let mut sink = pin!(s.client.copy_in("copy wire_check (id) from stdin").await?);
        sink.send(std::io::Cursor::new(b"1\n".to_vec())).await?;
        sink.flush().await?;
    }
    Ok(simple(&s.client.simple_query("select count(*) from wire_check").await?))
}

async fn transaction_error(s: &mut Session) -> Result<String> {
    s.client.batch_execute(DDL).await?;
    let mut outer = s.client.transaction().await?;
    outer.execute("insert into wire_check values (1, 'kept')", &[]).await?;
    let inner = outer.savepoint("s").await?;
    let first = inner.execute("insert into wire_check values (1, 'again')", &[]).await;
    let second = inner.execute("select 1", &[]).await;
    inner.rollback().await?;
    outer.execute("insert into wire_check values (2, 'after')", &[]).await?;
    outer.commit().await?;
    let rows = simple(&s.client.simple_query("select id, body from wire_check order by id").await?);
    Ok(format!("{} {} {rows}", refused(first)?, refused(second)?))
}

async fn dropped_transaction(s: &mut Session) -> Result<String> {
    s.client.batch_execute(DDL).await?;
    {
        let transaction = s.client.transaction().await?;
        transaction.execute("insert into wire_check values (1)", &[]).await?;
    }
    Ok(simple(&s.client.simple_query("select count(*) from wire_check").await?))
}

async fn notice(s: &mut Session) -> Result<String> {
    let sql = "do $$ begin raise notice 'first %', 1 using detail = 'the detail', hint = 'the hint'; \
        raise warning 'second'; end $$";
    s.client.batch_execute(sql).await?;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        if let Some(AsyncMessage::Notice(n)) = s.messages.recv().await {
            seen.push(format!("{} {} {:?} {:?}", n.severity(), n.message(), n.detail(), n.hint()));
        }
    }
    Ok(seen.join("\n"))
}

async fn listen_notify(s: &mut Session) -> Result<String> {
    s.client.batch_execute("listen wire_channel").await?;
    let other = Session::open(&s.conninfo).await?;
    other.client.execute("select pg_notify('wire_channel', $1)", &[&UNICODE]).await?;
    loop {
        match s.messages.recv().await {
            Some(AsyncMessage::Notification(n)) => return Ok(format!("{} {}", n.channel(), n.payload())),
            Some(_) => {}
            None => bail!("the connection ended"),
        }
    }
}

async fn error_fields(s: &mut Session) -> Result<String> {
    s.client.batch_execute(DDL).await?;
    let mut found = String::new();
    for sql in [
        "insert into wire_check values (1), (1)",
        "insert into wire_check values (2, 'x', -1)",
        "select 1 from no_such_table",
        "select 'é', nonsense( 1 )",
    ] {
        let error = s.client.batch_execute(sql).await.err().context("the server took it")?;
        let e = error.as_db_error().with_context(|| format!("not the server's error: {error}"))?;
        found += &format!(
            "{} {} {} {:?} {:?} {:?} {:?} {:?} {:?}\n",
            e.severity(),
            e.code().code(),
            e.message(),
            e.detail(),
            e.hint(),
            e.position(),
            e.constraint(),
            e.table(),
            e.routine()
        );
    }
    Ok(found)
}

async fn unicode(s: &mut Session) -> Result<String> {
    let row = s.client.query_one("select $1::text, length($1::text)", &[&UNICODE]).await?;
    let (text, length): (String, i32) = (row.try_get(0)?, row.try_get(1)?);
    ensure!(text == UNICODE, "another text: {text}");
    Ok(format!("{text} {length}"))
}

async fn bytea_1mb(s: &mut Session) -> Result<Vec<u8>> {
    let data: Vec<u8> = (0..=255_u8).cycle().take(1 << 20).collect();
    let row = s.client.query_one("select $1::bytea", &[&data]).await?;
    let back: Vec<u8> = row.try_get(0)?;
    ensure!(back == data, "not the same bytes");
    Ok(back)
}

async fn rows_100k(s: &mut Session) -> Result<String> {
    let mut rows = pin!(s.client.query_raw(ROWS, std::iter::empty::<i32>()).await?);
    let (mut count, mut all) = (0_u32, String::new());
    while let Some(row) = rows.try_next().await? {
        count += 1;
        all += &line(&row)?;
    }
    ensure!(count == 100_000, "{count} rows");
    Ok(all)
}

async fn cancel(s: &mut Session) -> Result<String> {
    let token = s.client.cancel_token();
    let sleep = s.client.batch_execute("select pg_sleep(30)");
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        if s.conninfo.sslmode == SslMode::Disable {
            token.cancel_query(NoTls).await?;
        } else {
            token.cancel_query(tls(&s.conninfo)?).await?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let (slept, cancelled) = tokio::join!(sleep, cancel);
    cancelled?;
    let after = simple(&s.client.simple_query("select 'after'").await?);
    Ok(format!("{} {after}", refused(slept)?))
}

async fn copied(s: &Session, sql: &str) -> Result<Vec<u8>> {
    let chunks: Vec<_> = s.client.copy_out(sql).await?.try_collect().await?;
    Ok(chunks.concat())
}

fn line(row: &Row) -> Result<String> {
    let (i, body, code): (i32, String, i32) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    Ok(format!("{i} {body} {code}\n"))
}

fn simple(messages: &[SimpleQueryMessage]) -> String {
    let mut found = String::new();
    for message in messages {
        match message {
            SimpleQueryMessage::Row(row) => {
                let values: BTreeMap<_, _> =
                    row.columns().iter().enumerate().map(|(at, c)| (c.name(), row.get(at))).collect();
                found += &format!("{values:?}\n");
            }
            SimpleQueryMessage::CommandComplete(rows) => found += &format!("complete {rows}\n"),
            other => found += &format!("{other:?}\n"),
        }
    }
    found
}

fn refused<T>(result: Result<T, tokio_postgres::Error>) -> Result<String> {
    match result {
        Ok(_) => bail!("the server took it"),
        Err(error) => Ok(code(&error)),
    }
}

fn code(error: &tokio_postgres::Error) -> String {
    error.code().map_or_else(|| format!("no code: {error}"), |state| state.code().to_owned())
}
