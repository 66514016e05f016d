//! The two directions of a command in a container, as the Engine carries them: what it is given goes as it is, what it writes
//! comes in frames with a header of eight bytes.
//!
//! <https://docs.docker.com/reference/api/engine/version/v1.47/#tag/Container/operation/ContainerAttach>

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::http::BoxIo;

const STDOUT: u8 = 1;
/// What of the standard error output an error shows.
const MOST_WORDS: usize = 500;

/// Standard input and output of the command. What it writes to standard error is the reason when it ends.
pub(super) struct ContainerPipe {
    stream: BoxIo,
    header: Vec<u8>,
    /// Of the frame that is being read.
    left: usize,
    is_output: bool,
    has_begun: bool,
    words: Vec<u8>,
}

impl ContainerPipe {
    pub fn new(stream: BoxIo) -> Self {
        Self { stream, header: Vec::with_capacity(8), left: 0, is_output: true, has_begun: false, words: vec![] }
    }

    /// Reads at most `most` bytes.
    fn poll_some(&mut self, cx: &mut Context<'_>, most: usize) -> Poll<io::Result<Vec<u8>>> {
        let mut bytes = vec![0; most];
        let mut buffer = ReadBuf::new(&mut bytes);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let read = buffer.filled().len();
        bytes.truncate(read);
        Poll::Ready(Ok(bytes))
    }
}

impl AsyncRead for ContainerPipe {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.left == 0 {
                let piece = ready!(this.poll_some(cx, 8 - this.header.len()))?;
                if piece.is_empty() {
                    let words = String::from_utf8_lossy(&this.words).trim().to_owned();
                    return Poll::Ready(if words.is_empty() { Ok(()) } else { Err(io::Error::other(words)) });
                }
                this.header.extend(piece);
                if let [kind, _, _, _, length @ ..] = this.header.as_slice()
                    && let Ok(length) = <[u8; 4]>::try_from(length)
                {
                    this.is_output = *kind == STDOUT;
                    this.left = u32::from_be_bytes(length) as usize;
                    this.header.clear();
                }
                continue;
            }
            let most = this.left.min(if this.is_output { buffer.remaining() } else { 4096 });
            if most == 0 {
                return Poll::Ready(Ok(()));
            }
            let piece = ready!(this.poll_some(cx, most))?;
            if piece.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            this.left -= piece.len();
            // A command that cannot be started is told as if it were its output. A frame of HTTP/2 begins with its length
            // in three bytes, of which the first is zero.
            // <https://www.rfc-editor.org/rfc/rfc9113#section-4.1>
            this.is_output &= this.has_begun || piece.starts_with(&[0]);
            if this.is_output {
                this.has_begun = true;
                buffer.put_slice(&piece);
                return Poll::Ready(Ok(()));
            }
            let room = MOST_WORDS.saturating_sub(this.words.len());
            this.words.extend(piece.into_iter().take(room));
        }
    }
}

impl AsyncWrite for ContainerPipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn frame(kind: u8, bytes: &[u8]) -> Vec<u8> {
        let mut frame = vec![kind, 0, 0, 0];
        frame.extend((bytes.len() as u32).to_be_bytes());
        frame.extend(bytes);
        frame
    }

    #[tokio::test]
    async fn frames_are_taken_apart_wherever_they_are_cut() {
        let sent = [frame(1, b"\0one "), frame(2, b""), frame(1, b""), frame(1, b"two")].concat();
        for cut in 1..sent.len() {
            let (ours, mut theirs) = tokio::io::duplex(1024);
            let (first, second) = sent.split_at(cut);
            let (first, second) = (first.to_vec(), second.to_vec());
            let sending = tokio::spawn(async move {
                theirs.write_all(&first).await.unwrap();
                tokio::task::yield_now().await;
                theirs.write_all(&second).await.unwrap();
            });
            let mut read = String::new();
            ContainerPipe::new(Box::new(ours)).read_to_string(&mut read).await.unwrap();
            sending.await.unwrap();
            assert_eq!(read, "\0one two", "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn what_is_said_in_place_of_the_builder_is_why_it_ended() {
        for kind in [1, 2] {
            let (ours, mut theirs) = tokio::io::duplex(1024);
            theirs.write_all(&frame(kind, b"exec: \"buildctl\": executable file not found\n")).await.unwrap();
            drop(theirs);
            let error = ContainerPipe::new(Box::new(ours)).read_to_end(&mut vec![]).await.unwrap_err();
            assert_eq!(error.to_string(), "exec: \"buildctl\": executable file not found");
        }
    }
}
