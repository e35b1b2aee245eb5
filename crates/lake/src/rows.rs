//! Entries as rows, and back: one row for each patient that an entry names, one for an entry that names nobody.
//!
//! The first row of an entry (`part` 0) holds all of it, and gives back the canonical record; the others hold what is
//! searched for. `docs/formats/archive.md` has the columns.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray as _, BinaryBuilder, FixedSizeBinaryBuilder, Int64Builder, ListBuilder,
    RecordBatch, StringBuilder, TimestampMicrosecondBuilder, UInt16Builder, UInt32Builder, UInt64Builder,
};
use arrow::datatypes::{
    DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType, UInt16Type,
    UInt32Type, UInt64Type,
};
use model::{
    Action, Kind, Micros, OperationId, Outcome, PatientToken, Patients, PersonId, Phase, Record, SessionId,
    SqlState, Verdict,
};

use trail::Found;

use crate::error::Error;

/// The length of a patient's token.
pub(crate) const TOKEN_BYTES: usize = 16;

/// The columns that are stored without a dictionary: each value is another one.
pub(crate) const PLAIN: [&str; 6] = ["token", "index", "others", "sealed", "patients_sealed", "whole"];

/// The columns of the table `events`, in order.
pub static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let text = |name| Field::new(name, DataType::Utf8, true);
    let number = |name| Field::new(name, DataType::UInt64, true);
    let bytes = |name| Field::new(name, DataType::Binary, true);
    let list =
        |name| Field::new(name, DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))), true);
    Arc::new(Schema::new(vec![
        Field::new("token", DataType::FixedSizeBinary(16), true),
        Field::new("token_year", DataType::UInt16, true),
        Field::new("index", DataType::UInt64, false),
        Field::new("part", DataType::UInt32, false),
        Field::new("at", utc, false),
        Field::new("committed_after_us", DataType::Int64, false),
        Field::new("kind", DataType::Utf8, false),
        text("session"),
        number("operation"),
        text("phase"),
        text("person"),
        text("person_name"),
        text("address"),
        Field::new("port", DataType::UInt16, true),
        text("client"),
        text("resource"),
        text("action"),
        text("command"),
        text("statement"),
        list("objects"),
        text("decision"),
        list("policies"),
        number("policy_version"),
        number("rows"),
        number("bytes"),
        number("duration_us"),
        text("outcome"),
        text("sqlstate"),
        text("detail"),
        number("unresolved"),
        list("masked"),
        list("unmasked"),
        text("purpose"),
        text("sign_in"),
        text("agent"),
        number("emergency"),
        Field::new("patients", DataType::UInt32, true),
        bytes("others"),
        bytes("sealed"),
        bytes("patients_sealed"),
        bytes("whole"),
    ]))
});

/// What a row is sorted by: the token, those without one last, then the entry.
pub(crate) type SortKey = (bool, [u8; TOKEN_BYTES], u64);

/// Makes batches of rows.
#[derive(Debug)]
pub(crate) struct Rows {
    token: FixedSizeBinaryBuilder,
    token_year: UInt16Builder,
    index: UInt64Builder,
    part: UInt32Builder,
    at: TimestampMicrosecondBuilder,
    committed_after_us: Int64Builder,
    /// kind, session, phase, person, person_name, address, client, resource, action, command, statement, decision,
    /// outcome, sqlstate, detail, purpose, sign_in, agent
    texts: [StringBuilder; 18],
    port: UInt16Builder,
    /// operation, policy_version, rows, bytes, duration_us, unresolved, emergency
    numbers: [UInt64Builder; 7],
    /// objects, policies, masked, unmasked
    lists: [ListBuilder<StringBuilder>; 4],
    patients: UInt32Builder,
    /// others, sealed, patients_sealed, whole
    bytes: [BinaryBuilder; 4],
}

impl Rows {
    pub(crate) fn new() -> Rows {
        Rows {
            token: FixedSizeBinaryBuilder::new(16),
            token_year: UInt16Builder::new(),
            index: UInt64Builder::new(),
            part: UInt32Builder::new(),
            at: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            committed_after_us: Int64Builder::new(),
            texts: Default::default(),
            port: UInt16Builder::new(),
            numbers: Default::default(),
            lists: Default::default(),
            patients: UInt32Builder::new(),
            bytes: Default::default(),
        }
    }

