//! The options, one row each: name, value, default, help, and where the
//! value goes. Parsing and `--help` read the same rows, so they can't
//! disagree; a new option is a new row.

use std::{ffi::OsStr, num::NonZero, time::Duration};

use log::LevelFilter;

use super::{
    Schedule, Settings, Usage,
    settings::{DAY, TIMEOUT, WINDOW},
    value::Value::{
        self, Address, Control, Count, Seconds, SecondsOrOff, Size, Switch,
        Text, User, Word,
    },
};
use crate::control::WORKERS;

/// A row.
#[derive(Debug)]
pub(super) struct Flag {
    /// As typed, with its two dashes.
    pub(super) name: &'static str,
    pub(super) value: Value,
    pub(super) default: Fallback,
    /// The same for `handoff run`, if it has the option too.
    pub(super) run: Option<Fallback>,
    /// Without a capital and a full stop: `--help` adds range and default.
    pub(super) help: &'static str,
}

impl Flag {
    /// Puts what was typed where it belongs.
    pub(super) fn store(
        &self,
        settings: &mut Settings,
        typed: &OsStr,
    ) -> Result<(), Usage> {
        self.value.store(settings, typed).map_err(|why| self.usage(&why))
    }

    /// What is wrong: goes on from the flag's name.
    pub(super) fn usage(&self, why: &str) -> Usage {
        Usage::new(format!("{}{why}", self.name))
    }
}

/// What holds when a flag is not given.
#[derive(Debug)]
pub(super) enum Fallback {
    /// As if this had been typed.
    Typed(&'static str),
    /// What [`Settings::new`] begins with; these are the words for it.
    Found(&'static str),
}

use Fallback::{Found, Typed};

/// Rows under one heading of `--help`.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) flags: &'static [Flag],
}

/// Every row under the headings.
pub(super) fn flags(
    sections: &'static [Section],
) -> impl Iterator<Item = &'static Flag> {
    sections.iter().flat_map(|section| section.flags)
}

