//! One byte stream, whichever way it is protected.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection of a client or to a resource.
#[derive(Debug)]
pub(crate) enum Stream {
    /// As the network carries it.
    Plain(TcpStream),
    /// TLS, where Wardline is the server.
    Served(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    /// TLS, where Wardline is the client.
    Dialed(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_read(cx, buf),
            Stream::Served(s) => Pin::new(s.as_mut()).poll_read(cx, buf),
            Stream::Dialed(s) => Pin::new(s.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_write(cx, buf),
            Stream::Served(s) => Pin::new(s.as_mut()).poll_write(cx, buf),
            Stream::Dialed(s) => Pin::new(s.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_flush(cx),
            Stream::Served(s) => Pin::new(s.as_mut()).poll_flush(cx),
            Stream::Dialed(s) => Pin::new(s.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(s) => Pin::new(s).poll_shutdown(cx),
            Stream::Served(s) => Pin::new(s.as_mut()).poll_shutdown(cx),
            Stream::Dialed(s) => Pin::new(s.as_mut()).poll_shutdown(cx),
        }
    }
}
