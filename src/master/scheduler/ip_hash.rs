//! IP hash: a client stays with its worker.
//!
//! Rendezvous hashing (Thaler and Ravishankar, 1998) over the *slots*: every
//! slot draws a number for this client, and the highest wins. If a slot goes,
//! only its own clients move; when it is back they return, and nobody else
//! moves at any time. The numbers depend on nothing but address and slot, so
//! a worker's successor, and the master's, serve the same clients.

use std::net::IpAddr;

use super::{Peer, Rotation, RoundRobin, Scheduler};

/// Every client address has its slot. An IPv4-mapped IPv6 address counts as
/// the IPv4 address that it is, and an IPv6 client is known by its /64: that
/// is one household, whose hosts change the other half as they like. A
/// client whose worker has no room waits for it, as long as not too many do.
/// Unix-domain peers have no address and take turns.
#[derive(Clone, Copy, Debug, Default)]
pub struct IpHash;

impl Scheduler for IpHash {
    fn pick(&mut self, peer: &Peer, rotation: &mut Rotation) -> usize {
        let client = match peer {
            Peer::Ip(ip) => client(*ip),
            Peer::Unix => return RoundRobin.pick(peer, rotation),
        };
        let draw = |index: &usize| draw(client, rotation[*index].slot());
        (0..rotation.len()).max_by_key(draw).unwrap_or(0)
    }

    fn name(&self) -> &str {
        "ip-hash"
    }
}

fn client(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => mix(u64::from(ip.to_bits())),
        IpAddr::V6(ip) => mix((ip.to_bits() >> 64) as u64),
    }
}

fn draw(client: u64, slot: usize) -> u64 {
    mix(client.wrapping_add(slot as u64))
}

/// The step of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): every bit of
/// `x` changes about half of the result's, and no two `x` share one.
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{rotation, slots};
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const CLIENTS: u32 = 8_000;

    fn on(slots: &[usize]) -> Rotation {
        let free: Vec<_> = slots.iter().map(|&s| (s, 0, 99)).collect();
        rotation(&free)
    }

    fn slot_of(ip: IpAddr, rotation: &mut Rotation) -> usize {
        let index = IpHash.pick(&Peer::Ip(ip), rotation);
        rotation[index].slot()
    }

    fn v4(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + n).into()
    }

    fn v6_net(n: u32) -> IpAddr {
        let net = 0x2001_0db8_u128 << 96 | u128::from(n) << 64;
        Ipv6Addr::from_bits(net | 1).into()
    }

    #[test]
    fn clients_spread_evenly_over_the_slots() {
        for address in [v4, v6_net] {
            let mut r = on(&[0, 1, 2, 3, 4, 5, 6, 7]);
            let mut clients = [0_u32; 8];
            for n in 0..CLIENTS {
                clients[slot_of(address(n), &mut r)] += 1;
            }
            // A fair draw deviates by 30 (σ); four of those.
            assert!(
                clients.iter().all(|n| n.abs_diff(1_000) < 120),
                "{clients:?}"
            );
        }
    }

    #[test]
    fn a_slot_that_goes_moves_its_own_clients_alone_and_evenly() {
        let mut all = on(&[0, 1, 2, 3]);
        let mut rest = on(&[0, 1, 3]);
        let mut moved = [0_u32; 4];
        for n in 0..CLIENTS {
            let (before, after) =
                (slot_of(v4(n), &mut all), slot_of(v4(n), &mut rest));
            if before == 2 {
                moved[after] += 1;
            } else {
                assert_eq!(before, after);
            }
        }
        for slot in [0, 1, 3] {
            assert!(moved[slot].abs_diff(667) < 100, "{moved:?}");
        }
    }

    #[test]
    fn a_slot_that_comes_takes_its_share_and_moves_nobody_else() {
        let (mut before, mut after) = (on(&[0, 1, 2]), on(&[0, 1, 2, 3]));
        let mut taken = 0_u32;
        for n in 0..CLIENTS {
            match slot_of(v4(n), &mut after) {
                3 => taken += 1,
                slot => assert_eq!(slot, slot_of(v4(n), &mut before)),
            }
        }
        assert!(taken.abs_diff(CLIENTS / 4) < 160, "{taken}");
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        for n in 0..100 {
            let IpAddr::V4(ip) = v4(n) else { unreachable!() };
            assert_eq!(client(ip.into()), client(ip.to_ipv6_mapped().into()));
        }
    }

    #[test]
    fn an_ipv6_client_is_known_by_its_64() {
        let ip = |s: &str| client(s.parse().unwrap());
        assert_eq!(ip("2001:db8:0:7::1"), ip("2001:db8:0:7:ffff:1:2:3"));
        assert_ne!(ip("2001:db8:0:7::1"), ip("2001:db8:0:8::1"));
    }

    #[test]
    fn a_full_worker_keeps_its_clients() {
        let mut free = rotation(&[(0, 0, 9), (1, 0, 9)]);
        let mut full = rotation(&[(0, 0, 9), (1, 0, 0)]);
        for n in 0..100 {
            let slot = slot_of(v4(n), &mut free);
            assert_eq!(slot, slot_of(v4(n), &mut full));
        }
    }

    #[test]
    fn unix_peers_take_turns() {
        let mut r = on(&[0, 1, 2]);
        assert_eq!(slots(&mut IpHash, &mut r, 4), [0, 1, 2, 0]);
    }
}
