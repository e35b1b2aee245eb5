//! Files of the archive as they lie in the store: encrypted in frames, under a key of their own.
//!
//! A file opens only under its name, in its log, whole: the name, the number of each frame and which one is the last are
//! part of what is authenticated. `docs/formats/archive.md` has the bytes. Deliberately absent: what is in the files.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use parking_lot::Mutex;
use parquet::arrow::arrow_reader::ArrowReaderOptions;
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use trail::{Digest, FILE_KEY_BYTES, FILE_SEAL_BYTES, FileKey, Reader};

use crate::error::Error;

const MAGIC: [u8; 8] = *b"WLARC\0\0\x01";
/// Magic, month, the length of a frame's plaintext, the wrapped key, zeros.
pub(crate) const HEADER_BYTES: usize = 128;
/// What a frame holds. Pages of the files are as long.
pub(crate) const FRAME_BYTES: usize = 64 << 10;
const SEALED_FRAME_BYTES: usize = FRAME_BYTES + FILE_SEAL_BYTES;
/// The nonce before a ciphertext.
const NONCE_BYTES: usize = 12;

/// What a frame is bound to.
fn additional(origin: &str, file: &str, frame: u64, last: bool) -> Vec<u8> {
    let mut bytes = b"wardline/archive/v1".to_vec();
    bytes.extend_from_slice(&(origin.len() as u64).to_le_bytes());
    bytes.extend_from_slice(origin.as_bytes());
    bytes.extend_from_slice(&(file.len() as u64).to_le_bytes());
    bytes.extend_from_slice(file.as_bytes());
    bytes.extend_from_slice(&frame.to_le_bytes());
    bytes.push(u8::from(last));
    bytes
}

fn header(month: u32, wrapped: &[u8; FILE_KEY_BYTES]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let mut rest = header.as_mut_slice();
    let frame = u32::try_from(FRAME_BYTES).expect("64 KiB");
    for part in [MAGIC.as_slice(), &month.to_le_bytes(), &frame.to_le_bytes(), wrapped] {
        let (to, next) = rest.split_at_mut(part.len());
        to.copy_from_slice(part);
        rest = next;
    }
    header
}

/// Returns month and wrapped key of a header; `None` when it is not one.
fn read_header(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<16>()?;
    let (magic, numbers) = head.split_first_chunk::<8>()?;
    let (month, frame) = numbers.split_first_chunk::<4>()?;
    let wrapped = rest.get(..FILE_KEY_BYTES)?;
    let sound = *magic == MAGIC
        && frame == u32::try_from(FRAME_BYTES).ok()?.to_le_bytes()
        && rest.get(FILE_KEY_BYTES..)?.iter().all(|byte| *byte == 0);
    sound.then_some((u32::from_le_bytes(*month), wrapped))
}

/// Encrypts what is written to it into another writer, and takes the digest of what that gets.
pub struct SealingWriter<W: Write> {
    inner: W,
    key: FileKey,
    origin: String,
    file: String,
    plain: Vec<u8>,
    frame: u64,
    digest: Digest,
    written: u64,
}

impl<W: Write> fmt::Debug for SealingWriter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingWriter").field("file", &self.file).finish_non_exhaustive()
    }
}

impl<W: Write> SealingWriter<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// When the month has no class key, or the header cannot be written.
    pub fn begin(reader: &Reader, month: u32, file: &str, inner: W) -> Result<SealingWriter<W>, Error> {
        let (key, wrapped) = reader.new_file_key(month, file)?;
        let mut writer = SealingWriter {
            inner,
            key,
            origin: reader.origin().to_owned(),
            file: file.to_owned(),
            plain: Vec::with_capacity(FRAME_BYTES),
            frame: 0,
            digest: Digest::default(),
            written: 0,
        };
        writer.put(&header(month, &wrapped)).map_err(Error::io(format!("write `{file}`")))?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_all(bytes)?;
        self.digest.update(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        let mut frame = Vec::with_capacity(SEALED_FRAME_BYTES);
        frame.resize(NONCE_BYTES, 0);
        frame.append(&mut self.plain);
        self.key.seal(&additional(&self.origin, &self.file, self.frame, last), &mut frame);
        self.frame += 1;
        self.put(&frame)
    }

    /// Writes the last frame; returns the writer below, the digest and the length of what it got.
    ///
    /// # Errors
    /// When the writer below refuses.
    pub fn finish(mut self) -> io::Result<(W, [u8; 32], u64)> {
        self.seal(true)?;
        self.inner.flush()?;
        Ok((self.inner, self.digest.finish(), self.written))
    }
}

