//! What a primary is to be asked for: each address as Node would say it.
//!
//! Hosts are looked up here, since a primary takes no names.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;

use super::dialogue::{Server, State};
use crate::config::Address;
use crate::error::Error;
use crate::ipc::message::{AddressType, Listen};

/// A server for every address; of a host with several, for each.
pub(super) fn servers(addresses: &[Address]) -> Result<Vec<Server>, Error> {
    let mut servers: Vec<Server> = Vec::new();
    for address in addresses {
        let name = address.to_string();
        for mut listen in listens(address)? {
            // Node counts those that ask for the same, as for port 0 twice.
            let same = |server: &&Server| {
                server.listen.address == listen.address
                    && server.listen.port == listen.port
            };
            listen.index = servers.iter().filter(same).count() as u64;
            let (name, state) = (name.clone(), State::New);
            servers.push(Server { listen, name, state });
        }
    }
    Ok(servers)
}

fn listens(address: &Address) -> Result<Vec<Listen<'static>>, Error> {
    match address {
        Address::Unix(path) => Ok(vec![unix(path)?]),
        Address::Tcp { host, port } => {
            let found =
                (host.as_str(), *port).to_socket_addrs().map_err(|error| {
                    let words = "is the host spelled right?";
                    let line = format!("cannot find {address}: {error}");
                    Error::System(format!("{line}; {words}"))
                })?;
            Ok(found.map(|found| tcp(host, found)).collect())
        }
    }
}

/// The primary's working directory may be another.
fn unix(path: &Path) -> Result<Listen<'static>, Error> {
    let path = std::path::absolute(path)?;
    let text = path.to_str().ok_or_else(|| {
        let path = path.display();
        Error::Usage(format!(
            "a Node cluster takes paths in UTF-8 only: {path}"
        ))
    })?;
    Ok(Listen {
        address: Some(text.to_owned().into()),
        port: Some(-1),
        address_type: AddressType::Unix,
        ..Listen::default()
    })
}

fn tcp(host: &str, found: SocketAddr) -> Listen<'static> {
    // The zone of an address (RFC 4007 §11) is lost in the number.
    let address = match host.contains('%') {
        true => host.to_owned(),
        false => found.ip().to_string(),
    };
    Listen {
        address: Some(address.into()),
        port: Some(i32::from(found.port())),
        address_type: match found {
            SocketAddr::V4(_) => AddressType::Tcp4,
            SocketAddr::V6(_) => AddressType::Tcp6,
        },
        flags: Some(0),
        ..Listen::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::Message;
    use crate::ipc::message::{Act, Cluster};

    fn asked(addresses: &[&str]) -> Vec<String> {
        let addresses: Vec<Address> =
            addresses.iter().map(|typed| typed.parse().unwrap()).collect();
        let servers = servers(&addresses).unwrap();
        let line = |server: Server| {
            let act = Act::QueryServer(server.listen);
            let mut line = Vec::new();
            Message::Cluster(Cluster { seq: None, act }).encode(&mut line);
            String::from_utf8(line).unwrap()
        };
        servers.into_iter().map(line).collect()
    }

    #[test]
    fn each_address_is_asked_for_as_node_does() {
        for (typed, members) in [
            (
                "127.0.0.1:3100",
                r#""index":0,"data":null,"address":"127.0.0.1","port":3100,"addressType":4,"flags":0,"backlog":false"#,
            ),
            (
                "[::1]:0",
                r#""index":0,"data":null,"address":"::1","port":0,"addressType":6,"flags":0,"backlog":false"#,
            ),
            (
                "unix:/tmp/x.sock",
                r#""index":0,"data":null,"address":"/tmp/x.sock","port":-1,"addressType":-1,"backlog":false"#,
            ),
        ] {
            let act = r#"{"cmd":"NODE_CLUSTER","act":"queryServer","#;
            assert_eq!(asked(&[typed]), [format!("{act}{members}}}\n")]);
        }
    }

    #[test]
    fn port_0_twice_is_two_servers() {
        let asked = asked(&["127.0.0.1:0", "127.0.0.1:0"]);
        assert!(asked[0].contains(r#""index":0,"#), "{asked:?}");
        assert!(asked[1].contains(r#""index":1,"#), "{asked:?}");
    }

    #[test]
    fn a_relative_path_is_made_absolute() {
        let here = std::env::current_dir().unwrap().join("x.sock");
        let asked = asked(&["unix:x.sock"]);
        assert!(asked[0].contains(here.to_str().unwrap()), "{asked:?}");
    }
}