    /// Appends one row: of a patient, by their place among those that the entry names, or of an entry without any.
    pub(crate) fn push(&mut self, event: &Found, part: usize) -> Result<(), Error> {
        let record = &event.record;
        let tokens = record.patients.as_ref().map_or(&[][..], Patients::tokens);
        match tokens.get(part) {
            Some(token) => self.token.append_value(token.0)?,
            None => self.token.append_null(),
        }
        self.token_year.append_option(record.patients.as_ref().map(Patients::year));
        self.index.append_value(event.index);
        self.part.append_value(u32::try_from(part).unwrap_or(u32::MAX));
        // Times beyond 2^63 are no times; such a record is kept whole.
        self.at.append_value(i64::try_from(record.at.0).unwrap_or(i64::MAX));
        self.committed_after_us.append_value(event.time_us.wrapping_sub(record.at.0).cast_signed());
        self.port.append_option(record.port);
        self.patients.append_option(u32::try_from(tokens.len()).ok().filter(|count| *count > 0));
        self.push_texts(record);
        self.push_numbers(record);
        self.push_lists(record);
        self.push_bytes(event, part)
    }

    fn push_texts(&mut self, record: &Record<'_>) {
        let state = match record.outcome {
            Some(Outcome::Failed(state)) => Some(state.text()),
            Some(Outcome::Completed | Outcome::Refused | Outcome::Unknown) | None => None,
        };
        let own = [
            record.session.map(|id| id.to_string()),
            record.person.map(|id| id.to_string()),
            record.address.map(|address| address.to_string()),
            state,
        ];
        let [session, person, address, state] = own.each_ref().map(Option::as_deref);
        let values = [
            Some(record.kind.name()),
            session,
            record.phase.map(Phase::name),
            person,
            record.person_name.as_deref(),
            address,
            record.client.as_deref(),
            record.resource.as_deref(),
            record.action.map(Action::name),
            record.command.as_deref(),
            record.statement.as_deref(),
            record.verdict.map(verdict_name),
            record.outcome.map(Outcome::name),
            state,
            record.detail.as_deref(),
            record.purpose.as_deref(),
            record.sign_in.as_deref(),
            record.agent.as_deref(),
        ];
        self.texts.iter_mut().zip(values).for_each(|(builder, value)| builder.append_option(value));
    }

    fn push_numbers(&mut self, record: &Record<'_>) {
        let values = [
            record.operation.map(|id| id.0),
            record.policy_version,
            record.rows,
            record.bytes,
            record.duration_us,
            record.unresolved,
            record.emergency,
        ];
        self.numbers.iter_mut().zip(values).for_each(|(builder, value)| builder.append_option(value));
    }

    fn push_lists(&mut self, record: &Record<'_>) {
        let lists = [&record.objects, &record.policies, &record.masked, &record.unmasked];
        for (builder, items) in self.lists.iter_mut().zip(lists) {
            items.iter().for_each(|item| builder.values().append_value(item));
            builder.append(!items.is_empty());
        }
    }

    fn push_bytes(&mut self, event: &Found, part: usize) -> Result<(), Error> {
        let record = &event.record;
        let [others, sealed, patients_sealed, whole] = &mut self.bytes;
        if part > 0 {
            [others, sealed, patients_sealed, whole].into_iter().for_each(BinaryBuilder::append_null);
            return Ok(());
        }
        let tokens =
            record.patients.as_ref().and_then(|patients| patients.tokens().get(1..)).unwrap_or_default();
        let tokens: Vec<u8> = tokens.iter().flat_map(|token| token.0).collect();
        others.append_option(Some(tokens).filter(|tokens| !tokens.is_empty()));
        sealed.append_option(record.sealed.as_deref());
        patients_sealed.append_option(record.patients.as_ref().map(Patients::sealed));
        whole.append_option(beyond_columns(record)?);
        Ok(())
    }

    /// Returns how many rows there are.
    pub(crate) fn len(&self) -> usize {
        arrow::array::ArrayBuilder::len(&self.index)
    }

