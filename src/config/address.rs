//! Where to listen, as a person types it: names are not resolved here.

use std::{
    ffi::{OsStr, OsString},
    fmt::{self, Display, Formatter},
    net::{Ipv4Addr, Ipv6Addr},
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    str::FromStr,
};

use super::usage::{Escaped, quoted};

/// Where a server listens.
///
/// | typed | means |
/// |---|---|
/// | `3000` | TCP, port 3000 of 127.0.0.1: this machine only |
/// | `example.org:80` | TCP, an address of that name |
/// | `0.0.0.0:80` | TCP, every IPv4 address |
/// | `[::1]:80` | TCP over IPv6 |
/// | `unix:/run/app.sock` | a Unix-domain socket |
///
/// Port 0 is any free one. Displays as what can be typed again, except that
/// unprintable bytes of a path are escaped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    /// TCP over IPv4 or IPv6.
    Tcp {
        /// An IPv4 address, an IPv6 address without brackets (a zone may
        /// follow its `%`), or a name that is still to be resolved.
        host: String,
        /// 0 for any free one.
        port: u16,
    },
    /// A Unix-domain stream socket, by its path: 1 to 107 bytes, no NUL.
    Unix(PathBuf),
}

/// `127.0.0.1:3000`
impl Default for Address {
    fn default() -> Self {
        Self::Tcp { host: Ipv4Addr::LOCALHOST.to_string(), port: 3000 }
    }
}

/// Why a text is no [`Address`]: one line that says what to type instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddressError(String);

impl Display for AddressError {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AddressError {}

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => {
                write!(f, "[{host}]:{port}")
            }
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => {
                write!(f, "unix:{}", Escaped(path.as_os_str()))
            }
        }
    }
}

