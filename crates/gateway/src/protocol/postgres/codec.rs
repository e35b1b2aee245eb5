//! Bytes ↔ messages of the PostgreSQL frontend/backend protocol 3.0 and 3.2. Bounded and pure.
//!
//! Source: PostgreSQL documentation, chapter "Frontend/Backend Protocol", sections "Message Formats" and
//! "Error and Notice Message Fields". Deliberately absent: what a message means for the session
//! (`track`), and row contents, which pass through as they came.

use phi::Format;

/// Why bytes are not a message of this protocol. Ends the session: there is no resynchronising.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    /// The first byte names no message of this direction.
    #[error("unknown message type 0x{0:02x}")]
    Kind(u8),
    /// A length below the minimum or negative.
    #[error("message length {0} is not possible")]
    Length(i32),
    /// Longer than the limit for its kind.
    #[error("message of {length} bytes exceeds the limit of {limit}")]
    TooLong {
        /// What it said.
        length: usize,
        /// What is allowed.
        limit: usize,
    },
    /// A field overruns its message, or bytes are left over.
    #[error("message {0} does not have the documented layout")]
    Layout(&'static str),
}

/// Messages a client may send after the start-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Front {
    Bind,
    Close,
    CopyData,
    CopyDone,
    CopyFail,
    Describe,
    Execute,
    Flush,
    FunctionCall,
    Parse,
    Password,
    Query,
    Sync,
    Terminate,
}

impl Front {
    fn from_byte(byte: u8) -> Option<Front> {
        Some(match byte {
            b'B' => Front::Bind,
            b'C' => Front::Close,
            b'd' => Front::CopyData,
            b'c' => Front::CopyDone,
            b'f' => Front::CopyFail,
            b'D' => Front::Describe,
            b'E' => Front::Execute,
            b'H' => Front::Flush,
            b'F' => Front::FunctionCall,
            b'P' => Front::Parse,
            b'p' => Front::Password,
            b'Q' => Front::Query,
            b'S' => Front::Sync,
            b'X' => Front::Terminate,
            _ => return None,
        })
    }
}

/// Messages a server may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Back {
    Authentication,
    BackendKeyData,
    BindComplete,
    CloseComplete,
    CommandComplete,
    CopyBothResponse,
    CopyData,
    CopyDone,
    CopyInResponse,
    CopyOutResponse,
    DataRow,
    EmptyQueryResponse,
    ErrorResponse,
    FunctionCallResponse,
    NegotiateProtocolVersion,
    NoData,
    NoticeResponse,
    NotificationResponse,
    ParameterDescription,
    ParameterStatus,
    ParseComplete,
    PortalSuspended,
    ReadyForQuery,
    RowDescription,
}

impl Back {
    fn from_byte(byte: u8) -> Option<Back> {
        Some(match byte {
            b'R' => Back::Authentication,
            b'K' => Back::BackendKeyData,
            b'2' => Back::BindComplete,
            b'3' => Back::CloseComplete,
            b'C' => Back::CommandComplete,
            b'W' => Back::CopyBothResponse,
            b'd' => Back::CopyData,
            b'c' => Back::CopyDone,
            b'G' => Back::CopyInResponse,
            b'H' => Back::CopyOutResponse,
            b'D' => Back::DataRow,
            b'I' => Back::EmptyQueryResponse,
            b'E' => Back::ErrorResponse,
            b'V' => Back::FunctionCallResponse,
            b'v' => Back::NegotiateProtocolVersion,
            b'n' => Back::NoData,
            b'N' => Back::NoticeResponse,
            b'A' => Back::NotificationResponse,
            b't' => Back::ParameterDescription,
            b'S' => Back::ParameterStatus,
            b'1' => Back::ParseComplete,
            b's' => Back::PortalSuspended,
            b'Z' => Back::ReadyForQuery,
            b'T' => Back::RowDescription,
            _ => return None,
        })
    }

    /// Returns whether the body may pass in pieces, so that its size costs no memory.
    pub(crate) fn streams(self) -> bool {
        matches!(self, Back::DataRow | Back::CopyData)
    }
}

/// The length of a message's type byte and length field.
pub(crate) const HEADER: usize = 5;

/// A header: the kind, and the whole message's length including the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header<K> {
    pub(crate) kind: K,
    pub(crate) length: usize,
}

