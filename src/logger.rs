//! The log: `simple_logger`, behind a guard.
//!
//! A server may not depend on who reads its log. `simple_logger` prints with
//! `eprintln!`, which panics when the reader is gone or the disk is full, and
//! blocks when somebody is slow. To catch the panic would not be enough: a
//! program may be built to abort instead, or do so in its hook. So what it
//! decides is only whether a line is printed. That is done here, in its form,
//! if standard error takes it now, and in one write, lest it mix with those of
//! other processes; lines that were not printed are counted and owned up to
//! when the reader is back.

use std::io;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use log::{Level, LevelFilter, Log, Metadata, Record};
use simple_logger::SimpleLogger;

use crate::sys;

struct Guarded {
    inner: SimpleLogger,
    /// Who speaks: `master`, `worker 3`.
    role: String,
    dropped: AtomicU64,
}

/// Sets the process's log up; our own lines carry `role`. Where the program
/// has set up one of its own already, that one stays.
pub(crate) fn init(level: LevelFilter, role: String) {
    let inner = SimpleLogger::new().with_level(level);
    let dropped = AtomicU64::new(0);
    let logger = Guarded { inner, role, dropped };
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(level);
    }
}

impl Guarded {
    /// Whether the line was printed.
    fn print(&self, record: &Record<'_>) -> bool {
        let line = AssertUnwindSafe(|| {
            let (level, target) = (record.level(), record.target());
            format!("{level:<5} [{target}] {}\n", record.args())
        });
        sys::poll::is_writable(io::stderr().as_fd())
            && catch_unwind(line)
                .is_ok_and(|line| sys::stderr::write(line.as_bytes()).is_ok())
    }

    /// Says how many lines are missing, before the next one.
    fn report_dropped(&self) {
        let dropped = self.dropped.swap(0, Relaxed);
        if dropped == 0 {
            return;
        }
        let printed = self.print(
            &Record::builder()
                .level(Level::Warn)
                .target(&self.role)
                .args(format_args!(
                    "{dropped} lines were dropped: nobody read them"
                ))
                .build(),
        );
        if !printed {
            self.dropped.fetch_add(dropped, Relaxed);
        }
    }
}

impl Log for Guarded {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.inner.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        self.report_dropped();
        let ours = record.target().starts_with(env!("CARGO_PKG_NAME"));
        let target = if ours { &self.role } else { record.target() };
        let record = Record::builder()
            .level(record.level())
            .target(target)
            .args(*record.args())
            .build();
        if !self.print(&record) {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    fn flush(&self) {}
}
