//! Least connections: whoever has the fewest.

use super::{Peer, Rotation, Scheduler};

/// The worker with the fewest open connections among those with room. Equals
/// take turns, so that an idle cluster does not feed its first worker alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastConnections;

impl Scheduler for LeastConnections {
    fn pick(&mut self, _peer: &Peer, rotation: &mut Rotation) -> usize {
        rotation
            .in_turn()
            .filter(|&index| rotation[index].has_room())
            .min_by_key(|&index| rotation[index].open()) // the first of equals
            .unwrap_or(rotation.turn())
    }

    fn name(&self) -> &str {
        "least-connections"
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{rotation, slots};
    use super::*;

    #[test]
    fn the_fewest_open_connections_win() {
        let mut r = rotation(&[(0, 3, 99), (1, 1, 99), (2, 4, 99)]);
        assert_eq!(slots(&mut LeastConnections, &mut r, 3), [1, 1, 0]);
    }

    #[test]
    fn equals_take_turns() {
        let mut r = rotation(&[(0, 5, 99), (1, 5, 99), (2, 5, 99)]);
        for expected in [0, 1, 2, 0, 1] {
            assert_eq!(slots(&mut LeastConnections, &mut r, 1), [expected]);
            r.update(expected, 5, 99); // closed at once: all equal again
        }
    }

    #[test]
    fn a_worker_without_room_is_not_chosen() {
        let mut r = rotation(&[(0, 0, 0), (1, 7, 1)]);
        assert_eq!(slots(&mut LeastConnections, &mut r, 1), [1]);
    }
}
