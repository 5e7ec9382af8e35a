//! The name of a server: all that a worker asks with, port 0 staying 0.
//! Workers that ask for the same get the same.

use crate::ipc::message::{AddressType, Listen};

/// The name by which both sides call a server; the tuple that Node's own
/// primary makes it of (lib/internal/cluster/primary.js).
pub(crate) fn key(listen: &Listen<'_>) -> String {
    let address = listen.address.as_deref().unwrap_or("null");
    let port = listen.port.map_or("null".to_owned(), |port| port.to_string());
    let kind = match listen.address_type {
        AddressType::Unspecified => "null",
        AddressType::Tcp4 => "4",
        AddressType::Tcp6 => "6",
        AddressType::Unix => "-1",
        AddressType::Udp4 => "udp4",
        AddressType::Udp6 => "udp6",
    };
    let fd = listen.fd.map_or("undefined".to_owned(), |fd| fd.to_string());
    format!("{address}:{port}:{kind}:{fd}:{}", listen.index)
}

/// Where that is, for people: what they would type, or see in ss(8). `null`
/// as an address is every one, which Node listens on over IPv6; of the servers
/// that want any free port each has a number.
pub(crate) fn place(key: &str) -> String {
    // From its end, since an address may hold colons itself.
    let mut parts = key.rsplitn(5, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (index, fd, kind, port, address) =
        (next(), next(), next(), next(), next());
    let port = if port == "null" { "0" } else { port };
    let every = match kind {
        "udp4" => "0.0.0.0",
        _ => "::",
    };
    let address = if address == "null" { every } else { address };
    let address = match address.contains(':') {
        true => format!("[{address}]"),
        false => address.to_owned(),
    };
    let place = match kind {
        "null" => format!("descriptor {fd}"),
        "-1" => format!("unix:{}", address.trim_matches(['[', ']'])),
        "udp4" | "udp6" => format!("{address}:{port} (UDP)"),
        _ => format!("{address}:{port}"),
    };
    match index.parse::<u32>() {
        Ok(0) | Err(_) => place,
        Ok(index) => format!("{place}, number {}", index + 1),
    }
}

/// Whether a server that was asked for by `key`, and has this port now, is
/// what `listen` is about. Two kinds of speaker name the real port where the
/// key has 0 or none: a worker that says where it listens, and an app that
/// closes a server and wants another where that was.
pub(super) fn is_meant(
    listen: &Listen<'_>,
    key: &str,
    port: Option<u16>,
) -> bool {
    let at = |port| self::key(&Listen { port, ..listen.clone() });
    if at(listen.port) == key {
        return true;
    }
    let real = listen.port.and_then(|port| u16::try_from(port).ok());
    let here = real.is_some() && real == port;
    here && [at(Some(0)), at(None)].iter().any(|unnamed| {
        // A port has one server: which one of several it was asked for as
        // does not matter.
        unnamed.rsplit_once(':').map(|(place, _)| place)
            == key.rsplit_once(':').map(|(place, _)| place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(address: Option<&'static str>, port: i32) -> Listen<'static> {
        Listen {
            address: address.map(Into::into),
            port: Some(port),
            address_type: AddressType::Tcp4,
            ..Listen::default()
        }
    }

    #[test]
    fn a_key_is_all_that_is_asked_with() {
        assert_eq!(key(&tcp(None, 3000)), "null:3000:4:undefined:0");
        let mut second = tcp(Some("127.0.0.1"), 0);
        second.index = 1;
        assert_eq!(key(&second), "127.0.0.1:0:4:undefined:1");
    }

    #[test]
    fn a_port_that_was_left_open_is_known_by_the_real_one() {
        let mut asked = tcp(Some("127.0.0.1"), 0);
        asked.index = 1;
        let key = key(&asked);
        let now = tcp(Some("127.0.0.1"), 4000);
        assert!(is_meant(&now, &key, Some(4000)));
        assert!(!is_meant(&now, &key, Some(4001)));
        assert!(!is_meant(&tcp(None, 4000), &key, Some(4000)));
        assert!(is_meant(&asked, &key, Some(4000)));
        let other = tcp(Some("127.0.0.1"), 0);
        assert!(!is_meant(&other, &key, Some(4000)), "asked for anew");
    }

    #[test]
    fn a_descriptor_has_no_port_before_it_is_listened_on() {
        let asked = Listen { fd: Some(3), ..Listen::default() };
        let key = key(&asked);
        assert_eq!(key, "null:null:null:3:0");
        let now = Listen { port: Some(4000), ..asked.clone() };
        assert!(is_meant(&now, &key, Some(4000)));
        assert!(!is_meant(&now, &key, None));
        let other = Listen { index: 1, ..asked };
        assert!(!is_meant(&other, &key, None), "of the same unix socket");
    }

    #[test]
    fn a_key_is_shown_as_the_place_that_it_stands_for() {
        for (key, place) in [
            ("null:3301:4:undefined:0", "[::]:3301"),
            ("null:null:4:undefined:0", "[::]:0"),
            ("127.0.0.1:0:4:undefined:1", "127.0.0.1:0, number 2"),
            ("::1:80:6:undefined:0", "[::1]:80"),
            ("/run/a:b.sock:-1:-1:undefined:0", "unix:/run/a:b.sock"),
            ("null:null:null:3:0", "descriptor 3"),
            ("null:53:udp4:undefined:0", "0.0.0.0:53 (UDP)"),
            ("::1:53:udp6:undefined:0", "[::1]:53 (UDP)"),
            ("", ":"),
        ] {
            assert_eq!(super::place(key), place, "{key}");
        }
    }
}