    /// Returns the rows as a batch, and begins anew.
    pub(crate) fn finish(&mut self) -> Result<RecordBatch, Error> {
        let mut texts = self.texts.iter_mut().map(|builder| Arc::new(builder.finish()) as ArrayRef);
        let mut numbers = self.numbers.iter_mut().map(|builder| Arc::new(builder.finish()) as ArrayRef);
        let mut lists = self.lists.iter_mut().map(|builder| Arc::new(builder.finish()) as ArrayRef);
        let mut bytes = self.bytes.iter_mut().map(|builder| Arc::new(builder.finish()) as ArrayRef);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(SCHEMA.fields().len());
        for field in SCHEMA.fields() {
            let column: Option<ArrayRef> = match field.name().as_str() {
                "token" => Some(Arc::new(self.token.finish())),
                "token_year" => Some(Arc::new(self.token_year.finish())),
                "index" => Some(Arc::new(self.index.finish())),
                "part" => Some(Arc::new(self.part.finish())),
                "at" => Some(Arc::new(self.at.finish())),
                "committed_after_us" => Some(Arc::new(self.committed_after_us.finish())),
                "port" => Some(Arc::new(self.port.finish())),
                "patients" => Some(Arc::new(self.patients.finish())),
                _ => match field.data_type() {
                    DataType::Utf8 => texts.next(),
                    DataType::UInt64 => numbers.next(),
                    DataType::List(_) => lists.next(),
                    _ => bytes.next(),
                },
            };
            columns.extend(column);
        }
        Ok(RecordBatch::try_new(Arc::clone(&SCHEMA), columns)?)
    }
}

/// Returns the canonical record where the columns alone do not give it: a field that has no column, or a value that is
/// not in its usual form.
fn beyond_columns(record: &Record<'_>) -> Result<Option<Vec<u8>>, Error> {
    let mut canonical = Vec::new();
    let too_large = |_| Error::damaged("the record", "it is longer than a record may be");
    trail::encode(record, &mut canonical).map_err(too_large)?;
    let mut columns = Vec::new();
    trail::encode(&of_columns(record), &mut columns).map_err(too_large)?;
    Ok(if columns == canonical { None } else { Some(canonical) })
}

/// Returns of a record what the columns hold.
pub(crate) fn of_columns<'r>(record: &'r Record<'r>) -> Record<'r> {
    let texts = |list: &'r [Cow<'r, str>]| list.iter().map(|text| Cow::Borrowed(&**text)).collect();
    let text = |text: &'r Option<Cow<'r, str>>| text.as_deref().map(Cow::Borrowed);
    let plain_state = |outcome| match outcome {
        Outcome::Failed(state) => state_of(&state.text()).map(Outcome::Failed),
        Outcome::Completed | Outcome::Refused | Outcome::Unknown => Some(outcome),
    };
    let address = |address: IpAddr| address.to_string().parse().ok();
    let at = if i64::try_from(record.at.0).is_ok() { record.at } else { Micros(0) };
    Record {
        session: record.session,
        operation: record.operation,
        phase: record.phase,
        person: record.person,
        person_name: text(&record.person_name),
        address: record.address.and_then(address),
        port: record.port,
        client: text(&record.client),
        resource: text(&record.resource),
        action: record.action,
        command: text(&record.command),
        statement: text(&record.statement),
        sealed: record.sealed.as_deref().map(Cow::Borrowed),
        objects: texts(&record.objects),
        verdict: record.verdict,
        policies: texts(&record.policies),
        policy_version: record.policy_version,
        rows: record.rows,
        bytes: record.bytes,
        duration_us: record.duration_us,
        outcome: record.outcome.and_then(plain_state),
        detail: text(&record.detail),
        patients: record.patients.clone(),
        unresolved: record.unresolved,
        masked: texts(&record.masked),
        unmasked: texts(&record.unmasked),
        purpose: text(&record.purpose),
        sign_in: text(&record.sign_in),
        agent: text(&record.agent),
        emergency: record.emergency,
        ..Record::new(record.kind, at)
    }
}

fn state_of(text: &str) -> Option<SqlState> {
    text.as_bytes().try_into().ok().map(SqlState)
}

fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
    }
}

/// The rows of a batch, to be read back.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'b>(pub &'b RecordBatch);

