//! The whole registry as a file of SQLite, and such a file into an empty registry.
//!
//! A copy is logical: the tables of this version, row by row. So a backup is the same file whichever database the
//! registry is in, and one that is brought back can go to either. Which tables there are is read from SQLite's own
//! catalogue of what the migrations made; none is listed here.

use std::path::Path;

use futures_util::TryStreamExt as _;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _};

use crate::Registry;
use crate::database::{Home, Reader, file_options, migrate, private_file};
use crate::error::Error;
use crate::migrations::Dialect;

/// A column that values are copied of.
#[derive(Debug)]
struct Column {
    name: String,
    holds: Holds,
}

/// The types of values that there are.
#[derive(Clone, Copy, Debug)]
enum Holds {
    Integer,
    Text,
    Bytes,
}

/// A table of the registry.
#[derive(Debug)]
struct Table {
    name: String,
    columns: Vec<Column>,
    /// The tables its rows refer to, itself left out.
    parents: Vec<String>,
}

impl Registry {
    /// Writes a copy of the database, as of one moment, into a file that is new or empty. Others go on meanwhile.
    pub async fn copy_to(&self, path: &Path) -> Result<(), Error> {
        private_file(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
        match self.home() {
            Home::File(_) => {
                let named = path.display().to_string();
                sqlx::query("VACUUM INTO $1").bind(named).execute(&self.writer()).await?;
                Ok(())
            }
            Home::Postgres(_) => self.copy_out(path).await,
        }
    }

    async fn copy_out(&self, path: &Path) -> Result<(), Error> {
        let mut file = connect(path).await?;
        migrate(Dialect::Sqlite, &mut file).await?;
        let tables = tables(&mut file).await?;
        let mut from = self.begin_read().await?;
        let mut to = file.begin_with("BEGIN IMMEDIATE").await?;
        copy_rows(&tables, &mut from, &mut to).await?;
        to.commit().await?;
        file.close().await?;
        Ok(())
    }

    /// Fills this registry, which must be empty, with what is in a file that [`Registry::copy_to`] wrote or that was a
    /// registry itself; the file is brought up to date first. All of it or nothing.
    pub async fn fill_from(&self, path: &Path) -> Result<(), Error> {
        // Opened as a registry first, so that only a registry of a version known here is taken.
        Registry::open(path).await?.close().await;
        let mut file = connect(path).await?;
        let tables = tables(&mut file).await?;
        let mut to = self.begin().await?;
        let sql = "SELECT (SELECT count(*) FROM people) + (SELECT max(number) FROM changes) AS held";
        if Reader(&sqlx::query(sql).fetch_one(&mut *to).await?).number("held")? > 0 {
            return Err(Error::NotEmpty);
        }
        copy_rows(&tables, &mut file, &mut to).await?;
        to.commit().await?;
        file.close().await?;
        Ok(())
    }
}

async fn connect(path: &Path) -> Result<AnyConnection, Error> {
    Ok(file_options(path, "rw")?.connect().await?)
}

/// Replaces what the tables of `to` hold by the rows of `from`.
async fn copy_rows(tables: &[Table], from: &mut AnyConnection, to: &mut AnyConnection) -> Result<(), Error> {
    // What migrations themselves put in.
    for table in tables.iter().rev() {
        sqlx::query(AssertSqlSafe(format!("DELETE FROM {}", table.name))).execute(&mut *to).await?;
    }
    for table in tables {
        let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
        let places: Vec<String> = (1..=names.len()).map(|number| format!("${number}")).collect();
        let (names, places) = (names.join(", "), places.join(", "));
        let insert = format!("INSERT INTO {} ({names}) VALUES ({places})", table.name);
        let select = format!("SELECT {names} FROM {}", table.name);
        let mut rows = sqlx::query(AssertSqlSafe(select)).fetch(&mut *from);
        while let Some(row) = rows.try_next().await? {
            copy_row(table, &row, insert.clone(), to).await?;
        }
    }
    Ok(())
}

async fn copy_row(table: &Table, row: &AnyRow, insert: String, to: &mut AnyConnection) -> Result<(), Error> {
    let mut query = sqlx::query(AssertSqlSafe(insert));
    for (index, column) in table.columns.iter().enumerate() {
        query = match column.holds {
            Holds::Integer => query.bind(row.try_get::<Option<i64>, _>(index)?),
            Holds::Text => query.bind(row.try_get::<Option<String>, _>(index)?),
            Holds::Bytes => query.bind(row.try_get::<Option<Vec<u8>>, _>(index)?),
        };
    }
    query.execute(&mut *to).await?;
    Ok(())
}

/// Returns the tables of a registry in SQLite, each after those that it refers to.
async fn tables(file: &mut AnyConnection) -> Result<Vec<Table>, Error> {
    let sql = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
               AND name <> '_sqlx_migrations' ORDER BY name";
    let rows = sqlx::query(sql).fetch_all(&mut *file).await?;
    let names = rows.iter().map(|row| Reader(row).text("name")).collect::<Result<Vec<_>, _>>()?;
    let mut waiting = Vec::new();
    for name in names {
        waiting.push(table(file, name).await?);
    }
    let mut ordered: Vec<Table> = Vec::new();
    while !waiting.is_empty() {
        let known = |parent: &String| ordered.iter().any(|table| table.name == *parent);
        let ready = waiting.iter().position(|table| table.parents.iter().all(known));
        // Tables that refer to each other in a circle could not be filled one after the other.
        let Some(ready) = ready else { return Err(Error::Damaged { column: "references" }) };
        ordered.push(waiting.remove(ready));
    }
    Ok(ordered)
}

async fn table(file: &mut AnyConnection, name: String) -> Result<Table, Error> {
    let rows =
        sqlx::query("SELECT name, type FROM pragma_table_info($1)").bind(&name).fetch_all(&mut *file).await?;
    let mut columns = Vec::new();
    for row in rows.iter().map(Reader) {
        let holds = match row.text("type")?.as_str() {
            "BIGINT" | "INTEGER" => Holds::Integer,
            "TEXT" => Holds::Text,
            "BLOB" => Holds::Bytes,
            _ => return Err(Error::Damaged { column: "type" }),
        };
        columns.push(Column { name: row.text("name")?, holds });
    }
    let sql = "SELECT \"table\" AS parent FROM pragma_foreign_key_list($1)";
    let rows = sqlx::query(sql).bind(&name).fetch_all(&mut *file).await?;
    let mut parents = Vec::new();
    for row in rows.iter().map(Reader) {
        let parent = row.text("parent")?;
        if parent != name {
            parents.push(parent);
        }
    }
    Ok(Table { name, columns, parents })
}
