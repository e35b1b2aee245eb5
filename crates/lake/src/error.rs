//! What can go wrong with the archive.

use std::io;
use std::sync::Arc;

/// Why the archive did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A file is not what was written: damaged, of another log, or under another name.
    #[error("`{file}` of the archive is damaged: {problem}")]
    Damaged {
        /// The file's name.
        file: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A question is not one that can be answered.
    #[error("{0}")]
    Question(String),
    /// The time that a question may take is over.
    #[error("the question took longer than {0} s; narrow it, or raise --timeout-s")]
    Timeout(u64),
    /// The trail could not be read.
    #[error(transparent)]
    Trail(#[from] trail::Error),
    /// Columns could not be made or read.
    #[error("the archive's columns")]
    Arrow(#[source] Arc<arrow::error::ArrowError>),
    /// A Parquet file could not be written or read.
    #[error("the archive's files")]
    Parquet(#[source] Arc<parquet::errors::ParquetError>),
    /// The engine refused or failed.
    #[error("the query")]
    Engine(#[source] Arc<datafusion::error::DataFusionError>),
    /// The operating system refused.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// What it answered.
        source: Arc<io::Error>,
    },
}

impl Error {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source: Arc::new(source) }
    }

    pub(crate) fn damaged(file: &str, problem: &'static str) -> Error {
        Error::Damaged { file: file.to_owned(), problem }
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Error {
        Error::Arrow(Arc::new(error))
    }
}

impl From<parquet::errors::ParquetError> for Error {
    fn from(error: parquet::errors::ParquetError) -> Error {
        Error::Parquet(Arc::new(error))
    }
}

impl From<datafusion::error::DataFusionError> for Error {
    fn from(error: datafusion::error::DataFusionError) -> Error {
        Error::Engine(Arc::new(error))
    }
}
