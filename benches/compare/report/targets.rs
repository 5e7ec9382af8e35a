//! What we mean to reach, and whether we have.

use super::results::Results;
use crate::measure::calls::Counter;
use crate::servers::peer::Peer::{
    FloorKeepAlive, FloorMore, FloorPass, FloorPipelined, H2o, Handoff,
    HandoffPlain, Haproxy, HaproxyDeferred, Hyper, Nginx, NginxDeferred,
};
use crate::statistics::Spread;

/// A bound on one figure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) what: &'static str,
    pub(crate) bound: Bound,
    measured: fn(&Results) -> Option<Spread>,
}

/// A number that must be kept, and a better one to strive for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    AtMost(f64, Option<f64>),
    AtLeast(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    /// The better number is reached as well.
    Stretch,
    Fail,
    NotMeasured,
}

impl Verdict {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Stretch => "pass, stretch",
            Verdict::Fail => "**fail**",
            Verdict::NotMeasured => "not measured",
        }
    }
}

impl Target {
    pub(crate) fn measured(&self, results: &Results) -> Option<Spread> {
        (self.measured)(results)
    }

    /// By the median.
    pub(crate) fn verdict(&self, results: &Results) -> Verdict {
        let Some(spread) = self.measured(results) else {
            return Verdict::NotMeasured;
        };
        let figure = spread.median;
        match self.bound {
            Bound::AtMost(_, Some(better)) if figure <= better => {
                Verdict::Stretch
            }
            Bound::AtMost(most, _) if figure <= most => Verdict::Pass,
            Bound::AtLeast(least) if figure >= least => Verdict::Pass,
            Bound::AtMost(..) | Bound::AtLeast(_) => Verdict::Fail,
        }
    }
}

const fn at_most(
    what: &'static str,
    most: f64,
    better: Option<f64>,
    measured: fn(&Results) -> Option<Spread>,
) -> Target {
    Target { what, bound: Bound::AtMost(most, better), measured }
}

fn user_time(results: &Results, load: &str) -> Option<Spread> {
    results.comparison(load)?.entry(Handoff)?.spread(|s| s.user)
}

/// As exact as the bounds are said. By strace: of a server that is busy.
fn calls(results: &Results, load: &str) -> Option<Spread> {
    Some(rounded(results.calls(load, Counter::Strace)?.total))
}

fn calls_of_a_connection(results: &Results) -> Option<Spread> {
    Some(rounded(results.calls("close64", Counter::Perf)?.total))
}

fn rounded(figure: f64) -> Spread {
    Spread::exactly((figure * 100.0).round() / 100.0)
}

fn connections_in_a_message(results: &Results) -> Option<Spread> {
    let calls = results.calls("close64", Counter::Perf)?;
    Some(Spread::exactly(1.0 / calls.of("sendmsg")))
}

fn registrations(results: &Results) -> Option<Spread> {
    // A few are made beside the connections; they vanish among thousands.
    let each = results.calls("close64", Counter::Perf)?.of("epoll_ctl");
    Some(Spread::exactly((each * 100.0).floor() / 100.0))
}

/// Beside the slot of 32 bytes that the worker writes down in.
fn beside_the_slot(results: &Results) -> Option<Spread> {
    let all = results.memory(Handoff)?.per_connection;
    Some(Spread::exactly(all - 32.0))
}