impl Batch<'_> {
    fn column(&self, name: &str) -> Result<&dyn Array, Error> {
        let column = self.0.column_by_name(name).ok_or_else(|| malformed("a column is missing"))?;
        Ok(&**column)
    }

    pub(crate) fn text(&self, name: &str, row: usize) -> Result<Option<&str>, Error> {
        let column = self.column(name)?;
        if column.is_null(row) {
            return Ok(None);
        }
        match column.data_type() {
            DataType::Utf8View => Ok(column.as_string_view_opt().map(|column| column.value(row))),
            _ => Ok(column.as_string_opt::<i32>().map(|column| column.value(row))),
        }
    }

    fn bytes(&self, name: &str, row: usize) -> Result<Option<&[u8]>, Error> {
        let column = self.column(name)?;
        if column.is_null(row) {
            return Ok(None);
        }
        match column.data_type() {
            DataType::BinaryView => Ok(column.as_binary_view_opt().map(|column| column.value(row))),
            DataType::FixedSizeBinary(_) => {
                Ok(column.as_fixed_size_binary_opt().map(|column| column.value(row)))
            }
            _ => Ok(column.as_binary_opt::<i32>().map(|column| column.value(row))),
        }
    }

    pub(crate) fn number<T: arrow::datatypes::ArrowPrimitiveType>(
        &self,
        name: &str,
        row: usize,
    ) -> Result<Option<T::Native>, Error> {
        let column = self
            .column(name)?
            .as_primitive_opt::<T>()
            .ok_or_else(|| malformed("a column has another type"))?;
        Ok((!column.is_null(row)).then(|| column.value(row)))
    }

    fn list(&self, name: &str, row: usize) -> Result<Vec<Cow<'static, str>>, Error> {
        let column = self.column(name)?;
        if column.is_null(row) {
            return Ok(Vec::new());
        }
        let column = column.as_list_opt::<i32>().ok_or_else(|| malformed("a column has another type"))?;
        let items = column.value(row);
        let owned = |text: Option<&str>| Cow::Owned(text.unwrap_or_default().to_owned());
        if let Some(items) = items.as_string_view_opt() {
            return Ok(items.iter().map(owned).collect());
        }
        let items = items.as_string_opt::<i32>().ok_or_else(|| malformed("a column has another type"))?;
        Ok(items.iter().map(owned).collect())
    }

    fn named<T>(
        &self,
        name: &str,
        row: usize,
        all: &[T],
        of: impl Fn(&T) -> &'static str,
    ) -> Result<Option<T>, Error>
    where
        T: Copy,
    {
        let Some(text) = self.text(name, row)? else { return Ok(None) };
        let found = all.iter().find(|item| of(item) == text).copied();
        found.map(Some).ok_or_else(|| malformed("a value is none of those there are"))
    }

    /// Returns what a row is sorted by.
    pub(crate) fn sort_key(&self, row: usize) -> Result<SortKey, Error> {
        let token = self.token(row)?;
        let index = self.number::<UInt64Type>("index", row)?.unwrap_or_default();
        Ok((token.is_none(), token.map_or([0; TOKEN_BYTES], |token| token.0), index))
    }

    pub(crate) fn token(&self, row: usize) -> Result<Option<PatientToken>, Error> {
        let token = self.bytes("token", row)?.map(<[u8; TOKEN_BYTES]>::try_from);
        token
            .transpose()
            .map(|token| token.map(PatientToken))
            .map_err(|_| malformed("a token has another length"))
    }

    /// Returns the place of a row among those of its entry.
    pub(crate) fn part(&self, row: usize) -> Result<u32, Error> {
        Ok(self.number::<UInt32Type>("part", row)?.unwrap_or_default())
    }

    /// Reads a row back.
    ///
    /// # Errors
    /// When the batch is not of rows of the archive.
    pub fn event(&self, row: usize) -> Result<Found, Error> {
        let index =
            self.number::<UInt64Type>("index", row)?.ok_or_else(|| malformed("a row has no index"))?;
        let at = self.number::<TimestampMicrosecondType>("at", row)?.unwrap_or_default();
        let after = self.number::<Int64Type>("committed_after_us", row)?.unwrap_or_default();
        let whole = self.part(row)? == 0;
        let patients = self.number::<UInt32Type>("patients", row)?.unwrap_or_default();
        let (record, at_us) = match self.bytes("whole", row)? {
            Some(canonical) => {
                let record = trail::decode(canonical).map_err(|_| malformed("a record is not one"))?;
                let at = record.at.0;
                (record, at)
            }
            None => (self.record(row, at)?, at.cast_unsigned()),
        };
        Ok(Found { index, time_us: at_us.wrapping_add_signed(after), record, whole, patients })
    }

    fn record(&self, row: usize, at: i64) -> Result<Record<'static>, Error> {
        let owned = |name| Ok::<_, Error>(self.text(name, row)?.map(|text| Cow::Owned(text.to_owned())));
        let number = |name| self.number::<UInt64Type>(name, row);
        let id = |name| {
            let text = self.text(name, row)?;
            let id = text.map(|text| u128::from_str_radix(text, 16)).transpose();
            id.map_err(|_| malformed("an id is not one"))
        };
        let address = self.text("address", row)?.map(str::parse).transpose();
        let kind = self.named("kind", row, &Kind::ALL, |kind| kind.name())?;
        let verdicts = [Verdict::Allow, Verdict::Deny];
        Ok(Record {
            session: id("session")?.map(SessionId),
            operation: number("operation")?.map(OperationId),
            phase: self.named("phase", row, &Phase::ALL, |phase| phase.name())?,
            person: id("person")?.map(PersonId),
            person_name: owned("person_name")?,
            address: address.map_err(|_| malformed("an address is not one"))?,
            port: self.number::<UInt16Type>("port", row)?,
            client: owned("client")?,
            resource: owned("resource")?,
            action: self.named("action", row, &Action::ALL, |action| action.name())?,
            command: owned("command")?,
            statement: owned("statement")?,
            sealed: self.bytes("sealed", row)?.map(|sealed| Cow::Owned(sealed.to_owned())),
            objects: self.list("objects", row)?,
            verdict: self.named("decision", row, &verdicts, |verdict| verdict_name(*verdict))?,
            policies: self.list("policies", row)?,
            policy_version: number("policy_version")?,
            rows: number("rows")?,
            bytes: number("bytes")?,
            duration_us: number("duration_us")?,
            outcome: self.outcome(row)?,
            detail: owned("detail")?,
            patients: self.patients(row)?,
            unresolved: number("unresolved")?,
            masked: self.list("masked", row)?,
            unmasked: self.list("unmasked", row)?,
            purpose: owned("purpose")?,
            sign_in: owned("sign_in")?,
            agent: owned("agent")?,
            emergency: number("emergency")?,
            ..Record::new(kind.ok_or_else(|| malformed("a row has no kind"))?, Micros(at.cast_unsigned()))
        })
    }

    fn outcome(&self, row: usize) -> Result<Option<Outcome>, Error> {
        let outcome = match self.text("outcome", row)? {
            None => return Ok(None),
            Some("completed") => Outcome::Completed,
            Some("refused") => Outcome::Refused,
            Some("unknown") => Outcome::Unknown,
            Some("failed") => {
                let state = self.text("sqlstate", row)?.and_then(state_of);
                Outcome::Failed(state.ok_or_else(|| malformed("an SQLSTATE is not one"))?)
            }
            Some(_) => return Err(malformed("a value is none of those there are")),
        };
        Ok(Some(outcome))
    }

    fn patients(&self, row: usize) -> Result<Option<Patients<'static>>, Error> {
        let Some(token) = self.token(row)? else { return Ok(None) };
        let year = self.number::<UInt16Type>("token_year", row)?.unwrap_or_default();
        let others = self.bytes("others", row)?.unwrap_or_default().as_chunks::<TOKEN_BYTES>().0;
        let tokens = std::iter::once(token).chain(others.iter().copied().map(PatientToken)).collect();
        let sealed = self.bytes("patients_sealed", row)?.unwrap_or_default().to_owned();
        let patients = Patients::new(year, tokens, Cow::Owned(sealed));
        patients.map(Some).ok_or_else(|| malformed("tokens are not in order"))
    }
}

fn malformed(problem: &'static str) -> Error {
    Error::damaged("a row", problem)
}

/// Returns entries as batches of rows, in their order.
///
/// # Errors
/// When an entry is none that a record can be.
pub fn batches(events: impl Iterator<Item = Found>, rows_max: usize) -> Result<Vec<RecordBatch>, Error> {
    let (mut rows, mut batches) = (Rows::new(), Vec::new());
    for event in events {
        let named = event.record.patients.as_ref().map_or(1, |patients| patients.tokens().len());
        for part in 0..named {
            rows.push(&event, part)?;
            if rows.len() >= rows_max {
                batches.push(rows.finish()?);
            }
        }
    }
    batches.push(rows.finish()?);
    Ok(batches)
}