impl<W: Write> Write for SealingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            // A full frame waits until it is known that it is not the last.
            if self.plain.len() == FRAME_BYTES {
                self.seal(false)?;
            }
            let (now, later) = rest.split_at(rest.len().min(FRAME_BYTES - self.plain.len()));
            self.plain.extend_from_slice(now);
            rest = later;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// A file whose key is at hand.
#[derive(Debug)]
struct Opened {
    key: FileKey,
    /// Of the file as it lies there.
    length: u64,
    meta: ObjectMeta,
}

impl Opened {
    fn frames(&self) -> u64 {
        (self.length - HEADER_BYTES as u64).div_ceil(SEALED_FRAME_BYTES as u64)
    }

    fn plain_length(&self) -> u64 {
        self.length - HEADER_BYTES as u64 - self.frames() * FILE_SEAL_BYTES as u64
    }
}

/// Shows the files of a store decrypted. For reading only: files are written by [`SealingWriter`].
pub struct SealedStore {
    below: Arc<dyn ObjectStore>,
    reader: Arc<Reader>,
    opened: Mutex<HashMap<String, Arc<Opened>>>,
}

impl SealedStore {
    /// Shows the files of a store that are of this trail.
    pub fn new(below: Arc<dyn ObjectStore>, reader: Arc<Reader>) -> SealedStore {
        SealedStore { below, reader, opened: Mutex::default() }
    }

    async fn opened(&self, location: &Path) -> object_store::Result<Arc<Opened>> {
        let name = location.as_ref().to_owned();
        let known = self.opened.lock().get(&name).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let meta = self.below.head(location).await?;
        let bad = |problem| damaged(&name, problem);
        if meta.size < (HEADER_BYTES + FILE_SEAL_BYTES) as u64 {
            return Err(bad("it is too short"));
        }
        let head = self.below.get_range(location, 0..HEADER_BYTES as u64).await?;
        let (month, wrapped) = read_header(&head).ok_or_else(|| bad("its header is not one"))?;
        let key = self.reader.open_file_key(month, &name, wrapped);
        let key =
            key.map_err(|error| object_store::Error::Generic { store: "archive", source: error.into() })?;
        let length = meta.size;
        let mut opened = Opened { key, length, meta };
        let rest = (length - HEADER_BYTES as u64) % SEALED_FRAME_BYTES as u64;
        if rest != 0 && rest < FILE_SEAL_BYTES as u64 {
            return Err(bad("it ends within a frame"));
        }
        opened.meta.size = opened.plain_length();
        let opened = Arc::new(opened);
        let mut known = self.opened.lock();
        known.insert(name, Arc::clone(&opened));
        Ok(opened)
    }

