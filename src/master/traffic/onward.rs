//! Where a connection goes that no worker has any more: to another worker, to
//! the next master, or nowhere.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::time::Instant;

use super::connection::Connection;
use super::{CONGESTION, Traffic};
use crate::master::server::ServerId;
use crate::sys::socket::{self, Direction};

/// Where a connection goes that a worker gives back, or leaves behind.
#[derive(Debug)]
pub(super) enum Onward {
    /// To another worker.
    Worker,
    /// To the master that follows this one, through this queue.
    NextMaster(VecDeque<Connection>),
    /// Nobody comes after us: what has something in hand goes to a worker
    /// that is there still, what has asked for nothing ends.
    End,
}

impl Traffic {
    /// First in line for a worker; or for the next master, or nobody.
    pub(super) fn put_on(&mut self, connection: Connection) {
        let own = self.servers.get_mut(&ServerId::OWN);
        let server = match &mut self.onward {
            Onward::NextMaster(queue) => {
                return queue.push_back(connection);
            }
            Onward::End => own.filter(|_| connection.is_heavy()),
            Onward::Worker => own,
        };
        self.returned = true;
        match server {
            Some(server) => {
                let peer = connection.peer();
                server.dispatcher.put_back(connection, peer);
            }
            None => {
                let _ = socket::shutdown(connection.as_fd(), Direction::Both);
                self.held -= 1;
            }
        }
    }

    /// Takes over a connection of the previous master.
    pub(crate) fn adopt(&mut self, connection: Connection) {
        self.held += 1;
        self.tally.connections += 1;
        self.put_on(connection);
    }
}

/// Connections for the next master.
impl Traffic {
    /// Whether somebody goes on with what a worker gives back.
    pub(crate) fn goes_on(&self) -> bool {
        !matches!(self.onward, Onward::End)
    }

    /// The next connection that is to go to the next master.
    pub(crate) fn outbound(&self) -> Option<&Connection> {
        match &self.onward {
            Onward::NextMaster(queue) => queue.front(),
            Onward::Worker | Onward::End => None,
        }
    }

    /// That one has gone there.
    pub(crate) fn outbound_sent(&mut self) {
        if let Onward::NextMaster(queue) = &mut self.onward
            && queue.pop_front().is_some()
        {
            self.held -= 1;
        }
    }

    /// The next master is gone: what was to go there ends. How many those
    /// are.
    pub(crate) fn end_outbound(&mut self) -> usize {
        let Onward::NextMaster(queue) = &self.onward else { return 0 };
        let count = queue.len();
        self.held -= count;
        self.onward = Onward::End;
        count
    }

    /// The system has too many descriptors on their way: nothing is sent for
    /// a while.
    pub(crate) fn pause_sending(&mut self, now: Instant) {
        self.congestion.until = Some(now + CONGESTION);
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.congestion.until.is_some()
    }
}