pub(crate) const ALL: [Target; 34] = [
    at_most("keep-alive 64 / floor-ka", 1.10, Some(1.05), |r| {
        r.ratio("ka64", FloorKeepAlive)
    }),
    at_most("keep-alive 64 / nginx", 0.92, Some(0.85), |r| {
        r.ratio("ka64", Nginx)
    }),
    at_most("keep-alive 64 / hyper", 0.95, Some(0.88), |r| {
        r.ratio("ka64", Hyper)
    }),
    at_most("keep-alive 64 / h2o", 0.92, Some(0.86), |r| r.ratio("ka64", H2o)),
    at_most("keep-alive 64 / HAProxy", 0.70, None, |r| {
        r.ratio("ka64", Haproxy)
    }),
    at_most("keep-alive 512 / floor-ka", 1.10, Some(1.05), |r| {
        r.ratio("ka512", FloorKeepAlive)
    }),
    at_most("keep-alive 512 / nginx", 0.92, Some(0.85), |r| {
        r.ratio("ka512", Nginx)
    }),
    at_most("keep-alive 512 / hyper", 0.95, Some(0.88), |r| {
        r.ratio("ka512", Hyper)
    }),
    at_most("keep-alive 512 / h2o", 0.92, Some(0.86), |r| {
        r.ratio("ka512", H2o)
    }),
    at_most("keep-alive 512 / HAProxy", 0.70, None, |r| {
        r.ratio("ka512", Haproxy)
    }),
    at_most("pipelined 16 / floor-pipe", 1.25, Some(1.12), |r| {
        r.ratio("pipe16", FloorPipelined)
    }),
    at_most("pipelined 16 / hyper", 0.58, Some(0.52), |r| {
        r.ratio("pipe16", Hyper)
    }),
    at_most("pipelined 16 / nginx", 0.12, None, |r| r.ratio("pipe16", Nginx)),
    at_most("close, handed over / D-pb-cr", 1.00, Some(0.92), |r| {
        r.ratio("close64", FloorPass)
    }),
    at_most("close, handed over / D-more", 1.18, Some(1.10), |r| {
        r.ratio("close64", FloorMore)
    }),
    at_most("close, handed over / nginx deferred", 0.95, Some(0.88), |r| {
        r.ratio("close64", NginxDeferred)
    }),
    at_most("close, handed over / nginx", 0.75, Some(0.68), |r| {
        r.ratio("close64", Nginx)
    }),
    at_most("close, handed over / h2o", 0.93, Some(0.86), |r| {
        r.ratio("close64", H2o)
    }),
    at_most("close, handed over / hyper", 0.65, Some(0.60), |r| {
        r.ratio("close64", Hyper)
    }),
    at_most("close, handed over / HAProxy deferred", 0.82, Some(0.74), |r| {
        r.ratio("close64", HaproxyDeferred)
    }),
    at_most("user time of a connection, µs", 1.2, Some(0.9), |r| {
        user_time(r, "close64")
    }),
    at_most("user time of a keep-alive request, µs", 0.6, Some(0.4), |r| {
        user_time(r, "ka64")
    }),
    at_most("system calls of a keep-alive request, busy", 2.05, None, |r| {
        calls(r, "ka64")
    }),
    at_most("system calls of a pipelined request, busy", 0.13, None, |r| {
        calls(r, "pipe16")
    }),
    at_most(
        "system calls of a connection",
        7.2,
        Some(6.6),
        calls_of_a_connection,
    ),
    Target {
        what: "connections in a sendmsg",
        bound: Bound::AtLeast(3.0),
        measured: connections_in_a_message,
    },
    at_most("epoll_ctl of a connection", 0.0, None, registrations),
    at_most("keep-alive 64 / without salvage", 1.05, None, |r| {
        r.ratio("ka64", HandoffPlain)
    }),
    at_most("pipelined 16 / without salvage", 1.05, None, |r| {
        r.ratio("pipe16", HandoffPlain)
    }),
    at_most("close, handed over / without salvage", 1.05, None, |r| {
        r.ratio("close64", HandoffPlain)
    }),
    at_most(
        "bytes of an idle connection without salvage",
        64.0,
        Some(32.0),
        |r| Some(Spread::exactly(r.memory(HandoffPlain)?.per_connection)),
    ),
    at_most(
        "bytes of an idle connection, beside its slot of 32",
        64.0,
        Some(32.0),
        beside_the_slot,
    ),
    at_most("MB of master and worker (PSS)", 2.0, Some(1.7), |r| {
        let memory = r.memory(Handoff)?;
        Some(Spread::exactly(memory.baseline as f64 / 1e6))
    }),
    at_most("errors under all loads", 0.0, None, Results::errors),
];
