//! Keeps work on long bodies away from the threads that serve connections: everybody on such a thread waits while it works.

use std::{
    future::Future,
    sync::{Arc, LazyLock},
    task::{Context, Poll, Wake, Waker},
    thread,
};

use tokio::{
    sync::{Notify, Semaphore},
    task::spawn_blocking,
};

use crate::error::Error;

/// Work on a body of this size or more is long: the worst of bodies, of messages and parts of a few bytes each, are read at some 50 MB a
/// second on one slow core, so that this takes about a millisecond (`cargo bench --bench readers`). To change threads takes some 20
/// microseconds.
const LONG_FROM_BYTES: usize = 64 << 10;

/// So many works run at a time, one for each processor: more would take the processors from those who serve.
static PERMITS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    Arc::new(Semaphore::new(processors))
});

/// True when work that reads `bytes` bytes is long.
pub fn is_long(bytes: usize) -> bool {
    bytes >= LONG_FROM_BYTES
}

/// Runs `work` on another thread, in turn with other long works. While `work` itself waits for something, it is on no thread and in
/// nobody's way. Dropping the future drops the work when it waits next.
///
/// # Errors
/// [`Error::Internal`] when it panics.
pub async fn run_long<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Error> {
    let woken = Arc::new(Woken(Notify::new()));
    let mut work = Box::pin(work);
    loop {
        let permit = PERMITS.clone().acquire_owned().await;
        let permit = permit.map_err(|_| Error::Internal)?; // it is never closed
        let waker = Waker::from(woken.clone());
        let polled = spawn_blocking(move || {
            let _permit = permit;
            let polled = work.as_mut().poll(&mut Context::from_waker(&waker));
            (polled, work)
        });
        let polled = polled.await.map_err(|_| Error::Internal)?; // the panic hook has reported it
        match polled {
            (Poll::Ready(result), _) => return Ok(result),
            (Poll::Pending, waiting) => work = waiting,
        }
        woken.0.notified().await;
    }
}

struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one(); // remembered, when nobody waits yet
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        time::{Duration, Instant},
    };

    use tokio::time::sleep;

    use super::*;

    #[tokio::test]
    async fn others_are_served_while_long_work_runs() {
        let work = tokio::spawn(run_long(async {
            thread::sleep(Duration::from_millis(300));
            thread::current().id()
        }));
        let began = Instant::now();
        let mut longest = Duration::ZERO;
        while began.elapsed() < Duration::from_millis(200) {
            let asleep = Instant::now();
            sleep(Duration::from_millis(1)).await;
            longest = longest.max(asleep.elapsed());
        }
        assert!(longest < Duration::from_millis(150), "{longest:?}");
        assert_ne!(work.await.unwrap().unwrap(), thread::current().id());
    }

    #[tokio::test]
    async fn work_that_waits_holds_no_place() {
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                tokio::spawn(run_long(async {
                    sleep(Duration::from_millis(100)).await;
                    7
                }))
            })
            .collect();
        let began = Instant::now();
        for work in waiting {
            assert_eq!(work.await.unwrap(), Ok(7));
        }
        assert!(
            began.elapsed() < Duration::from_secs(3),
            "{:?}",
            began.elapsed()
        );
    }

    #[tokio::test]
    async fn no_more_works_run_at_a_time_than_there_are_processors() {
        static RUNNING: AtomicUsize = AtomicUsize::new(0);
        static MOST: AtomicUsize = AtomicUsize::new(0);
        let works: Vec<_> = (0..20)
            .map(|_| {
                tokio::spawn(run_long(async {
                    MOST.fetch_max(RUNNING.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::sleep(Duration::from_millis(5));
                    RUNNING.fetch_sub(1, Ordering::SeqCst);
                }))
            })
            .collect();
        for work in works {
            work.await.unwrap().unwrap();
        }
        let processors = thread::available_parallelism().unwrap().get();
        assert!((1..=processors).contains(&MOST.load(Ordering::SeqCst)));
    }

    #[tokio::test]
    async fn a_client_that_leaves_ends_the_work_where_it_waits() {
        struct Dropped(Arc<AtomicUsize>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let ends = Arc::new(AtomicUsize::new(0));
        let dropped = Dropped(ends.clone());
        let work = tokio::spawn(run_long(async move {
            let _dropped = dropped;
            std::future::pending::<()>().await;
        }));
        sleep(Duration::from_millis(50)).await;
        work.abort();
        let _ = work.await;
        assert_eq!(ends.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error() {
        let failed = run_long(async { panic!("a defect") }).await;
        assert_eq!(failed, Err::<(), Error>(Error::Internal));
    }
}