impl Address {
    /// As it could have been typed, byte for byte.
    #[must_use]
    pub(crate) fn typed(&self) -> OsString {
        match self {
            Self::Tcp { .. } => self.to_string().into(),
            Self::Unix(path) => {
                let mut typed = OsString::from("unix:");
                typed.push(path);
                typed
            }
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(typed: &str) -> Result<Self, AddressError> {
        Self::try_from(OsStr::new(typed))
    }
}

/// A path may hold any byte but NUL, so an address need not be UTF-8.
impl TryFrom<&OsStr> for Address {
    type Error = AddressError;

    fn try_from(typed: &OsStr) -> Result<Self, AddressError> {
        let parsed = match typed.as_bytes().strip_prefix(b"unix:") {
            Some(path) => unix(OsStr::from_bytes(path)),
            None => tcp(typed),
        };
        parsed.map_err(|why| AddressError(format!("{}{why}", quoted(typed))))
    }
}

/// The `sun_path` of unix(7) has 108 bytes, the last of them for a NUL.
const LONGEST_PATH: usize = 107;

fn unix(path: &OsStr) -> Result<Address, String> {
    match path.as_bytes() {
        [] => Err(" has no path: type unix:PATH".into()),
        bytes if bytes.len() > LONGEST_PATH => Err(format!(
            " has a path of {} bytes: a socket's has at most {LONGEST_PATH}",
            bytes.len()
        )),
        bytes if bytes.contains(&0) => {
            Err(" has a NUL in it: type a path without".into())
        }
        _ => Ok(Address::Unix(path.into())),
    }
}

pub(super) const SHAPES: &str = "PORT, HOST:PORT, [IPv6]:PORT or unix:PATH";

fn tcp(typed: &OsStr) -> Result<Address, String> {
    let no_address = || format!(" is no address: type {SHAPES}");
    let text = typed.to_str().ok_or_else(no_address)?;
    if let Some(rest) = text.strip_prefix('[') {
        let (host, number) = rest.split_once("]:").ok_or_else(no_address)?;
        if !is_ipv6(host) {
            return Err(" has no IPv6 address in its brackets".into());
        }
        return Ok(Address::Tcp { host: host.into(), port: port(number)? });
    }
    if text.contains("://") {
        return Err(" is a URL: type its HOST:PORT".into());
    }
    if text.contains('/') {
        let path = quoted(format!("unix:{text}"));
        return Err(format!(" is a path: type {path}"));
    }
    if let Some((host, number)) = text.rsplit_once(':') {
        if is_ipv6(host) {
            return Err(format!(" lacks brackets: type [{host}]:PORT"));
        }
        if is_ipv6(text) {
            return Err(format!(" lacks brackets: type [{text}]:PORT"));
        }
        let port = port(number)?;
        if host.is_empty() || host == "*" {
            return Err(format!(
                " names no host: type 127.0.0.1:{port} for this machine \
                 only, 0.0.0.0:{port} or [::]:{port} for all"
            ));
        }
        check_name(host)?;
        return Ok(Address::Tcp { host: host.into(), port });
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let host = Ipv4Addr::LOCALHOST.to_string();
        return Ok(Address::Tcp { host, port: port(text)? });
    }
    check_name(text).map_err(|_| no_address())?;
    Err(format!(" has no port: type {text}:PORT"))
}

fn port(digits: &str) -> Result<u16, String> {
    Some(digits)
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| {
            " has no port from 1 to 65535 (or 0, for any free one)".into()
        })
}

/// An IPv6 address, perhaps with the zone of RFC 4007 §11: `fe80::1%eth0`.
fn is_ipv6(text: &str) -> bool {
    let (address, zone) = text.split_once('%').unwrap_or((text, "lo"));
    address.parse::<Ipv6Addr>().is_ok() && is_name(zone)
}

fn is_name(text: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    (1..=253).contains(&text.len()) && text.bytes().all(allowed)
}

/// Refuses what no resolver should be asked for. Of digits and dots alone it
/// would make something: inet_aton(3) reads `127.1` as 127.0.0.1.
fn check_name(host: &str) -> Result<(), String> {
    if !is_name(host) {
        return Err(" has no host of at most 253 letters, digits, \".\", \
                    \"-\" and \"_\""
            .into());
    }
    let number = host.bytes().all(|byte| b"0123456789.".contains(&byte));
    if number && host.parse::<Ipv4Addr>().is_err() {
        return Err(" has no IPv4 address, four numbers from 0 to 255".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tcp(host: &str, port: u16) -> Address {
        Address::Tcp { host: host.into(), port }
    }

    #[test]
    fn every_shape_of_an_address_is_understood() {
        for (typed, address) in [
            ("3000", tcp("127.0.0.1", 3000)),
            ("0", tcp("127.0.0.1", 0)),
            ("0.0.0.0:80", tcp("0.0.0.0", 80)),
            ("localhost:65535", tcp("localhost", 65535)),
            ("my_app.example.org:80", tcp("my_app.example.org", 80)),
            ("[::]:0", tcp("::", 0)),
            ("[fe80::1%eth0]:80", tcp("fe80::1%eth0", 80)),
            ("[::ffff:1.2.3.4]:80", tcp("::ffff:1.2.3.4", 80)),
            ("unix:/run/a.sock", Address::Unix("/run/a.sock".into())),
            ("unix:a b:80", Address::Unix("a b:80".into())),
        ] {
            assert_eq!(typed.parse(), Ok(address), "{typed}");
        }
    }

    #[test]
    fn an_error_says_what_to_type() {
        let long = format!("unix:/{}", "x".repeat(107));
        for (typed, error) in [
            (
                "",
                r#""" is no address: type PORT, HOST:PORT, [IPv6]:PORT or unix:PATH"#,
            ),
            ("localhost", r#""localhost" has no port: type localhost:PORT"#),
            (
                ":3000",
                r#"":3000" names no host: type 127.0.0.1:3000 for this machine only, 0.0.0.0:3000 or [::]:3000 for all"#,
            ),
            (
                "*:80",
                r#""*:80" names no host: type 127.0.0.1:80 for this machine only, 0.0.0.0:80 or [::]:80 for all"#,
            ),
            ("::1:80", r#""::1:80" lacks brackets: type [::1]:PORT"#),
            ("::1", r#""::1" lacks brackets: type [::1]:PORT"#),
            (
                "[::1]",
                r#""[::1]" is no address: type PORT, HOST:PORT, [IPv6]:PORT or unix:PATH"#,
            ),
            ("[x]:80", r#""[x]:80" has no IPv6 address in its brackets"#),
            (
                "65536",
                r#""65536" has no port from 1 to 65535 (or 0, for any free one)"#,
            ),
            (
                "a:+80",
                r#""a:+80" has no port from 1 to 65535 (or 0, for any free one)"#,
            ),
            (
                "a:",
                r#""a:" has no port from 1 to 65535 (or 0, for any free one)"#,
            ),
            (
                "a b:80",
                r#""a b:80" has no host of at most 253 letters, digits, ".", "-" and "_""#,
            ),
            (
                "127.1:80",
                r#""127.1:80" has no IPv4 address, four numbers from 0 to 255"#,
            ),
            ("http://a:80", r#""http://a:80" is a URL: type its HOST:PORT"#),
            ("/run/a\n", r#""/run/a\n" is a path: type "unix:/run/a\n""#),
            ("unix:", r#""unix:" has no path: type unix:PATH"#),
            (
                "unix:a\0b",
                r#""unix:a\0b" has a NUL in it: type a path without"#,
            ),
            (
                &long,
                &format!(
                    r#""{long}" has a path of 108 bytes: a socket's has at most 107"#
                ),
            ),
        ] {
            let answer = typed.parse::<Address>().unwrap_err();
            assert_eq!(answer.to_string(), error);
        }
        assert!(long[..long.len() - 1].parse::<Address>().is_ok());
    }

    #[test]
    fn a_path_need_not_be_utf_8_and_is_shown_on_one_line() {
        let typed = OsStr::from_bytes(b"unix:/a\xff\n");
        let address = Address::try_from(typed).unwrap();
        assert_eq!(
            address,
            Address::Unix(OsStr::from_bytes(b"/a\xff\n").into())
        );
        assert_eq!(address.to_string(), r"unix:/a\xff\n");
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_typed_again(
            host in "[a-z][a-z0-9.-]{0,9}",
            v4: [u8; 4],
            v6: [u16; 8],
            path in "[ -\\[\\]-~]{1,107}",
            port: u16,
        ) {
            let unix = Address::Unix(path.into());
            let v4 = Ipv4Addr::from(v4).to_string();
            let v6 = Ipv6Addr::from(v6).to_string();
            for address in
                [tcp(&host, port), tcp(&v4, port), tcp(&v6, port), unix]
            {
                prop_assert_eq!(address.to_string().parse(), Ok(address));
            }
        }

        #[test]
        fn any_text_is_an_address_or_an_error_of_one_line(
            typed in "(unix:|\\[?(::)?[0-9a-z.]{0,4}\\]?:?)?\\PC{0,8}.{0,8}",
        ) {
            let line = match typed.parse::<Address>() {
                Ok(address) => address.to_string(),
                Err(error) => error.to_string(),
            };
            prop_assert!(!line.contains(char::is_control), "{:?}", line);
        }
    }
}
