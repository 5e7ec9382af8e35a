//! PURE: the connections that a Node process has passed on and still counts.
//!
//! Node names the server that a connection came from. Its `getConnections`
//! asks every child how many it has of that name, and its `close` calls back
//! when all have said that they have none. It waits for ever for a child
//! that does not answer (`lib/internal/socket_list.js`).
//!
//! ```text
//!   NODE_HANDLE key "a" + fd ──▶ arrived ──▶ seated ──▶ ended
//!                                  a: 1                  a: 0 ──▶ ALL_CLOSED,
//!   NODE_SOCKET_NOTIFY_CLOSE "a" ───────▶ watched ───────┘        if watched
//! ```

use std::collections::HashMap;

use crate::slab::{Key, Slab};

/// One server's connections that are here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct List(Key);

impl List {
    /// Its name outside of here.
    pub(super) fn tag(self) -> u64 {
        self.0.bits()
    }

    /// The list that goes by that name.
    pub(super) fn of(tag: u64) -> List {
        List(Key::from_bits(tag))
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Lists {
    /// As many as a Node process has servers that it passes connections of.
    lists: Slab<Entry>,
    /// By the bits of the clients' keys.
    members: HashMap<u64, List>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    /// Never 0: a list without connections is none.
    open: u64,
    watched: bool,
}

impl Lists {
    pub(super) fn new() -> Lists {
        Lists { lists: Slab::new(), members: HashMap::new() }
    }

    /// A connection of this name is here, and counts.
    pub(super) fn arrived(&mut self, name: &str) -> List {
        if let Some(list) = self.find(name)
            && let Some(entry) = self.lists.get_mut(list.0)
        {
            entry.open += 1;
            return list;
        }
        let (name, watched) = (name.to_owned(), false);
        List(self.lists.insert(Entry { name, open: 1, watched }))
    }

    /// It is this client by now.
    pub(super) fn seated(&mut self, client: Key, list: List) {
        self.members.insert(client.bits(), list);
    }

    /// A client is gone. The name of its list, if it was the last of one
    /// whose end is waited for.
    pub(super) fn ended(&mut self, client: Key) -> Option<String> {
        let List(list) = self.members.remove(&client.bits())?;
        let entry = self.lists.get_mut(list)?;
        entry.open -= 1;
        if entry.open > 0 {
            return None;
        }
        let entry = self.lists.remove(list)?;
        entry.watched.then_some(entry.name)
    }

    /// How many connections of this name are here.
    pub(super) fn count(&mut self, name: &str) -> u64 {
        self.entry(name).map_or(0, |entry| entry.open)
    }

    /// Waits for the last of this name to end. `false`: there is none.
    pub(super) fn watch(&mut self, name: &str) -> bool {
        let entry = self.entry(name);
        entry.map(|entry| entry.watched = true).is_some()
    }

    fn entry(&mut self, name: &str) -> Option<&mut Entry> {
        let List(list) = self.find(name)?;
        self.lists.get_mut(list)
    }

    fn find(&self, name: &str) -> Option<List> {
        let mut entries = self.lists.iter();
        let found = entries.find(|(_, entry)| entry.name == name);
        found.map(|(list, _)| List(list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys of clients, as a worker gives them.
    fn clients(count: usize) -> Vec<Key> {
        let mut slab = Slab::new();
        (0..count).map(|number| slab.insert(number)).collect()
    }

    #[test]
    fn each_name_is_counted_by_itself() {
        let mut lists = Lists::new();
        let clients = clients(3);
        for (client, name) in clients.iter().zip(["a", "b", "a"]) {
            let list = lists.arrived(name);
            lists.seated(*client, list);
        }
        assert_eq!(["a", "b", "c"].map(|name| lists.count(name)), [2, 1, 0]);
        assert_eq!(lists.ended(clients[0]), None);
        assert_eq!(lists.ended(clients[1]), None);
        assert_eq!(["a", "b", "c"].map(|name| lists.count(name)), [1, 0, 0]);
    }

    #[test]
    fn the_end_of_the_last_one_is_told_to_who_waits_for_it_and_once() {
        let mut lists = Lists::new();
        let clients = clients(3);
        for client in &clients[..2] {
            let list = lists.arrived("a");
            lists.seated(*client, list);
        }
        assert!(lists.watch("a"));
        assert_eq!(lists.ended(clients[0]), None);
        assert_eq!(lists.ended(clients[1]).as_deref(), Some("a"));
        assert!(!lists.watch("a"), "there is nothing to wait for");
        let list = lists.arrived("a");
        lists.seated(clients[2], list);
        assert_eq!(lists.ended(clients[2]), None, "nobody waits any more");
    }

    #[test]
    fn a_connection_counts_before_it_is_a_client() {
        let mut lists = Lists::new();
        lists.arrived("a");
        assert_eq!(lists.count("a"), 1);
        assert!(lists.watch("a"));
    }

    #[test]
    fn a_client_that_nobody_counts_may_end() {
        let mut lists = Lists::new();
        assert_eq!(lists.ended(clients(1)[0]), None);
    }
}