/// Reads a client's message header; `None` when fewer than five bytes are there.
///
/// # Errors
/// When the type is unknown, or the length impossible or over `limit` (`CopyData` may pass in pieces and
/// has no limit but the protocol's own).
pub(crate) fn front_header(bytes: &[u8], limit: usize) -> Result<Option<Header<Front>>, Malformed> {
    let Some((byte, length)) = raw_header(bytes)? else { return Ok(None) };
    let kind = Front::from_byte(byte).ok_or(Malformed::Kind(byte))?;
    if kind != Front::CopyData && length > limit {
        return Err(Malformed::TooLong { length, limit });
    }
    Ok(Some(Header { kind, length }))
}

/// Reads a server's message header; `None` when fewer than five bytes are there.
///
/// # Errors
/// As [`front_header`]; `DataRow` and `CopyData` may pass in pieces.
pub(crate) fn back_header(bytes: &[u8], limit: usize) -> Result<Option<Header<Back>>, Malformed> {
    let Some((byte, length)) = raw_header(bytes)? else { return Ok(None) };
    let kind = Back::from_byte(byte).ok_or(Malformed::Kind(byte))?;
    if !kind.streams() && length > limit {
        return Err(Malformed::TooLong { length, limit });
    }
    Ok(Some(Header { kind, length }))
}

fn raw_header(bytes: &[u8]) -> Result<Option<(u8, usize)>, Malformed> {
    let Some((byte, rest)) = bytes.split_first() else { return Ok(None) };
    let Some(length) = rest.first_chunk::<4>() else { return Ok(None) };
    let length = i32::from_be_bytes(*length);
    let body = usize::try_from(length).ok().filter(|l| *l >= 4).ok_or(Malformed::Length(length))?;
    Ok(Some((*byte, body + 1)))
}

/// Counts the whole messages of one kind at the start of `bytes`, and their length together. What follows them, be it
/// malformed, is for [`back_header`] to say.
pub(crate) fn together(bytes: &[u8], kind: Back) -> (u64, usize) {
    let (mut count, mut length) = (0, 0);
    while let Some(rest) = bytes.get(length..)
        && let Ok(Some((byte, next))) = raw_header(rest)
        && Back::from_byte(byte) == Some(kind)
        && next <= rest.len()
    {
        count += 1;
        length += next;
    }
    (count, length)
}

/// A cursor over one message's body; every read is bounded by the message.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    message: &'static str,
}

impl<'a> Fields<'a> {
    /// Starts after the header of `frame`.
    pub(crate) fn of(frame: &'a [u8], message: &'static str) -> Fields<'a> {
        Fields { rest: frame.get(HEADER..).unwrap_or_default(), message }
    }

    /// Starts at the first byte of `body`.
    pub(crate) fn within(body: &'a [u8], message: &'static str) -> Fields<'a> {
        Fields { rest: body, message }
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        let (byte, rest) = self.rest.split_first().ok_or(Malformed::Layout(self.message))?;
        self.rest = rest;
        Ok(*byte)
    }

    pub(crate) fn i16(&mut self) -> Result<i16, Malformed> {
        Ok(i16::from_be_bytes(*self.chunk::<2>()?))
    }

    pub(crate) fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(*self.chunk::<4>()?))
    }

    fn chunk<const N: usize>(&mut self) -> Result<&'a [u8; N], Malformed> {
        let (chunk, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Layout(self.message))?;
        self.rest = rest;
        Ok(chunk)
    }

    /// Reads bytes up to a NUL, without it.
    pub(crate) fn cstr(&mut self) -> Result<&'a [u8], Malformed> {
        let at = self.rest.iter().position(|b| *b == 0).ok_or(Malformed::Layout(self.message))?;
        let (text, rest) = self.rest.split_at_checked(at).ok_or(Malformed::Layout(self.message))?;
        self.rest = rest.get(1..).unwrap_or_default();
        Ok(text)
    }

    /// Reads a 16-bit count. The chapter says `Int16`; PostgreSQL and its clients read it without a sign, so that a
    /// statement may have 65,535 parameters.
    pub(crate) fn count(&mut self) -> Result<usize, Malformed> {
        Ok(usize::from(self.i16()?.cast_unsigned()))
    }

    /// Reads a 32-bit length and that many bytes; `None` for -1 (NULL).
    pub(crate) fn value(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let length = self.i32()?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| Malformed::Layout(self.message))?;
        self.bytes(length).map(Some)
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed::Layout(self.message))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// # Errors
    /// When bytes are left over.
    pub(crate) fn end(self) -> Result<(), Malformed> {
        if self.rest.is_empty() { Ok(()) } else { Err(Malformed::Layout(self.message)) }
    }
}

