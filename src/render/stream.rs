//! The program's own output, written by a thread of its own: a reader that stands still (a paused terminal, a log collector
//! that stalls) must not hold up the release, whose lease has to be renewed meanwhile.

use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many pieces wait for a reader. One that is further behind holds the program up.
const MOST_WAITING: usize = 100_000;

/// Every stream of the program.
static OPEN: Mutex<Vec<SyncSender<Piece>>> = Mutex::new(Vec::new());

enum Piece {
    Text(Vec<u8>),
    /// Answered when everything before it is written.
    Mark(Sender<()>),
}

/// Hands on what is written. An error is returned by the write that comes after it.
pub struct Stream {
    pieces: SyncSender<Piece>,
    failed: Arc<Mutex<Option<io::Error>>>,
}

impl Stream {
    pub fn of(out: impl Write + Send + 'static) -> Self {
        let (pieces, waiting) = sync_channel(MOST_WAITING);
        let failed = Arc::new(Mutex::new(None));
        let of_thread = Arc::clone(&failed);
        // Without a thread all that is written fails, as on a pipe that nobody reads.
        let _ = std::thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || write_pieces(out, &waiting, &of_thread));
        locked(&OPEN).push(pieces.clone());
        Self { pieces, failed }
    }
}

impl Write for Stream {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if let Some(error) = locked(&self.failed).take() {
            return Err(error);
        }
        let sent = self.pieces.send(Piece::Text(text.to_vec()));
        sent.map(|()| text.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Everything is on its way; [`drain`] waits for it.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits until everything is written that was handed to any stream: before the program ends, or writes by itself.
pub fn drain() {
    let open: Vec<_> = locked(&OPEN).clone();
    for pieces in open {
        let (mark, is_written) = channel();
        if pieces.send(Piece::Mark(mark)).is_ok() {
            let _ = is_written.recv();
        }
    }
}

fn write_pieces(mut out: impl Write, waiting: &Receiver<Piece>, failed: &Mutex<Option<io::Error>>) {
    for piece in waiting {
        match piece {
            Piece::Text(text) => {
                if let Err(error) = out.write_all(&text).and_then(|()| out.flush()) {
                    locked(failed).get_or_insert(error);
                }
            }
            Piece::Mark(mark) => drop(mark),
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads nothing until it is told to, as a terminal that is paused.
    struct Paused {
        goes_on: Receiver<()>,
        read: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Paused {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            let _ = self.goes_on.recv();
            locked(&self.read).extend(text);
            Ok(text.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stands_still_holds_up_nobody_and_misses_nothing() {
        let (goes_on, paused) = channel();
        let read = Arc::default();
        let mut stream = Stream::of(Paused { goes_on: paused, read: Arc::clone(&read) });
        let lines: String = (0..1000).map(|n| format!("line {n}\n")).collect();
        for line in lines.split_inclusive('\n') {
            stream.write_all(line.as_bytes()).unwrap();
        }
        assert!(locked(&read).is_empty(), "nothing was waited for");
        drop(goes_on);
        drain();
        assert_eq!(String::from_utf8_lossy(&locked(&read)), lines);
    }

    #[test]
    fn what_could_not_be_written_is_an_error_of_the_next_write() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut stream = Stream::of(Full);
        stream.write_all(b"a").unwrap();
        drain();
        assert_eq!(stream.write_all(b"b").unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
