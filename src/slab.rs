//! A table whose keys go stale: index and generation.
//!
//! A key is what epoll carries for a descriptor. An event may be older than
//! the closing of what it speaks of (it was in the same batch, or another
//! process still holds the open file, see `sys::epoll`), and the place may
//! have a new tenant by then. The generation tells: a stale key finds nobody.
//!
//! ```text
//!   key    [ generation : 32 | index : 32 ]
//!                                │
//!   places  0:gen 1, Some(a)   1:gen 4, None   2:gen 2, Some(c)
//! ```

/// Where a value lies, and which tenant of that place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u64);

impl Key {
    fn new(index: u32, generation: u32) -> Key {
        Key(u64::from(generation) << 32 | u64::from(index))
    }

    fn index(self) -> usize {
        self.0 as u32 as usize
    }

    fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// As epoll carries it.
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// As epoll brought it back.
    pub(crate) fn from_bits(bits: u64) -> Key {
        Key(bits)
    }
}

#[derive(Debug)]
struct Place<T> {
    /// Of the present or, if the place is empty, the next tenant.
    generation: u32,
    tenant: Option<T>,
}

/// The table. The last few indices are never used, so that a loop may give
/// its other sources data that no key has.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Place<T>>,
    /// Indices of empty places; the last to become empty is the first to be
    /// taken, since it is still in the cache.
    vacant: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Slab<T> {
        Slab::with_room(0)
    }

    /// One that does not move before it has so many tenants. Memory that was
    /// never touched does not exist, so room costs nothing; a table that
    /// doubles leaves its earlier places behind as holes.
    pub(crate) fn with_room(tenants: usize) -> Slab<T> {
        Slab { places: Vec::with_capacity(tenants), vacant: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.vacant.len()
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        if let Some(index) = self.vacant.pop() {
            let place = &mut self.places[index as usize];
            place.tenant = Some(value);
            return Key::new(index, place.generation);
        }
        let index = self.places.len() as u32;
        assert!(index < u32::MAX - 8, "more than there are descriptors");
        self.places.push(Place { generation: 0, tenant: Some(value) });
        Key::new(index, 0)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.index())?;
        if place.generation != key.generation() {
            return None;
        }
        place.tenant.as_mut()
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index())?;
        if place.generation != key.generation() {
            return None;
        }
        let tenant = place.tenant.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.vacant.push(key.index() as u32);
        Some(tenant)
    }

    /// Every tenant with its key.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &T)> {
        self.places.iter().enumerate().filter_map(|(index, place)| {
            let key = Key::new(index as u32, place.generation);
            place.tenant.as_ref().map(|tenant| (key, tenant))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_stale_key_finds_nobody() {
        let mut slab = Slab::new();
        let old = slab.insert('a');
        assert_eq!(slab.remove(old), Some('a'));
        let new = slab.insert('b');
        assert_eq!(new.index(), old.index());
        assert_eq!(slab.get_mut(old), None);
        assert_eq!(slab.remove(old), None);
        assert_eq!(slab.get_mut(new), Some(&mut 'b'));
    }

    #[test]
    fn a_key_survives_its_way_through_epoll() {
        let mut slab = Slab::new();
        slab.insert(0);
        let first = slab.insert(1);
        slab.remove(first);
        let key = slab.insert(2);
        assert_eq!(key.bits(), 1 << 32 | 1);
        assert_eq!(slab.get_mut(Key::from_bits(key.bits())), Some(&mut 2));
    }

    proptest! {
        #[test]
        fn it_holds_what_a_list_of_pairs_holds(
            steps in proptest::collection::vec((any::<bool>(), 0..20usize), 0..200)
        ) {
            let mut slab = Slab::new();
            let mut model: Vec<(Key, usize)> = Vec::new();
            let mut gone: Vec<Key> = Vec::new();
            for (number, (insert, at)) in steps.into_iter().enumerate() {
                if insert || model.is_empty() {
                    model.push((slab.insert(number), number));
                } else {
                    let (key, value) = model.swap_remove(at % model.len());
                    prop_assert_eq!(slab.remove(key), Some(value));
                    gone.push(key);
                }
                prop_assert_eq!(slab.len(), model.len());
                for (key, value) in &mut model {
                    prop_assert_eq!(slab.get_mut(*key), Some(value));
                }
                for key in &gone {
                    prop_assert_eq!(slab.get_mut(*key), None);
                }
            }
            let mut found: Vec<_> = slab.iter().map(|(_, v)| *v).collect();
            let mut expected: Vec<_> = model.iter().map(|(_, v)| *v).collect();
            found.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
