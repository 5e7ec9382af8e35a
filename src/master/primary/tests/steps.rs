//! What may happen to a primary, and the words in which it hears of it.

use proptest::prelude::*;

use super::model::wishes;
use super::*;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Start {
        slot: usize,
    },
    Pass(u64),
    /// Time passes until something is due, as the loop sleeps.
    Sleep,
    /// What the loop does whenever it has woken up.
    Tick {
        slots: usize,
        awaited: bool,
    },
    /// By the worker of this rank among the living, counted round.
    Of(usize, Deed),
    /// It asks for something, and listens there if all goes well.
    Serve(usize, usize),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    Online,
    Query {
        wish: usize,
        trouble: Option<i32>,
    },
    Listening {
        wish: usize,
    },
    Close {
        wish: usize,
    },
    SayReady,
    Say,
    Leave,
    SendHandle,
    Ack,
    Nack,
    /// To the oldest that it has not answered, or to one so far from it.
    Answer {
        off: i64,
        accepted: bool,
    },
    /// It is sent a connection of the server of this rank.
    BeSent(usize),
    BeAdmitted,
    BeWithdrawn,
    BeCutOff,
    Die,
}

pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    // The first few are met again.
    let wish = || prop_oneof![2 => 0..3_usize, 1 => 0..wishes().len()];
    let trouble = prop_oneof![8 => Just(None), 1 => Just(Some(98))];
    let off = prop_oneof![9 => Just(0), 1 => -1..2_i64];
    let deed = prop_oneof![
        4 => Just(Deed::Online),
        24 => (wish(), trouble)
            .prop_map(|(wish, trouble)| Deed::Query { wish, trouble }),
        24 => wish().prop_map(|wish| Deed::Listening { wish }),
        12 => wish().prop_map(|wish| Deed::Close { wish }),
        4 => Just(Deed::SayReady),
        1 => Just(Deed::Say),
        2 => Just(Deed::Leave),
        1 => Just(Deed::SendHandle),
        12 => Just(Deed::Ack),
        3 => Just(Deed::Nack),
        12 => (off, any::<bool>())
            .prop_map(|(off, accepted)| Deed::Answer { off, accepted }),
        12 => (0..4_usize).prop_map(Deed::BeSent),
        8 => Just(Deed::BeAdmitted),
        4 => Just(Deed::BeWithdrawn),
        1 => Just(Deed::BeCutOff),
        4 => Just(Deed::Die),
    ];
    let step = prop_oneof![
        5 => (0..3_usize).prop_map(|slot| Step::Start { slot }),
        3 => (0..1500_u64).prop_map(Step::Pass),
        1 => Just(Step::Pass(1000)),
        4 => Just(Step::Sleep),
        9 => (1..4_usize, prop::bool::weighted(0.2))
            .prop_map(|(slots, awaited)| Step::Tick { slots, awaited }),
        60 => (0..4_usize, deed).prop_map(|(n, deed)| Step::Of(n, deed)),
        20 => (0..4_usize, wish()).prop_map(|(n, wish)| Step::Serve(n, wish)),
    ];
    prop::collection::vec(step, 1..160)
}

/// What a worker gives with its queries.
pub(super) fn data(worker: u32) -> &'static str {
    ["1", "2"][worker as usize % 2]
}

/// The word of a worker: its `seq`th, while `oldest` is the number of what it
/// is to answer.
pub(super) fn word(
    worker: u32,
    deed: Deed,
    seq: u64,
    oldest: u64,
) -> Message<'static> {
    let wish = |wish: usize| wishes().swap_remove(wish);
    let act = match deed {
        Deed::Online => Act::Online { handoff: None },
        Deed::Query { wish: n, .. } => {
            let data = Some(data(worker));
            Act::QueryServer(Listen { data, ..wish(n).listen })
        }
        Deed::Listening { wish: n } => {
            Act::Listening { server: wish(n).listen, capacity: None }
        }
        Deed::Close { wish: n } => Act::Close { key: wish(n).key.into() },
        Deed::Leave => Act::ExitedAfterDisconnect,
        Deed::Answer { off, accepted } => {
            let answer = message::Answer::Accepted(accepted);
            Act::Reply { ack: oldest.saturating_add_signed(off), answer }
        }
        Deed::SayReady => return Message::User("\"ready\""),
        Deed::Say => return Message::User("[1]"),
        Deed::SendHandle => {
            let inner = Inner::User("1");
            return Message::Handle { kind: HandleKind::NetNative, inner };
        }
        Deed::Ack => return Message::HandleAck,
        Deed::Nack => return Message::HandleNack { first: None },
        Deed::BeSent(_)
        | Deed::BeAdmitted
        | Deed::BeWithdrawn
        | Deed::BeCutOff
        | Deed::Die => unreachable!("no word of its own"),
    };
    Message::Cluster(Cluster { seq: Some(seq), act })
}
