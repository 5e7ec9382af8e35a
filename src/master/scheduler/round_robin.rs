//! Round robin: everybody in turn.

use super::{Peer, Rotation, Scheduler};

/// Strict rotation by slot. A worker without room is passed over, which is
/// counted: while nobody was, no worker has got two connections more than
/// another.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin;

impl Scheduler for RoundRobin {
    fn pick(&mut self, _peer: &Peer, rotation: &mut Rotation) -> usize {
        for index in rotation.in_turn() {
            if rotation[index].has_room() {
                return index;
            }
            rotation.skip(index);
        }
        rotation.turn()
    }

    fn name(&self) -> &str {
        "round-robin"
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{rotation, slots};
    use super::*;

    #[test]
    fn everybody_gets_one_in_turn() {
        let mut r = rotation(&[(0, 0, 99), (1, 50, 99), (5, 0, 99)]);
        assert_eq!(slots(&mut RoundRobin, &mut r, 7), [0, 1, 5, 0, 1, 5, 0]);
        assert!(r.iter().all(|c| c.skipped() == 0));
    }

    #[test]
    fn a_worker_without_room_is_skipped_and_the_skip_counted() {
        let mut r = rotation(&[(0, 0, 9), (1, 0, 1), (2, 0, 9)]);
        assert_eq!(slots(&mut RoundRobin, &mut r, 6), [0, 1, 2, 0, 2, 0]);
        let skips: Vec<_> = r.iter().map(|c| c.skipped()).collect();
        assert_eq!(skips, [0, 1, 0]);
    }

    #[test]
    fn when_nobody_has_room_the_answer_is_whose_turn_it_is() {
        let mut r = rotation(&[(0, 0, 1), (1, 0, 0)]);
        slots(&mut RoundRobin, &mut r, 1);
        assert_eq!(RoundRobin.pick(&Peer::Unix, &mut r), 1);
    }
}
