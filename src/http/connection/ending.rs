//! Whether a connection ends behind an answer, and how.

use super::{End, Exchange};
use crate::http::{Closing, Service};

impl End {
    /// Of a connection on which so many requests are answered, with this one.
    pub(super) fn of(
        exchange: Exchange,
        served: u32,
        service: &Service<'_>,
    ) -> Option<End> {
        let most = service.limits.requests;
        if !exchange.persist {
            Some(End::Client)
        } else if service.leaving
            || service.reply.close
            || (most != 0 && served >= most)
        {
            Some(End::Server)
        } else {
            None
        }
    }

    /// How it comes. `quiet`: nothing waits that the client has sent.
    /// `ended`: it will send nothing more.
    pub(super) fn closing(self, quiet: bool, ended: bool) -> Closing {
        match self {
            End::Broken => Closing::Reset,
            End::Client if quiet => Closing::Plain,
            End::Server if ended => Closing::Plain,
            End::Client | End::Server => Closing::Staged,
        }
    }
}
