//! The first words with the parent, whoever that is.

use std::sync::Arc;

use super::contract::{Contract, Parent as Kind};
use super::master::Master;
use super::node::Node;
use super::parent::Parent;
use crate::config::Settings;
use crate::error::Error;
use crate::sys::epoll::Epoll;

/// Says hello to the parent that the contract names.
pub(super) fn greet(
    contract: &Contract,
    settings: &Settings,
    epoll: &Epoll,
) -> Result<Box<dyn Parent>, Error> {
    let channel = contract.take_channel()?;
    let board = Arc::clone(&contract.scoreboard);
    Ok(match contract.parent {
        Kind::Master => {
            Box::new(Master::greet(channel, board, settings, epoll)?)
        }
        Kind::NodeCluster => {
            Box::new(Node::join_cluster(channel, board, settings, epoll)?)
        }
        Kind::NodeProcess => {
            Box::new(Node::join_process(channel, board, settings, epoll)?)
        }
    })
}