/// The options of `handoff serve`.
pub(super) static SERVE: &[Section] = &[
    Section {
        title: "Cluster",
        flags: &[
            Flag {
                name: "--listen",
                value: Address(|settings| &mut settings.listen),
                default: Found("127.0.0.1:3000"),
                run: None,
                help: "where to accept: PORT (of 127.0.0.1), HOST:PORT, \
                       [IPv6]:PORT or unix:PATH; port 0 is any free one; \
                       give it again to listen at several; sockets that a \
                       service manager passes (LISTEN_FDS) take its place",
            },
            Flag {
                name: "--workers",
                value: Count(WORKERS, Settings::set_workers),
                default: Found("the usable CPUs"),
                run: Some(Found("the usable CPUs")),
                help: "worker processes",
            },
            Flag {
                name: "--schedule",
                value: Word(&[
                    ("round-robin", |settings| {
                        settings.schedule = Schedule::RoundRobin
                    }),
                    ("least-connections", |settings| {
                        settings.schedule = Schedule::LeastConnections
                    }),
                    ("ip-hash", |settings| {
                        settings.schedule = Schedule::IpHash
                    }),
                ]),
                default: Typed("round-robin"),
                run: Some(Typed("round-robin")),
                help: "who gets the next connection: each worker in turn, \
                       the one with the fewest open, or always the same \
                       one for a client's address",
            },
            Flag {
                name: "--window",
                value: Count(WINDOW, |settings, n| settings.window = n),
                default: Typed("128"),
                run: Some(Typed("4")),
                help: "connections handed to a worker that it has not yet \
                       taken; when all workers are full, new ones wait in \
                       the kernel's queue",
            },
            Flag {
                name: "--defer-accept",
                value: Word(&[
                    ("on", |settings| settings.defer_accept = true),
                    ("off", |settings| settings.defer_accept = false),
                ]),
                default: Typed("on"),
                run: None,
                help: "TCP_DEFER_ACCEPT: accept a connection only when its \
                       first bytes are there",
            },
            Flag {
                name: "--boot-timeout",
                value: Seconds(TIMEOUT, |settings, s| {
                    settings.boot_timeout = s
                }),
                default: Typed("30"),
                run: Some(Typed("30")),
                help: "how long a new worker may take to be ready",
            },
            Flag {
                name: "--grace",
                value: Seconds(Duration::ZERO..=DAY, |settings, s| {
                    settings.grace = s
                }),
                default: Typed("10"),
                run: Some(Typed("10")),
                help: "how long requests in hand may take to finish at a \
                       stop or reload before their worker is killed",
            },
            Flag {
                name: "--idle-grace",
                value: Seconds(Duration::ZERO..=DAY, |settings, s| {
                    settings.idle_grace = s
                }),
                default: Typed("2"),
                run: None,
                help: "how long a worker that is to go waits for one more \
                       request of each idle client, to tell it so; at a stop \
                       half a second at most",
            },
            Flag {
                name: "--hang-timeout",
                value: SecondsOrOff(TIMEOUT, |settings, s| {
                    settings.hang_timeout = s
                }),
                default: Typed("10"),
                run: Some(Typed("off")),
                help: "how long a worker may not move, while it has \
                       something to do, before it is killed and replaced; \
                       off, or 0, for debugging",
            },
            Flag {
                name: "--no-salvage",
                value: Switch(|settings| settings.salvage = false),
                default: Found("they go on with another"),
                run: None,
                help: "let the connections of a worker end with it, when it \
                       dies or is replaced",
            },
            Flag {
                name: "--max-requests",
                value: Count(0..=1_000_000_000, |settings, n| {
                    settings.max_requests = NonZero::new(n);
                }),
                default: Typed("0"),
                run: None,
                help: "replace a worker after about so many requests, 10 % \
                       more or less for each; 0 is never",
            },
            Flag {
                name: "--max-rss",
                value: Size(0..=1 << 40, |settings, n| {
                    settings.max_rss = NonZero::new(n);
                }),
                default: Typed("0"),
                run: Some(Typed("0")),
                help: "replace a worker with more resident memory; 0 is \
                       never",
            },
            Flag {
                name: "--control",
                value: Control(|settings, control| settings.control = control),
                default: Found("handoff-PID.sock"),
                run: Some(Found("handoff-PID.sock")),
                help: "the socket on which handoff status, reload, scale \
                       and stop find this master, by default in \
                       $XDG_RUNTIME_DIR or /run",
            },
            Flag {
                name: "--user",
                value: User(|settings, user| settings.user = Some(user)),
                default: Found("who the master is"),
                run: Some(Found("who the master is")),
                help: "who the workers are, by name or number; the master \
                       stays who it is, and has to be root for this",
            },
            Flag {
                name: "--log-level",
                value: Word(&[
                    ("off", |settings| settings.log_level = LevelFilter::Off),
                    ("error", |settings| {
                        settings.log_level = LevelFilter::Error
                    }),
                    ("warn", |settings| {
                        settings.log_level = LevelFilter::Warn
                    }),
                    ("info", |settings| {
                        settings.log_level = LevelFilter::Info
                    }),
                    ("debug", |settings| {
                        settings.log_level = LevelFilter::Debug
                    }),
                    ("trace", |settings| {
                        settings.log_level = LevelFilter::Trace
                    }),
                ]),
                default: Typed("info"),
                run: Some(Typed("info")),
                help: "the least important lines to write to stderr",
            },
        ],
    },
    Section {
        title: "HTTP, in each worker",
        flags: &[
            Flag {
                name: "--header-timeout",
                value: Seconds(TIMEOUT, |settings, s| {
                    settings.header_timeout = s
                }),
                default: Typed("15"),
                run: None,
                help: "from a request's first byte to the end of its head",
            },
            Flag {
                name: "--idle-timeout",
                value: Seconds(TIMEOUT, |settings, s| {
                    settings.idle_timeout = s
                }),
                default: Typed("60"),
                run: None,
                help: "from one request to the next",
            },
            Flag {
                name: "--body-timeout",
                value: Seconds(TIMEOUT, |settings, s| {
                    settings.body_timeout = s
                }),
                default: Typed("30"),
                run: None,
                help: "without a byte of a body that is still to come",
            },
            Flag {
                name: "--write-timeout",
                value: Seconds(TIMEOUT, |settings, s| {
                    settings.write_timeout = s
                }),
                default: Typed("30"),
                run: None,
                help: "without a byte taken of a response",
            },
            Flag {
                name: "--max-head",
                value: Size(256..=1 << 20, |settings, n| {
                    settings.max_head = n
                }),
                default: Typed("16K"),
                run: None,
                help: "request line and fields together",
            },
            Flag {
                name: "--max-fields",
                value: Count(1..=1000, |settings, n| settings.max_fields = n),
                default: Typed("100"),
                run: None,
                help: "fields of one request",
            },
            Flag {
                name: "--max-body",
                value: Size(0..=1 << 30, |settings, n| settings.max_body = n),
                default: Typed("1M"),
                run: None,
                help: "body of one request",
            },
            Flag {
                name: "--max-requests-per-connection",
                value: Count(0..=1_000_000_000, |settings, n| {
                    settings.max_requests_per_connection = NonZero::new(n);
                }),
                default: Typed("0"),
                run: None,
                help: "close a connection after so many; 0 is never",
            },
            Flag {
                name: "--max-connections",
                value: Count(1..=1_000_000, |settings, n| {
                    settings.max_connections = NonZero::new(n);
                }),
                default: Found("what the fd limit allows"),
                run: None,
                help: "open connections of one worker",
            },
        ],
    },
];

/// The options that only `handoff run` has.
pub(super) static RUN: &[Section] = &[Section {
    title: "Program",
    flags: &[
        Flag {
            name: "--host",
            value: Text("HOST", |settings, host| settings.host = Some(host)),
            default: Found("as it asks"),
            run: Some(Found("as it asks")),
            help: "where a program that listens on every address is bound \
                   instead",
        },
        Flag {
            name: "--wait-ready",
            value: Word(&[
                ("on", |settings| settings.wait_ready = true),
                ("off", |settings| settings.wait_ready = false),
            ]),
            default: Typed("off"),
            run: Some(Typed("off")),
            help: "a worker is ready only when it has sent \"ready\", as \
                   with process.send('ready')",
        },
    ],
}];

/// The rows of a command, under their headings, and what holds there when
/// they are not given.
pub(super) fn rows(
    run: bool,
) -> impl Iterator<Item = (&'static str, &'static Flag, &'static Fallback)> {
    let sections = SERVE.iter().chain(RUN.iter().filter(move |_| run));
    sections.flat_map(move |section| {
        section.flags.iter().filter_map(move |flag| {
            let default = if run { flag.run.as_ref()? } else { &flag.default };
            Some((section.title, flag, default))
        })
    })
}
