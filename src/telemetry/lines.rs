//! Log lines on their way to standard error: gathered in memory, and written a moment later by a thread of their own.
//!
//! A write for every line costs more than all the rest of a log line, and a reader that stopped, or a full disk, would stop
//! requests with it.

use std::{
    io::{self, Write},
    mem,
    sync::Arc,
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tracing_subscriber::fmt::MakeWriter;

/// How long lines are gathered before they are written.
const GATHER: Duration = Duration::from_millis(10);

/// Bytes that may wait to be written. Lines beyond are dropped and counted.
const WAITING: usize = 8 << 20;

/// What still waits has this long to be written at the end: a reader that is stuck must not keep the process.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Where lines are put.
#[derive(Debug, Clone, Default)]
pub struct Lines(Arc<Shared>);

/// Writes what still waits when it is dropped, if that can be written at once. The thread ends with it, or with the process.
#[derive(Debug)]
pub struct Writing {
    lines: Lines,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    dropped: u64,
    is_over: bool,
    is_written: bool,
}

impl Lines {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(out: impl Write + Send + 'static) -> io::Result<(Self, Writing)> {
        let lines = Self::default();
        let here = lines.clone();
        let thread = thread::Builder::new().name("log".into());
        thread.spawn(move || here.write_to(out))?;
        let writing = Writing {
            lines: lines.clone(),
        };
        Ok((lines, writing))
    }

    fn write_to(&self, mut out: impl Write) {
        let mut bytes = Vec::new();
        loop {
            let mut waiting = self.waiting();
            while waiting.bytes.is_empty() && !waiting.is_over {
                self.0.changed.wait(&mut waiting);
            }
            if !waiting.is_over {
                drop(waiting);
                thread::sleep(GATHER);
                waiting = self.waiting();
            }
            let is_over = waiting.is_over;
            let dropped = mem::take(&mut waiting.dropped);
            mem::swap(&mut bytes, &mut waiting.bytes);
            drop(waiting);
            if dropped > 0 {
                bytes.extend_from_slice(format!("{{\"level\":\"WARN\",\"message\":\"log lines dropped\",\"count\":{dropped}}}\n").as_bytes());
            }
            let _ = out.write_all(&bytes).and_then(|()| out.flush()); // nowhere to say that nothing can be said
            bytes.clear();
            if is_over {
                self.waiting().is_written = true;
                self.0.changed.notify_all();
                return;
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock()
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let changed = &self.lines.0.changed;
        let mut waiting = self.lines.waiting();
        waiting.is_over = true;
        changed.notify_all();
        let _ = changed.wait_while_for(&mut waiting, |waiting| !waiting.is_written, LAST_LINES); // in whatever way it ended
    }
}

/// A line comes in one write.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.waiting();
        if waiting.bytes.len() + line.len() > WAITING {
            waiting.dropped += 1;
            return Ok(line.len());
        }
        let is_first = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        drop(waiting);
        if is_first {
            self.0.changed.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Lines;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Instant};

    use super::*;

    /// Takes what is written, one write at a time, and only when it is asked for it.
    struct Slow(mpsc::SyncSender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stopped_stops_nobody_and_is_told_what_it_missed() {
        let (sender, written) = mpsc::sync_channel(0);
        let (lines, writing) = Lines::start(Slow(sender)).unwrap();
        let line = vec![b'x'; 1 << 20];
        for _ in 0..30 {
            (&lines).write_all(&line).unwrap(); // returns, though nobody reads
        }
        let reader = thread::spawn(move || written.iter().flatten().collect::<Vec<u8>>());
        drop(writing); // writes what waits
        let all = reader.join().unwrap();
        let kept = all.iter().filter(|byte| **byte == b'x').count() >> 20;
        let text = String::from_utf8(all).unwrap();
        let missed: usize = text
            .rsplit_once("\"count\":")
            .and_then(|(_, count)| count.trim_end().trim_end_matches('}').parse().ok())
            .unwrap();
        assert!((8..=16).contains(&kept), "{kept} kept");
        assert_eq!(kept + missed, 30);
    }

    #[test]
    fn a_reader_that_is_stuck_keeps_nobody_at_the_end() {
        let (sender, never_read) = mpsc::sync_channel(0);
        let (lines, writing) = Lines::start(Slow(sender)).unwrap();
        (&lines).write_all(b"stuck\n").unwrap();
        thread::sleep(3 * GATHER);
        let began = Instant::now();
        drop(writing);
        assert!(began.elapsed() < 2 * LAST_LINES, "{:?}", began.elapsed());
        drop(never_read);
    }

    #[test]
    fn a_disk_that_is_full_ends_nothing() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (lines, writing) = Lines::start(Full).unwrap();
        (&lines).write_all(b"lost\n").unwrap();
        thread::sleep(3 * GATHER);
        (&lines).write_all(b"lost too\n").unwrap();
        drop(writing);
    }
}
