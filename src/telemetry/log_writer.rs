//! Writes log lines to standard error on a thread of its own, so that logging never blocks a request.
//!
//! `tracing-appender` has the bounded queue and the thread. This file adds what it lacks: lines are gathered into large writes, the
//! number of dropped lines is logged, and a full disk or a reader that stopped delays neither requests nor the exit.

use std::{
    io::{self, BufWriter, Write},
    sync::{Arc, OnceLock, mpsc},
    thread,
    time::Duration,
};

use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};

/// Lines that may wait to be written: about 8 MiB of request lines. Lines beyond are dropped and counted.
const QUEUED_LINES: usize = 16_384;

/// Bytes gathered before they are written.
const BUFFER: usize = 64 << 10;

/// Pause after each write. Lines that arrive during it need no wake-up of the thread and share one write.
const GATHER: Duration = Duration::from_millis(10);

/// Time limit for writing the last lines at exit.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Writes the lines that still wait when it is dropped, within [`LAST_LINES`].
#[derive(Debug)]
pub struct LogGuard(Option<WorkerGuard>);

impl Drop for LogGuard {
    fn drop(&mut self) {
        // On a thread of its own: with a full queue, the guard of `tracing-appender` waits, and then prints to standard output.
        let guard = self.0.take();
        let (flushed, wait) = mpsc::channel::<()>();
        let _ = thread::Builder::new().spawn(move || drop((guard, flushed))); // in this order
        let _ = wait.recv_timeout(LAST_LINES); // lines that no one reads are lost
    }
}

/// Starts the thread that writes to `out`.
pub fn start(out: impl Write + Send + 'static) -> (NonBlocking, LogGuard) {
    start_with_queue(out, QUEUED_LINES)
}

fn start_with_queue(
    out: impl Write + Send + 'static,
    queued_lines: usize,
) -> (NonBlocking, LogGuard) {
    let queue_overflow = Arc::new(OnceLock::new());
    let writer = LineWriter {
        out: BufWriter::with_capacity(BUFFER, out),
        queue_overflow: queue_overflow.clone(),
        failed: 0,
        reported: 0,
    };
    let (lines, guard) = NonBlockingBuilder::default()
        .thread_name("log")
        .buffered_lines_limit(queued_lines)
        .finish(writer);
    let _ = queue_overflow.set(lines.error_counter()); // set once, here
    (lines, LogGuard(Some(guard)))
}

/// Writes whole lines, and reports how many were dropped. Runs on the log thread.
///
/// It never returns an error: the log thread would stop in the middle of its queue, or miss the end.
struct LineWriter<W: Write> {
    /// Keeps what cannot be written, and tries again with the next line.
    out: BufWriter<W>,
    /// Counts lines that found the queue full.
    queue_overflow: Arc<OnceLock<ErrorCounter>>,
    /// Lines that could not be written, because of a full disk.
    failed: usize,
    /// Dropped lines that a log line has reported.
    reported: usize,
}

impl<W: Write> LineWriter<W> {
    fn report_dropped(&mut self) {
        let overflow = self.queue_overflow.get();
        let dropped = self.failed + overflow.map_or(0, ErrorCounter::dropped_lines);
        let count = dropped - self.reported;
        if count == 0 {
            return;
        }
        let line =
            format!("{{\"level\":\"WARN\",\"message\":\"log lines dropped\",\"count\":{count}}}\n");
        if self.out.write_all(line.as_bytes()).is_ok() {
            self.reported = dropped;
        }
    }
}

impl<W: Write> Write for LineWriter<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.out.write_all(line).is_err() {
            self.failed += 1;
        }
        Ok(line.len())
    }

    /// The log thread calls this whenever its queue is empty.
    fn flush(&mut self) -> io::Result<()> {
        self.report_dropped();
        let _ = self.out.flush(); // what cannot be written stays in the buffer
        thread::sleep(GATHER);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicBool, Ordering},
        time::Instant,
    };

    use parking_lot::Mutex;

    use super::*;

    /// Blocks each write until the test reads it.
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

    /// The sum of the reports of dropped lines.
    fn dropped(text: &str) -> usize {
        let reports = text
            .lines()
            .filter_map(|line| line.split_once("\"count\":"));
        reports
            .map(|(_, count)| count.trim_end_matches('}').parse::<usize>().unwrap())
            .sum()
    }

    #[test]
    fn a_reader_that_stopped_blocks_no_one_and_learns_what_was_dropped() {
        let (sender, written) = mpsc::sync_channel(0);
        let (mut lines, guard) = start_with_queue(Slow(sender), 8);
        let line = [vec![b'x'; 10_000], vec![b'\n']].concat();
        for _ in 0..100 {
            lines.write_all(&line).unwrap(); // returns, though no one reads
        }
        let reader = thread::spawn(move || written.iter().flatten().collect::<Vec<u8>>());
        drop(guard); // writes what waits
        drop(lines);
        let text = String::from_utf8(reader.join().unwrap()).unwrap();
        let kept = text.lines().filter(|line| line.len() == 10_000).count();
        assert!((8..=32).contains(&kept), "{kept} kept");
        assert_eq!(kept + dropped(&text), 100);
        assert_eq!(text.lines().count(), kept + 1, "every line is whole");
    }

    #[test]
    fn a_reader_that_is_stuck_does_not_delay_the_exit() {
        for queued in [1, 1_000] {
            let (sender, never_read) = mpsc::sync_channel(0);
            let (mut lines, guard) = start_with_queue(Slow(sender), queued);
            for _ in 0..20 {
                lines.write_all(&[b'x'; 10_000]).unwrap();
            }
            thread::sleep(3 * GATHER);
            lines.write_all(b"stuck\n").unwrap();
            let began = Instant::now();
            drop(guard);
            assert!(began.elapsed() < 2 * LAST_LINES, "{:?}", began.elapsed());
            drop(never_read);
        }
    }

    /// Fails like a full disk until there is room.
    #[derive(Clone, Default)]
    struct Disk {
        has_room: Arc<AtomicBool>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if !self.has_room.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.written.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn after_a_full_disk_lines_are_written_again_and_the_lost_ones_are_counted() {
        let disk = Disk::default();
        let (mut lines, guard) = start(disk.clone());
        for number in 0..1_000 {
            let line = format!("{number:0>199}\n");
            lines.write_all(line.as_bytes()).unwrap();
        }
        thread::sleep(5 * GATHER);
        assert_eq!(disk.written.lock().len(), 0);
        disk.has_room.store(true, Ordering::Relaxed);
        lines.write_all(b"the disk has room\n").unwrap();
        drop(guard);
        let text = String::from_utf8(disk.written.lock().clone()).unwrap();
        let numbers: Vec<usize> = text.lines().filter_map(|line| line.parse().ok()).collect();
        let kept = numbers.len();
        assert!((300..=BUFFER / 200).contains(&kept), "{kept} kept");
        assert!(numbers.iter().copied().eq(0..kept), "the oldest are kept");
        assert!(text.contains("\nthe disk has room\n"));
        assert_eq!(kept + dropped(&text), 1_000);
    }

    #[test]
    fn a_disk_that_stays_full_does_not_delay_the_exit() {
        let (mut lines, guard) = start(Disk::default());
        lines.write_all(b"lost\n").unwrap();
        let began = Instant::now();
        drop(guard);
        assert!(began.elapsed() < LAST_LINES, "{:?}", began.elapsed());
    }
}
