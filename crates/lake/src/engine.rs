//! Questions to the files of the archive: which entries answer a search, and SQL over the documented tables.
//!
//! Nothing here is written, neither into the archive nor beside it: what does not fit into the memory that a question may
//! take ends it, because what would be put on disk to go on is not encrypted. Deliberately absent: what is not archived
//! yet; the caller adds it.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray as _, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::datasource::MemTable;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarUDF, Volatility, col, create_udf, lit};
use datafusion::prelude::{DataFrame, SessionConfig, SessionContext};
use futures_util::StreamExt as _;
use model::Patients;
use trail::{Found, Manifest, Question};
use xorf::{BinaryFuse8, BinaryFuse8Ref, DmaSerializable as _, Filter as _, FilterRef as _};

use crate::error::Error;
use crate::rows::{Batch, SCHEMA};
use crate::sealed::SealedStore;
use crate::unit::{EVENTS, FILTER, PATIENT_DAYS, PATIENTS, PEOPLE, PERSON_DAYS, key_of};

/// Where the engine finds the files.
const STORE: &str = "archive://log/";

/// What one question may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Memory for sorting, grouping and joining.
    pub memory_bytes_max: usize,
    /// From the question to its last row.
    pub time_max: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { memory_bytes_max: 1 << 30, time_max: Duration::from_secs(300) }
    }
}