/// A statement or a portal, as `Describe` and `Close` name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    Statement(&'a [u8]),
    Portal(&'a [u8]),
}

/// Reads the text of `Query`.
pub(crate) fn query(frame: &[u8]) -> Result<&[u8], Malformed> {
    let mut fields = Fields::of(frame, "Query");
    let text = fields.cstr()?;
    fields.end()?;
    Ok(text)
}

/// A `Parse`: the statement's name and text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parse<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) text: &'a [u8],
    /// A parameter is given a type that did not come with PostgreSQL.
    pub(crate) user_types: bool,
    types: &'a [u8],
}

impl<'a> Parse<'a> {
    /// Returns the types given to parameters, 0 for one that the resource is to find out.
    pub(crate) fn types(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.types.as_chunks::<4>().0.iter().map(|oid| u32::from_be_bytes(*oid))
    }
}

/// Reads a `Parse`.
pub(crate) fn parse(frame: &[u8]) -> Result<Parse<'_>, Malformed> {
    const FIRST_USER_OID: u32 = 16384;
    let mut fields = Fields::of(frame, "Parse");
    let name = fields.cstr()?;
    let text = fields.cstr()?;
    let count = fields.count()?;
    let mut parse = Parse { name, text, user_types: false, types: fields.bytes(count * 4)? };
    fields.end()?;
    parse.user_types = parse.types().any(|oid| oid >= FIRST_USER_OID);
    Ok(parse)
}

/// A `Bind`: the portal it makes, the statement it takes, and where its parameters are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bind<'a> {
    pub(crate) portal: &'a [u8],
    pub(crate) statement: &'a [u8],
    /// Format codes, parameter count and parameters, as on the wire.
    pub(crate) parameters: &'a [u8],
    pub(crate) parameter_count: usize,
    /// The format codes wanted of the result: none for all text, one for all columns, or one each.
    pub(crate) results: Results<'a>,
}

/// Format codes of result columns, as on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Results<'a>(&'a [u8]);

impl Results<'_> {
    pub(crate) fn codes(self) -> Vec<i16> {
        self.0
            .chunks_exact(2)
            .filter_map(|code| code.first_chunk().copied().map(i16::from_be_bytes))
            .collect()
    }
}

/// Reads a `Bind`, walking every parameter.
pub(crate) fn bind(frame: &[u8]) -> Result<Bind<'_>, Malformed> {
    let mut fields = Fields::of(frame, "Bind");
    let portal = fields.cstr()?;
    let statement = fields.cstr()?;
    let from = fields.rest;
    let formats = fields.count()?;
    fields.bytes(formats * 2)?;
    let parameter_count = fields.count()?;
    for _ in 0..parameter_count {
        fields.value()?;
    }
    let length = from.len() - fields.rest.len();
    let parameters = from.get(..length).unwrap_or_default();
    let results = fields.count()?;
    let results = Results(fields.bytes(results * 2)?);
    fields.end()?;
    Ok(Bind { portal, statement, parameters, parameter_count, results })
}

/// Returns the format code and the value of one of a `Bind`'s parameters, counted from 0; `None` where it is NULL or there
/// is no such parameter. `parameters` is [`Bind::parameters`].
pub(crate) fn parameter(parameters: &[u8], at: usize) -> Result<Option<(i16, &[u8])>, Malformed> {
    let mut fields = Fields { rest: parameters, message: "Bind" };
    if parameters.is_empty() {
        return Ok(None);
    }
    let formats = fields.count()?;
    let codes = fields.bytes(formats * 2)?.as_chunks::<2>().0;
    let format = match codes {
        [] => 0,
        [all] => i16::from_be_bytes(*all),
        each => each.get(at).map_or(0, |code| i16::from_be_bytes(*code)),
    };
    for _ in 0..fields.count()?.min(at) {
        fields.value()?;
    }
    if fields.rest.is_empty() {
        return Ok(None);
    }
    Ok(fields.value()?.map(|value| (format, value)))
}

