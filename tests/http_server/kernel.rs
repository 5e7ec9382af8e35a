//! What the kernel knows of a connection (proc_net(5)).

use std::fs;

use crate::common::http::Place;
use crate::peer::Client;

/// The server's end of one.
pub(crate) struct Connection {
    pub(crate) is_established: bool,
    /// Bytes that were written and not acknowledged.
    pub(crate) waiting: usize,
}

/// The server's end of this client's connection, while there is one.
pub(crate) fn server_end(
    place: &Place,
    client: &Client,
) -> Option<Connection> {
    let ports = (place.address().port(), client.port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let port = |word: &str| u16::from_str_radix(&word[9..], 16).unwrap();
        let ours = (port(words[1]), port(words[2])) == ports;
        ours.then(|| Connection {
            is_established: words[3] == "01",
            waiting: usize::from_str_radix(&words[4][..8], 16).unwrap(),
        })
    })
}