/// Answers questions.
pub struct Engine {
    store: Arc<SealedStore>,
    limits: Limits,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Engine {
    /// Answers from the files of a store.
    pub fn new(store: Arc<SealedStore>, limits: Limits) -> Engine {
        Engine { store, limits }
    }

    fn session(&self) -> Result<SessionContext, Error> {
        let mut config = SessionConfig::new().with_information_schema(true);
        let options = config.options_mut();
        options.execution.parquet.pushdown_filters = true;
        options.execution.parquet.reorder_filters = true;
        options.execution.collect_statistics = false;
        let no_files = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_limit(self.limits.memory_bytes_max, 1.0)
            .with_disk_manager_builder(no_files)
            .build_arc()?;
        let session = SessionContext::new_with_config_rt(config, runtime);
        let url = ObjectStoreUrl::parse(STORE)?;
        let store: Arc<dyn object_store::ObjectStore> = Arc::<SealedStore>::clone(&self.store);
        session.register_object_store(url.as_ref(), store);
        session.register_udf(has());
        session.register_udf(by_agent());
        Ok(session)
    }

    /// Returns the table of one part of the files; `None` where there are none.
    fn table(
        session: &SessionContext,
        files: &[&Manifest],
        part: &str,
        schema: &SchemaRef,
    ) -> Result<Option<DataFrame>, Error> {
        if files.is_empty() {
            return Ok(None);
        }
        let url =
            |manifest: &&Manifest| ListingTableUrl::parse(format!("{STORE}{}", manifest.file_name(part)));
        let urls = files.iter().map(url).collect::<Result<Vec<_>, _>>()?;
        let options =
            ListingOptions::new(Arc::new(ParquetFormat::default())).with_file_extension(format!(".{part}"));
        let config = ListingTableConfig::new_with_multi_paths(urls)
            .with_listing_options(options)
            .with_schema(Arc::clone(schema));
        Ok(Some(session.read_table(Arc::new(ListingTable::try_new(config)?))?))
    }

    /// Returns the files that may have an entry that answers, and how many were left out.
    async fn may_have<'m>(
        &self,
        archive: &'m [Manifest],
        question: &Question,
    ) -> Result<Vec<&'m Manifest>, Error> {
        let Some(sought) = &question.patients else { return Ok(archive.iter().collect()) };
        let keys: Vec<u64> = sought.iter().map(|sought| key_of(sought.token)).collect();
        let mut files = Vec::new();
        for manifest in archive {
            let name = manifest.file_name(FILTER);
            let bytes = self.store.read(&name).await.map_err(DataFusionError::from)?;
            if bytes.is_empty() {
                continue;
            }
            let split = bytes.split_at_checked(BinaryFuse8::DESCRIPTOR_LEN);
            let (descriptor, fingerprints) = split.ok_or_else(|| Error::damaged(&name, "it is no filter"))?;
            let filter = BinaryFuse8Ref::from_dma(descriptor, fingerprints);
            if keys.iter().any(|key| filter.contains(key)) {
                files.push(manifest);
            }
        }
        Ok(files)
    }

    /// Calls with the archived entries that answer a question, in the order of the log; with `latest`, only with the last
    /// so many.
    ///
    /// # Errors
    /// When a file is damaged, a limit is reached, or the call fails.
    pub async fn search(
        &self,
        archive: &[Manifest],
        question: &Question,
        latest: Option<usize>,
        mut found: impl FnMut(&Found) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let work = async {
            let session = self.session()?;
            let files = self.may_have(archive, question).await?;
            let Some(table) = Self::table(&session, &files, EVENTS, &SCHEMA)? else { return Ok(()) };
            let table = table.filter(condition(question))?;
            let rows = match latest {
                // Rows of one entry are at most those of the patients sought.
                Some(count) => {
                    let sought = question.patients.as_ref().map_or(1, |sought| sought.len().max(1));
                    table
                        .sort(vec![col("index").sort(false, false)])?
                        .limit(0, Some(count.saturating_mul(sought)))?
                }
                None => table,
            };
            let rows = rows.sort(vec![col("index").sort(true, false), col("part").sort(true, false)])?;
            let mut stream = rows.execute_stream().await?;
            let mut pending: Option<Found> = None;
            while let Some(batch) = stream.next().await {
                let batch = batch?;
                for row in 0..batch.num_rows() {
                    let event = Batch(&batch).event(row)?;
                    match pending.take() {
                        Some(before) if before.index == event.index => {
                            pending = Some(together(before, &event))
                        }
                        Some(before) => {
                            found(&before)?;
                            pending = Some(event);
                        }
                        None => pending = Some(event),
                    }
                }
            }
            pending.as_ref().map_or(Ok(()), found)
        };
        self.in_time(work).await
    }

    /// Answers a query over the tables `events`, `person_days` and `patient_days`; nothing else can be said in it.
    ///
    /// # Errors
    /// When it is no query, a file is damaged, or a limit is reached.
    pub async fn sql(
        &self,
        archive: &[Manifest],
        recent: Vec<RecordBatch>,
        query: &str,
        mut rows: impl FnMut(&RecordBatch) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let work = async {
            let session = self.session()?;
            let files: Vec<&Manifest> = archive.iter().collect();
            let recent = MemTable::try_new(Arc::clone(&SCHEMA), vec![recent])?;
            let mut events = session.read_table(Arc::new(recent))?;
            if let Some(archived) = Self::table(&session, &files, EVENTS, &SCHEMA)? {
                events = archived.union(events)?;
            }
            session.register_table("events", events.into_view())?;
            for (name, part, schema) in
                [("person_days", PEOPLE, &*PERSON_DAYS), ("patient_days", PATIENTS, &*PATIENT_DAYS)]
            {
                let table = match Self::table(&session, &files, part, schema)? {
                    Some(table) => table,
                    None => session.read_batch(RecordBatch::new_empty(Arc::clone(schema)))?,
                };
                session.register_table(name, table.into_view())?;
            }
            let only_queries =
                SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
            let mut stream = session.sql_with_options(query, only_queries).await?.execute_stream().await?;
            let mut any = false;
            while let Some(batch) = stream.next().await {
                let batch = batch?;
                any |= batch.num_rows() > 0;
                rows(&batch)?;
            }
            if any { Ok(()) } else { rows(&RecordBatch::new_empty(stream.schema())) }
        };
        self.in_time(work).await
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let ended = tokio::time::timeout(self.limits.time_max, work).await;
        ended.unwrap_or(Err(Error::Timeout(self.limits.time_max.as_secs())))
    }
}

/// Two rows of one entry: of two patients who are both sought.
fn together(mut one: Found, other: &Found) -> Found {
    if one.whole {
        return one;
    }
    if other.whole {
        return other.clone();
    }
    if let (Some(first), Some(second)) = (&one.record.patients, &other.record.patients) {
        let mut tokens: Vec<_> = first.tokens().iter().chain(second.tokens()).copied().collect();
        tokens.sort_unstable();
        tokens.dedup();
        one.record.patients = Patients::new(first.year(), tokens, b"".as_slice().into());
    }
    one
}

