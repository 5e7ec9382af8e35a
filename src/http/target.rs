//! The request target and the authority: which form goes with which method,
//! and what names a host (RFC 9112 §3.2, RFC 3986 §3.2).
//!
//! ```text
//! origin-form     /where?q=now              every method but CONNECT
//! absolute-form   http://host:80/where?q    every method but CONNECT
//! authority-form  host:80                   CONNECT alone
//! asterisk-form   *                         OPTIONS alone
//! ```
//!
//! Percent-encoding in the path is the application's: this module does not
//! decode, so a wrong one cannot lead it astray.

use super::byte::{self, NAME};

/// How a target is written, and where its parts are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Origin,
    /// The authority lies between `host` and `path`.
    Absolute {
        host: usize,
        path: usize,
    },
    Authority,
    Asterisk,
}

/// The form of this target under this method, if it is one of theirs.
#[inline]
pub(super) fn form(method: &[u8], target: &[u8]) -> Option<Form> {
    if method == b"CONNECT" {
        let (host, port) = split(target)?;
        let port = port?;
        let whole = !host.is_empty() && !port.is_empty();
        return whole.then_some(Form::Authority);
    }
    match target {
        [b'/', ..] => Some(Form::Origin),
        b"*" => (method == b"OPTIONS").then_some(Form::Asterisk),
        _ => absolute(target),
    }
}

/// `http://authority/path?query`, the path perhaps empty. Other schemes name
/// nothing that this server could hold.
fn absolute(target: &[u8]) -> Option<Form> {
    let colon = memchr::memchr(b':', target)?;
    let (scheme, rest) = target.split_at(colon);
    let known = scheme.eq_ignore_ascii_case(b"http")
        || scheme.eq_ignore_ascii_case(b"https");
    let rest = rest.strip_prefix(b"://").filter(|_| known)?;
    let host = colon + 3;
    let path = host + memchr::memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    // RFC 9110 §4.2.1: a client may send no empty host, and §4.2.4: no
    // userinfo; a server does well to refuse both.
    let (name, _) = split(&target[host..path])?;
    (!name.is_empty()).then_some(Form::Absolute { host, path })
}

/// `uri-host [ ":" port ]` as host and port, if the bytes are that. The host
/// may be empty, and so may the port behind its colon (RFC 3986 §3.2.2,
/// §3.2.3); a user before an `@` may not be there at all.
pub(super) fn split(authority: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let end = match authority {
        [b'[', ..] => {
            let close = memchr::memchr(b']', authority)?;
            literal(&authority[1..close]).then_some(close + 1)?
        }
        _ => name_end(authority),
    };
    let (host, rest) = authority.split_at(end);
    match rest {
        [] => Some((host, None)),
        [b':', port @ ..] => {
            port.iter().all(u8::is_ascii_digit).then_some((host, Some(port)))
        }
        _ => None,
    }
}

/// Where the reg-name that the bytes begin with ends. Every IPv4 address is
/// also a reg-name.
fn name_end(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at = byte::run(NAME, bytes, at);
        match bytes[at..] {
            [b'%', a, b, ..]
                if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() =>
            {
                at += 3;
            }
            _ => return at,
        }
    }
}

/// What stands between brackets: IPv6address or IPvFuture.
fn literal(bytes: &[u8]) -> bool {
    if let [b'v' | b'V', rest @ ..] = bytes {
        let Some(dot) = memchr::memchr(b'.', rest) else { return false };
        let (version, address) = (&rest[..dot], &rest[dot + 1..]);
        let whole = !version.is_empty() && !address.is_empty();
        return whole
            && version.iter().all(u8::is_ascii_hexdigit)
            && address.iter().all(|&b| byte::is(NAME, b) || b == b':');
    }
    std::str::from_utf8(bytes)
        .is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_addresses_and_literals_with_or_without_a_port() {
        for host in [
            "",
            ":",
            ":80",
            "a",
            "example.com",
            "example.com:",
            "example.com:8080",
            "127.0.0.1:1",
            "a_b~c!$&'()*+,;=-.",
            "%41%7a",
            "[::1]",
            "[::1]:80",
            "[1:2:3:4:5:6:7:8]",
            "[::ffff:1.2.3.4]:",
            "[v1.a:b]",
            "[VF0.~]:9",
        ] {
            assert!(split(host.as_bytes()).is_some(), "{host}");
        }
    }

    #[test]
    fn anything_else_is_no_host() {
        for host in [
            "a b",
            "a/b",
            "a@b",
            "u:p@b",
            "a:b",
            "a:80:80",
            "a:8x",
            "a:-1",
            "a:+1",
            "a?",
            "a#",
            "a\\b",
            "\"a\"",
            "a<",
            "a\t",
            "%4",
            "%zz",
            "::1",
            "[",
            "[]",
            "[::1",
            "::1]",
            "[::1]x",
            "[::1]80",
            "[::1]:x",
            "[1:2]",
            "[::g]",
            "[::1%25lo]",
            "[::1%lo]",
            "[1.2.3.4]",
            "[v.a]",
            "[v1]",
            "[v1.]",
            "[vg.a]",
            "[a.b]",
            "[::1][::1]",
            "é",
            "a|b",
            "[ ::1]",
            "http://a",
            "{a}",
            "a^b",
            "a`b",
        ] {
            assert!(split(host.as_bytes()).is_none(), "{host}");
        }
    }

    fn form_of(method: &str, target: &str) -> Option<Form> {
        form(method.as_bytes(), target.as_bytes())
    }

    #[test]
    fn each_form_belongs_to_its_methods() {
        assert_eq!(form_of("GET", "/"), Some(Form::Origin));
        assert_eq!(form_of("GET", "//a"), Some(Form::Origin));
        assert_eq!(form_of("OPTIONS", "*"), Some(Form::Asterisk));
        assert_eq!(form_of("CONNECT", "a:443"), Some(Form::Authority));
        assert_eq!(form_of("CONNECT", "[::1]:1"), Some(Form::Authority));
        for (method, target) in [
            ("GET", "*"),
            ("OPTIONS", "**"),
            ("OPTIONS", "*/"),
            ("GET", "a"),
            ("GET", "a:80"),
            ("GET", "a/b"),
            ("GET", "?a"),
            ("CONNECT", "/"),
            ("CONNECT", "a"),
            ("CONNECT", "a:"),
            ("CONNECT", ":1"),
            ("CONNECT", "*"),
            ("CONNECT", "u@a:1"),
            ("CONNECT", "http://a:1/"),
        ] {
            assert_eq!(form_of(method, target), None, "{method} {target}");
        }
    }

    #[test]
    fn an_absolute_target_has_a_scheme_we_serve_and_a_host() {
        let at = |host, path| Some(Form::Absolute { host, path });
        assert_eq!(form_of("GET", "http://a/b"), at(7, 8));
        assert_eq!(form_of("GET", "HTTP://a:80"), at(7, 11));
        assert_eq!(form_of("GET", "https://[::1]:8?q"), at(8, 15));
        for target in [
            "http://",
            "http:///",
            "http://:80/",
            "http://?q",
            "http:/a",
            "http:a",
            "http//a",
            "ftp://a/",
            "://a/",
            "http://u@a/",
            "http://u:p@a/",
            "http://a:b/",
            "http://a b/",
            "http://[::1/",
        ] {
            assert_eq!(form_of("GET", target), None, "{target}");
        }
    }
}