/// Returns what a format code says.
pub(crate) fn format_of(code: i16, message: &'static str) -> Result<Format, Malformed> {
    match code {
        0 => Ok(Format::Text),
        1 => Ok(Format::Binary),
        _ => Err(Malformed::Layout(message)),
    }
}

/// Returns how the value at a place of a row is written: no code means text, one is for all.
pub(crate) fn format_at(formats: &[i16], at: usize) -> Result<Format, Malformed> {
    match formats {
        [] => Ok(Format::Text),
        [all] => format_of(*all, "DataRow"),
        each => format_of(*each.get(at).ok_or(Malformed::Layout("DataRow"))?, "DataRow"),
    }
}

/// Reads the portal of `Execute`; the row limit passes through.
pub(crate) fn execute(frame: &[u8]) -> Result<&[u8], Malformed> {
    let mut fields = Fields::of(frame, "Execute");
    let portal = fields.cstr()?;
    fields.i32()?;
    fields.end()?;
    Ok(portal)
}

/// Reads what `Describe` or `Close` is about.
pub(crate) fn target<'a>(frame: &'a [u8], message: &'static str) -> Result<Target<'a>, Malformed> {
    let mut fields = Fields::of(frame, message);
    let kind = fields.u8()?;
    let name = fields.cstr()?;
    fields.end()?;
    match kind {
        b'S' => Ok(Target::Statement(name)),
        b'P' => Ok(Target::Portal(name)),
        _ => Err(Malformed::Layout(message)),
    }
}

/// A column of a `RowDescription`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a [u8],
    /// The stored column it is, where it is one: the relation's OID and the column's number.
    pub(crate) column: Option<(u32, i16)>,
    pub(crate) type_oid: u32,
    pub(crate) modifier: i32,
}

/// Reads a `RowDescription`.
pub(crate) fn row_description(frame: &[u8]) -> Result<Vec<Field<'_>>, Malformed> {
    let mut fields = Fields::of(frame, "RowDescription");
    let count = fields.count()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        let name = fields.cstr()?;
        let (relation, number) = (fields.i32()?.cast_unsigned(), fields.i16()?);
        let type_oid = fields.i32()?.cast_unsigned();
        fields.i16()?;
        let modifier = fields.i32()?;
        fields.i16()?;
        let column = (relation != 0).then_some((relation, number));
        columns.push(Field { name, column, type_oid, modifier });
    }
    fields.end()?;
    Ok(columns)
}

/// Reads the number of values of a `DataRow`, and returns the values to be read one by one.
pub(crate) fn data_row(frame: &[u8]) -> Result<(usize, Fields<'_>), Malformed> {
    let mut fields = Fields::of(frame, "DataRow");
    let count = fields.count()?;
    Ok((count, fields))
}

/// Reads whether a `CopyOutResponse` announces binary data, and how many columns.
pub(crate) fn copy_response(frame: &[u8]) -> Result<(bool, usize), Malformed> {
    let mut fields = Fields::of(frame, "CopyOutResponse");
    let binary = match fields.u8()? {
        0 => false,
        1 => true,
        _ => return Err(Malformed::Layout("CopyOutResponse")),
    };
    let columns = fields.count()?;
    fields.bytes(columns * 2)?;
    fields.end()?;
    Ok((binary, columns))
}

/// Reads the function's OID of `FunctionCall` and returns it with the rest of the body.
pub(crate) fn function_call(frame: &[u8]) -> Result<(u32, &[u8]), Malformed> {
    let mut fields = Fields::of(frame, "FunctionCall");
    let oid = fields.i32()?.cast_unsigned();
    Ok((oid, fields.rest()))
}

/// Transaction status of `ReadyForQuery`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Idle,
    InTransaction,
    Failed,
}

/// Reads the status of `ReadyForQuery`.
pub(crate) fn ready(frame: &[u8]) -> Result<Status, Malformed> {
    let mut fields = Fields::of(frame, "ReadyForQuery");
    let byte = fields.u8()?;
    fields.end()?;
    match byte {
        b'I' => Ok(Status::Idle),
        b'T' => Ok(Status::InTransaction),
        b'E' => Ok(Status::Failed),
        _ => Err(Malformed::Layout("ReadyForQuery")),
    }
}