/// Returns the condition on rows that [`Question::answers`] is on entries.
fn condition(question: &Question) -> Expr {
    let mut all: Vec<Expr> = Vec::new();
    match &question.patients {
        None => all.push(col("part").eq(lit(0_u32))),
        Some(sought) => {
            let years: HashSet<u16> = sought.iter().map(|sought| sought.year).collect();
            let of_year = |year: u16| {
                let tokens = sought.iter().filter(|sought| sought.year == year);
                let literal = |token: &[u8]| lit(ScalarValue::FixedSizeBinary(16, Some(token.to_vec())));
                let tokens = tokens.map(|sought| literal(&sought.token.0)).collect();
                col("token").in_list(tokens, false).and(col("token_year").eq(lit(year)))
            };
            all.push(years.into_iter().map(of_year).reduce(Expr::or).unwrap_or_else(|| lit(false)));
        }
    }
    let texts = [
        ("resource", &question.resource),
        ("kind", &question.kind),
        ("action", &question.action),
        ("command", &question.command),
        ("decision", &question.decision),
        ("purpose", &question.purpose),
    ];
    for (name, wanted) in texts {
        all.extend(wanted.as_ref().map(|wanted| col(name).eq(lit(wanted.as_str()))));
    }
    if let Some(person) = &question.person {
        all.push(col("person_name").eq(lit(person.as_str())).or(col("person").eq(lit(person.as_str()))));
    }
    if let Some(relation) = &question.relation {
        all.push(has().call(vec![col("objects"), lit(relation.as_str())]));
    }
    all.extend(question.rows_min.map(|least| col("rows").gt_eq(lit(least))));
    let time = |us: u64| {
        let us = i64::try_from(us).unwrap_or(i64::MAX);
        lit(ScalarValue::TimestampMicrosecond(Some(us), Some("UTC".into())))
    };
    all.extend(question.from_us.map(|from| col("at").gt_eq(time(from))));
    all.extend(question.to_us.map(|to| col("at").lt(time(to))));
    all.extend(question.unmasked.then(|| col("unmasked").is_not_null()));
    all.extend(question.unresolved.then(|| col("unresolved").is_not_null()));
    all.extend(question.emergency.then(|| col("emergency").is_not_null()));
    all.extend(question.agent.as_ref().map(|agent| by_agent().call(vec![col("agent"), lit(agent.as_str())])));
    all.into_iter().reduce(Expr::and).unwrap_or_else(|| lit(true))
}

/// Returns the function `by_agent(agent, text)`: whether the agents of an entry have one of a name or id.
fn by_agent() -> ScalarUDF {
    let body = |arguments: &[ColumnarValue]| -> datafusion::error::Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let wrong = || DataFusionError::Execution("`by_agent` takes two texts".to_owned());
        let [agents, wanted] = arrays.as_slice() else { return Err(wrong()) };
        let (agents, wanted) = (agents.as_string_opt::<i32>(), wanted.as_string_opt::<i32>());
        let (agents, wanted) = (agents.ok_or_else(wrong)?, wanted.ok_or_else(wrong)?);
        let named = |(agents, wanted): (Option<&str>, Option<&str>)| {
            Some(agents.zip(wanted).is_some_and(|(agents, wanted)| trail::names_agent(agents, wanted)))
        };
        let found: BooleanArray = agents.iter().zip(wanted.iter()).map(named).collect();
        Ok(ColumnarValue::Array(Arc::new(found) as ArrayRef))
    };
    let texts = vec![DataType::Utf8, DataType::Utf8];
    create_udf("by_agent", texts, DataType::Boolean, Volatility::Immutable, Arc::new(body))
}

/// Returns the function `has(list, text)`: whether a list of texts has one.
fn has() -> ScalarUDF {
    let list = DataType::List(Arc::new(Field::new("item", DataType::Utf8, true)));
    let body = |arguments: &[ColumnarValue]| -> datafusion::error::Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(arguments)?;
        let [lists, wanted] = arrays.as_slice() else {
            return Err(DataFusionError::Execution("`has` takes a list and a text".to_owned()));
        };
        let wrong = || DataFusionError::Execution("`has` takes a list of texts and a text".to_owned());
        let (lists, wanted) = (lists.as_list_opt::<i32>().ok_or_else(wrong)?, wanted.as_string_opt::<i32>());
        let wanted = wanted.ok_or_else(wrong)?;
        let found = (0..lists.len()).map(|row| {
            if lists.is_null(row) || wanted.is_null(row) {
                return Some(false);
            }
            let items = lists.value(row);
            let wanted = wanted.value(row);
            Some(items.as_string_opt::<i32>()?.iter().any(|item| item == Some(wanted)))
        });
        let found: BooleanArray = found.collect();
        Ok(ColumnarValue::Array(Arc::new(found) as ArrayRef))
    };
    create_udf("has", vec![list, DataType::Utf8], DataType::Boolean, Volatility::Immutable, Arc::new(body))
}