    /// Returns a piece of a file, decrypted.
    async fn plain(&self, location: &Path, range: Range<u64>) -> object_store::Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let opened = self.opened(location).await?;
        let (first, last) = (range.start / FRAME_BYTES as u64, (range.end - 1) / FRAME_BYTES as u64);
        let at = |frame: u64| HEADER_BYTES as u64 + frame * SEALED_FRAME_BYTES as u64;
        let sealed = self.below.get_range(location, at(first)..at(last + 1).min(opened.length)).await?;
        let mut sealed = Vec::from(sealed);
        let mut plain = Vec::with_capacity(sealed.len());
        for (frame, sealed) in (first..).zip(sealed.chunks_mut(SEALED_FRAME_BYTES)) {
            let last = frame + 1 == opened.frames();
            let aad = additional(self.reader.origin(), location.as_ref(), frame, last);
            let opened = opened.key.open(&aad, sealed);
            let opened = opened.ok_or_else(|| damaged(location.as_ref(), "a frame does not decrypt"))?;
            plain.extend_from_slice(opened);
        }
        let start = range.start - first * FRAME_BYTES as u64;
        let (start, length) = (usize_of(start), usize_of(range.end - range.start));
        let plain = Bytes::from(plain);
        if start + length > plain.len() {
            return Err(damaged(location.as_ref(), "it ends too early"));
        }
        Ok(plain.slice(start..start + length))
    }

    /// Returns a whole file, decrypted; for files that fit into memory.
    ///
    /// # Errors
    /// When it cannot be read or is not what was written.
    pub async fn read(&self, name: &str) -> object_store::Result<Bytes> {
        let location = Path::from(name);
        let length = self.opened(&location).await?.meta.size;
        self.plain(&location, 0..length).await
    }
}

/// One Parquet file of a store, as its reader wants it.
#[derive(Debug)]
pub(crate) struct SealedFile {
    store: Arc<SealedStore>,
    location: Path,
}

impl SealedFile {
    pub(crate) fn new(store: &Arc<SealedStore>, name: &str) -> SealedFile {
        SealedFile { store: Arc::clone(store), location: Path::from(name) }
    }
}

impl AsyncFileReader for SealedFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, parquet::errors::Result<Bytes>> {
        async move {
            self.store
                .plain(&self.location, range)
                .await
                .map_err(|error| ParquetError::External(error.into()))
        }
        .boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, parquet::errors::Result<Arc<ParquetMetaData>>> {
        async move {
            let opened = self.store.opened(&self.location).await;
            let length = opened.map_err(|error| ParquetError::External(error.into()))?.meta.size;
            Ok(Arc::new(ParquetMetaDataReader::new().load_and_finish(self, length).await?))
        }
        .boxed()
    }
}

fn usize_of(number: u64) -> usize {
    usize::try_from(number).expect("a piece of a file is below the size of memory")
}

fn damaged(file: &str, problem: &'static str) -> object_store::Error {
    object_store::Error::Generic { store: "archive", source: Box::new(Error::damaged(file, problem)) }
}

fn read_only(operation: &str) -> object_store::Error {
    object_store::Error::NotImplemented { operation: operation.to_owned(), implementer: "archive".to_owned() }
}

impl fmt::Debug for SealedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedStore").field("below", &self.below).finish_non_exhaustive()
    }
}

impl fmt::Display for SealedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the archive in {}", self.below)
    }
}

#[async_trait]
impl ObjectStore for SealedStore {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> object_store::Result<PutResult> {
        Err(read_only("put"))
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        Err(read_only("put"))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> object_store::Result<GetResult> {
        let meta = self.opened(location).await?.meta.clone();
        options.check_preconditions(&meta)?;
        let range = match &options.range {
            Some(range) => range
                .as_range(meta.size)
                .map_err(|error| object_store::Error::Generic { store: "archive", source: error.into() })?,
            None => 0..meta.size,
        };
        let bytes = if options.head { Bytes::new() } else { self.plain(location, range.clone()).await? };
        let payload = GetResultPayload::Stream(futures_util::stream::iter([Ok(bytes)]).boxed());
        Ok(GetResult { payload, meta, range, attributes: object_store::Attributes::default() })
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        locations.and_then(|_| async { Err(read_only("delete")) }).boxed()
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        futures_util::stream::iter([Err(read_only("list"))]).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> object_store::Result<ListResult> {
        Err(read_only("list"))
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> object_store::Result<()> {
        Err(read_only("copy"))
    }
}