/// Reads the rows that a command tag counts: the last word, when it is a number.
pub(crate) fn command_rows(frame: &[u8]) -> Result<Option<u64>, Malformed> {
    let mut fields = Fields::of(frame, "CommandComplete");
    let tag = fields.cstr()?;
    fields.end()?;
    let last = tag.rsplit(|b| *b == b' ').next().unwrap_or_default();
    Ok(std::str::from_utf8(last).ok().and_then(|word| word.parse().ok()))
}

/// Reads name and value of `ParameterStatus`.
pub(crate) fn parameter_status(frame: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut fields = Fields::of(frame, "ParameterStatus");
    let name = fields.cstr()?;
    let value = fields.cstr()?;
    fields.end()?;
    Ok((name, value))
}

/// Reads the fields of `ErrorResponse` or `NoticeResponse`: the kind of each, and its text.
pub(crate) fn error_fields(frame: &[u8]) -> Result<Vec<(u8, &[u8])>, Malformed> {
    let mut fields = Fields::of(frame, "ErrorResponse");
    let mut found = Vec::new();
    loop {
        let kind = fields.u8()?;
        if kind == 0 {
            break;
        }
        found.push((kind, fields.cstr()?));
    }
    fields.end()?;
    Ok(found)
}

/// Reads one field of `ErrorResponse` or `NoticeResponse`.
pub(crate) fn error_field(frame: &[u8], wanted: u8) -> Result<Option<&[u8]>, Malformed> {
    let fields = error_fields(frame)?;
    Ok(fields.into_iter().rfind(|(kind, _)| *kind == wanted).map(|(_, text)| text))
}

/// Appends one message: type, length, and the body that `body` writes.
pub(crate) fn message(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = u32::try_from(out.len() - at).expect("our own messages are far below 4 GiB");
    if let Some(slot) = out.get_mut(at..at + 4) {
        slot.copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends text and a NUL. NUL bytes within the text are left out: they would end it.
pub(crate) fn put_cstr(out: &mut Vec<u8>, text: &[u8]) {
    out.extend(text.iter().copied().filter(|b| *b != 0));
    out.push(0);
}

/// How bad an error is for the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// The statement fails.
    Error,
    /// The session ends.
    Fatal,
    /// Nothing fails: the client is told something.
    Notice,
}

/// An error of ours, in PostgreSQL's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WireError {
    pub(crate) severity: Severity,
    pub(crate) code: [u8; 5],
    pub(crate) message: String,
    pub(crate) detail: Option<String>,
    pub(crate) hint: Option<String>,
    /// Position in the statement, in characters from 1.
    pub(crate) position: Option<usize>,
    /// File, line and routine of the server's source, as encoded fields.
    pub(crate) location: Vec<u8>,
}

impl WireError {
    pub(crate) fn new(severity: Severity, code: &[u8; 5], message: impl Into<String>) -> WireError {
        WireError {
            severity,
            code: *code,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            location: Vec::new(),
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> WireError {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn position(mut self, position: Option<usize>) -> WireError {
        self.position = position;
        self
    }

    /// Takes over where in its source the server raised an error, if that is the same kind of error.
    ///
    /// # Errors
    /// When the server's error does not have the documented layout.
    pub(crate) fn locate(&mut self, frame: &[u8]) -> Result<(), Malformed> {
        if error_field(frame, b'C')? != Some(&self.code) {
            return Ok(());
        }
        for code in *b"FLR" {
            if let Some(value) = error_field(frame, code)? {
                self.location.push(code);
                put_cstr(&mut self.location, value);
            }
        }
        Ok(())
    }

    /// Appends the `ErrorResponse` or `NoticeResponse`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let (kind, severity): (u8, &[u8]) = match self.severity {
            Severity::Error => (b'E', b"ERROR"),
            Severity::Fatal => (b'E', b"FATAL"),
            Severity::Notice => (b'N', b"NOTICE"),
        };
        message(out, kind, |out| {
            let mut field = |code: u8, text: &[u8]| {
                out.push(code);
                put_cstr(out, text);
            };
            field(b'S', severity);
            field(b'V', severity);
            field(b'C', &self.code);
            field(b'M', self.message.as_bytes());
            if let Some(detail) = &self.detail {
                field(b'D', detail.as_bytes());
            }
            if let Some(hint) = &self.hint {
                field(b'H', hint.as_bytes());
            }
            if let Some(position) = self.position {
                field(b'P', position.to_string().as_bytes());
            }
            out.extend_from_slice(&self.location);
            out.push(0);
        });
    }
}

/// The first packet of a connection, after any TLS negotiation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FirstPacket {
    TlsRequest,
    GssRequest,
    Cancel { process: u32, key: Vec<u8> },
    Startup(Startup),
}

