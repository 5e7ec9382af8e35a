//! PURE: what a run must show, and whether it did.
//!
//! Whatever happens to workers, nobody is refused, kept waiting for ever or
//! told a lie: that holds for every fault. What may be lost differs.

use super::ledger::{End, Hit, Ledger, Loss};

/// Which requests may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Losses {
    /// None, and no connection is closed while it is idle.
    NotEvenIdle,
    None,
    /// One that crossed the close of its connection, and was answered when
    /// it was repeated. And whoever asks again soon is told of the close.
    OneCrossing,
    /// Those that were in the hands of the worker that was hit.
    InHand,
    /// Any: nobody is left who could answer.
    Any,
}

/// In words, every bar that these books do not reach.
pub(crate) fn judge(
    losses: Losses,
    hits: &[Hit],
    ledger: &Ledger,
) -> Vec<String> {
    let Ledger { first, again, .. } = ledger;
    let mut broken = Vec::new();
    let mut at_most = |most: usize, count: usize, what: &str| {
        if count > most {
            broken.push(format!("{count} {what}, may be {most}"));
        }
    };
    at_most(0, first[End::Refused] + again[End::Refused], "refused");
    at_most(0, first[End::TimedOut] + again[End::TimedOut], "timed out");
    at_most(0, first[End::Wrong] + again[End::Wrong], "answered wrongly");
    at_most(0, ledger.unasked, "answers that nobody had asked for");
    let crossed = first[End::Crossed];
    match losses {
        Losses::NotEvenIdle => {
            at_most(0, first.lost(), "lost");
            at_most(0, ledger.idle_closes, "closed while idle");
        }
        Losses::None => at_most(0, first.lost(), "lost"),
        Losses::OneCrossing => {
            at_most(0, first.lost() - crossed, "lost");
            at_most(1, crossed, "crossed a close");
            at_most(0, ledger.lost_for_good(), "lost for good");
            at_most(0, ledger.let_down, "closed while idle, but not for long");
        }
        Losses::InHand => {
            let explained =
                |loss: &&Loss| hits.iter().any(|hit| could_cost(hit, loss));
            let all = &ledger.losses;
            let others = all.len() - all.iter().filter(explained).count();
            at_most(0, others, "lost that no dead worker had");
        }
        Losses::Any => {}
    }
    if first[End::Ok] == 0 {
        broken.push("nothing was answered".into());
    }
    broken
}

/// Whether the victim of this hit can have had this request in hand. One on
/// a new connection it must have taken before: what was on its way to it goes
/// to another.
fn could_cost(hit: &Hit, loss: &Loss) -> bool {
    let latest = if loss.used { hit.when.to } else { hit.effect };
    hit.when.from <= loss.when.to && loss.when.from <= latest
}