/// A start-up message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Startup {
    pub(crate) major: u16,
    pub(crate) minor: u16,
    /// Name and value, in the client's order.
    pub(crate) parameters: Vec<(String, String)>,
}

/// PostgreSQL's own limit for a start-up packet (`MAX_STARTUP_PACKET_LENGTH`).
pub(crate) const STARTUP_BYTES_MAX: usize = 10_000;
/// The shortest and longest cancel key of protocol 3.2.
pub(crate) const CANCEL_KEY_BYTES: std::ops::RangeInclusive<usize> = 4..=256;
const CANCEL_CODE: u32 = 80_877_102;
const TLS_CODE: u32 = 80_877_103;
const GSS_CODE: u32 = 80_877_104;

/// Reads the length of the first packet, including the length field itself.
pub(crate) fn first_packet_length(field: [u8; 4]) -> Result<usize, Malformed> {
    let length = i32::from_be_bytes(field);
    let whole = usize::try_from(length).ok().filter(|l| *l >= 8).ok_or(Malformed::Length(length))?;
    if whole > STARTUP_BYTES_MAX {
        return Err(Malformed::TooLong { length: whole, limit: STARTUP_BYTES_MAX });
    }
    Ok(whole)
}

/// Reads the first packet's body, which follows the length field.
pub(crate) fn first_packet(body: &[u8]) -> Result<FirstPacket, Malformed> {
    let mut fields = Fields::within(body, "Startup");
    let code = fields.i32()?.cast_unsigned();
    match code {
        TLS_CODE => fields.end().map(|()| FirstPacket::TlsRequest),
        GSS_CODE => fields.end().map(|()| FirstPacket::GssRequest),
        CANCEL_CODE => {
            let process = fields.i32()?.cast_unsigned();
            let key = fields.rest().to_vec();
            if !CANCEL_KEY_BYTES.contains(&key.len()) {
                return Err(Malformed::Layout("CancelRequest"));
            }
            Ok(FirstPacket::Cancel { process, key })
        }
        version => startup(version, fields).map(FirstPacket::Startup),
    }
}

fn startup(version: u32, mut fields: Fields<'_>) -> Result<Startup, Malformed> {
    let mut parameters = Vec::new();
    loop {
        let name = fields.cstr()?;
        if name.is_empty() {
            break;
        }
        let value = fields.cstr()?;
        parameters.push((text(name)?, text(value)?));
    }
    fields.end()?;
    let [a, b, c, d] = version.to_be_bytes();
    Ok(Startup { major: u16::from_be_bytes([a, b]), minor: u16::from_be_bytes([c, d]), parameters })
}

fn text(bytes: &[u8]) -> Result<String, Malformed> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Malformed::Layout("Startup"))
}

/// Appends a start-up packet of protocol 3.0.
pub(crate) fn put_startup<'a>(out: &mut Vec<u8>, parameters: impl Iterator<Item = (&'a str, &'a str)>) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(3u32 << 16).to_be_bytes());
    for (name, value) in parameters {
        put_cstr(out, name.as_bytes());
        put_cstr(out, value.as_bytes());
    }
    out.push(0);
    put_length(out, at);
}

/// The packet that asks for TLS.
pub(crate) const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Appends a cancel request.
pub(crate) fn put_cancel(out: &mut Vec<u8>, process: u32, key: &[u8]) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&CANCEL_CODE.to_be_bytes());
    out.extend_from_slice(&process.to_be_bytes());
    out.extend_from_slice(key);
    put_length(out, at);
}

fn put_length(out: &mut [u8], at: usize) {
    let length = u32::try_from(out.len() - at).expect("our own packets are far below 4 GiB");
    if let Some(slot) = out.get_mut(at..at + 4) {
        slot.copy_from_slice(&length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests;
