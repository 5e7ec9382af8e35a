//! RFC 9110 and 9112 by their sections: what a client sends, what it gets.
//!
//! `¶` stands for CRLF. An outcome is the statuses in their order, and `close`
//! if the connection ends then, or `more` if the server waits for the rest.

use crate::transcript::{outcome, tell_however_cut};

type Case = (&'static str, &'static str, &'static str);

const RFC_9110: &[Case] = &[
    ("2.5 later minor version", "GET / HTTP/1.7¶Host: a¶¶", "200"),
    ("2.5 other major version", "GET / HTTP/3.0¶Host: a¶¶", "505 close"),
    (
        "4.2.1 empty host in http URI",
        "GET http:///x HTTP/1.1¶Host: a¶¶",
        "400 close",
    ),
    ("4.2.3 scheme in any case", "GET HtTp://A/ HTTP/1.1¶Host: a¶¶", "200"),
    ("4.2.4 userinfo", "GET http://a@b/ HTTP/1.1¶Host: b¶¶", "400 close"),
    (
        "5.1 name in any case",
        "GET / HTTP/1.1¶hOsT: a¶CONNECTION: CLOSE¶¶",
        "200 close",
    ),
    ("5.1 unknown field", "GET / HTTP/1.1¶Host: a¶X-Any: thing¶¶", "200"),
    ("5.3 one name thrice", "GET / HTTP/1.1¶Host: a¶A: 1¶A: 2¶A: 3¶¶", "200"),
    ("5.5 empty value", "GET / HTTP/1.1¶Host: a¶A:¶¶", "200"),
    ("5.5 obs-text", "GET / HTTP/1.1¶Host: a¶A: é¶¶", "200"),
    ("5.5 NUL", "GET / HTTP/1.1¶Host: a¶A: \0¶¶", "400 close"),
    ("5.5 bare CR", "GET / HTTP/1.1¶Host: a¶A: \rb¶¶", "400 close"),
    ("5.5 bare LF", "GET / HTTP/1.1¶Host: a¶A: \nb¶¶", "400 close"),
    ("5.5 other control", "GET / HTTP/1.1¶Host: a¶A: \x1b¶¶", "400 close"),
    (
        "5.6.1 empty list elements",
        "GET / HTTP/1.1¶Host: a¶Connection: ,, close,¶¶",
        "200 close",
    ),
    (
        "5.6.2 every tchar",
        "GET / HTTP/1.1¶Host: a¶!#$%&'*+-.^_`|~09azAZ: b¶¶",
        "200",
    ),
    (
        "5.6.2 a delimiter in a token",
        "GET / HTTP/1.1¶Host: a¶A(b): c¶¶",
        "400 close",
    ),
    ("5.6.3 OWS of spaces and tabs", "GET / HTTP/1.1¶Host:\t a \t¶¶", "200"),
    (
        "5.6.3 nothing else is OWS",
        "GET / HTTP/1.1¶Host: \u{a0}a¶¶",
        "400 close",
    ),
    ("7.2 no Host", "GET / HTTP/1.1¶¶", "400 close"),
    ("7.2 two Hosts", "GET / HTTP/1.1¶Host: a¶Host: b¶¶", "400 close"),
    ("7.2 two equal Hosts", "GET / HTTP/1.1¶Host: a¶Host: a¶¶", "400 close"),
    ("7.2 empty Host", "GET / HTTP/1.1¶Host:¶¶", "200"),
    ("7.2 with port", "GET / HTTP/1.1¶Host: a:8080¶¶", "200"),
    ("7.2 empty port", "GET / HTTP/1.1¶Host: a:¶¶", "200"),
    ("7.2 IPv4", "GET / HTTP/1.1¶Host: 127.0.0.1:80¶¶", "200"),
    ("7.2 IPv6", "GET / HTTP/1.1¶Host: [2001:db8::1]:80¶¶", "200"),
    (
        "7.2 IPv6 without brackets",
        "GET / HTTP/1.1¶Host: 2001:db8::1¶¶",
        "400 close",
    ),
    ("7.2 IPv6 not closed", "GET / HTTP/1.1¶Host: [::1¶¶", "400 close"),
    ("7.2 port of letters", "GET / HTTP/1.1¶Host: a:http¶¶", "400 close"),
    ("7.2 negative port", "GET / HTTP/1.1¶Host: a:-1¶¶", "400 close"),
    ("7.2 a list", "GET / HTTP/1.1¶Host: a, b¶¶", "400 close"),
    ("7.2 a URI", "GET / HTTP/1.1¶Host: http://a¶¶", "400 close"),
    ("7.2 a path", "GET / HTTP/1.1¶Host: a/b¶¶", "400 close"),
    ("7.2 userinfo", "GET / HTTP/1.1¶Host: a@b¶¶", "400 close"),
    (
        "7.6.1 close",
        "GET / HTTP/1.1¶Host: a¶Connection: close¶¶GET / HTTP/1.1¶Host: a¶¶",
        "200 close",
    ),
    (
        "7.6.1 close in a list",
        "GET / HTTP/1.1¶Host: a¶Connection: x , Close¶¶",
        "200 close",
    ),
    (
        "7.6.1 close in a second line",
        "GET / HTTP/1.1¶Host: a¶Connection: x¶Connection: close¶¶",
        "200 close",
    ),
    (
        "7.6.1 something like close",
        "GET / HTTP/1.1¶Host: a¶Connection: close-not¶¶",
        "200",
    ),
    (
        "7.8 Upgrade may be ignored",
        "GET / HTTP/1.1¶Host: a¶Connection: upgrade¶Upgrade: x/1¶¶",
        "200",
    ),
    ("8.6 no length, no body", "POST / HTTP/1.1¶Host: a¶¶", "200"),
    ("8.6 of zero", "POST / HTTP/1.1¶Host: a¶Content-Length: 0¶¶", "200"),
    (
        "8.6 body of a GET",
        "GET / HTTP/1.1¶Host: a¶Content-Length: 2¶¶¶GET / HTTP/1.1¶Host: a¶¶",
        "200 200",
    ),
    (
        "8.6 zeros in front",
        "PUT / HTTP/1.1¶Host: a¶Content-Length: 0002¶¶xx",
        "200",
    ),
    (
        "8.6 not decimal",
        "PUT / HTTP/1.1¶Host: a¶Content-Length: 0x2¶¶xx",
        "400 close",
    ),
    (
        "8.6 signed",
        "PUT / HTTP/1.1¶Host: a¶Content-Length: +2¶¶xx",
        "400 close",
    ),
    ("8.6 empty", "PUT / HTTP/1.1¶Host: a¶Content-Length:¶¶", "400 close"),
    (
        "8.6 equal twice",
        "PUT / HTTP/1.1¶Host: a¶Content-Length: 2¶Content-Length: 2¶¶xx",
        "400 close",
    ),
    (
        "8.6 equal in a list",
        "PUT / HTTP/1.1¶Host: a¶Content-Length: 2, 2¶¶xx",
        "400 close",
    ),
    (
        "8.6 differs",
        "PUT / HTTP/1.1¶Host: a¶Content-Length: 2¶Content-Length: 3¶¶xx",
        "400 close",
    ),
    (
        "8.6 beyond any integer",
        "PUT / HTTP/1.1¶Host: a¶Content-Length: 99999999999999999999999¶¶",
        "413 close",
    ),
    ("9.1 case-sensitive", "Get / HTTP/1.1¶Host: a¶¶", "501 close"),
    ("9.1 unknown", "FIND / HTTP/1.1¶Host: a¶¶", "501 close"),
    ("9.3.1 GET", "GET / HTTP/1.1¶Host: a¶¶", "200"),
    (
        "9.3.2 HEAD",
        "HEAD / HTTP/1.1¶Host: a¶¶GET / HTTP/1.1¶Host: a¶¶",
        "200 200",
    ),
    ("9.3.3 POST", "POST / HTTP/1.1¶Host: a¶Content-Length: 1¶¶x", "200"),
    ("9.3.4 PUT", "PUT / HTTP/1.1¶Host: a¶Content-Length: 1¶¶x", "200"),
    ("9.3.5 DELETE", "DELETE / HTTP/1.1¶Host: a¶¶", "200"),
    ("9.3.6 CONNECT", "CONNECT a:1 HTTP/1.1¶Host: a:1¶¶", "501 close"),
    (
        "9.3.6 CONNECT without port",
        "CONNECT a HTTP/1.1¶Host: a¶¶",
        "400 close",
    ),
    ("9.3.7 OPTIONS", "OPTIONS / HTTP/1.1¶Host: a¶¶", "200"),
    ("9.3.7 OPTIONS of all", "OPTIONS * HTTP/1.1¶Host: a¶¶", "200"),
    ("9.3.8 TRACE", "TRACE / HTTP/1.1¶Host: a¶¶", "501 close"),
    (
        "10.1.1 100-continue",
        "POST / HTTP/1.1¶Host: a¶Expect: 100-continue¶Content-Length: 1¶¶x",
        "200",
    ),
    (
        "10.1.1 in any case",
        "POST / HTTP/1.1¶Host: a¶Expect: 100-CONTINUE¶Content-Length: 1¶¶x",
        "200",
    ),
    (
        "10.1.1 other",
        "POST / HTTP/1.1¶Host: a¶Expect: 101-go¶Content-Length: 1¶¶x",
        "417 close",
    ),
    (
        "10.1.1 ignored in 1.0",
        "POST / HTTP/1.0¶Expect: 101-go¶Content-Length: 1¶¶x",
        "200 close",
    ),
    (
        "10.1.1 body too large",
        "POST / HTTP/1.1¶Host: a¶Expect: 100-continue¶Content-Length: 2000000¶¶",
        "413 close",
    ),
];

const RFC_9112: &[Case] = &[
    ("2.1 half a head", "GET / HTTP/1.1¶Host: a¶", "more"),
    ("2.2 bare LF", "GET / HTTP/1.1\nHost: a\n\n", "400 close"),
    ("2.2 one bare LF", "GET / HTTP/1.1¶Host: a\n¶", "400 close"),
    ("2.2 bare CR", "GET / HTTP/1.1\rHost: a\r\r", "400 close"),
    ("2.2 CR CR LF", "GET / HTTP/1.1\r¶Host: a¶¶", "400 close"),
    ("2.2 empty line before", "¶GET / HTTP/1.1¶Host: a¶¶", "200"),
    (
        "2.2 empty line between",
        "GET / HTTP/1.1¶Host: a¶¶¶GET / HTTP/1.1¶Host: a¶¶",
        "200 200",
    ),
    ("2.2 space before the fields", "GET / HTTP/1.1¶ Host: a¶¶", "400 close"),
    ("2.2 no HTTP at all", "EHLO mail.example¶", "400 close"),
    ("2.3 version in lower case", "GET / http/1.1¶Host: a¶¶", "400 close"),
    ("2.3 two digits", "GET / HTTP/1.01¶Host: a¶¶", "400 close"),
    ("2.3 HTTP/0.9", "GET /¶", "400 close"),
    ("3 two spaces", "GET  / HTTP/1.1¶Host: a¶¶", "400 close"),
    ("3 a tab", "GET /\tHTTP/1.1¶Host: a¶¶", "400 close"),
    ("3 space behind", "GET / HTTP/1.1 ¶Host: a¶¶", "400 close"),
    ("3 space before", " GET / HTTP/1.1¶Host: a¶¶", "400 close"),
    ("3 space in the target", "GET /a b HTTP/1.1¶Host: a¶¶", "400 close"),
    ("3.1 method no token", "GE/T / HTTP/1.1¶Host: a¶¶", "400 close"),
    ("3.2 fragment", "GET /#a HTTP/1.1¶Host: a¶¶", "400 close"),
    ("3.2 control in the target", "GET /\x01 HTTP/1.1¶Host: a¶¶", "400 close"),
    ("3.2 not ASCII", "GET /é HTTP/1.1¶Host: a¶¶", "400 close"),
    ("3.2.1 origin-form", "GET /a?b=c/d?e HTTP/1.1¶Host: a¶¶", "200"),
    ("3.2.1 path missing", "GET ?a HTTP/1.1¶Host: a¶¶", "400 close"),
    ("3.2.2 absolute-form", "GET http://b:80/a?b HTTP/1.1¶Host: a¶¶", "200"),
    ("3.2.2 without path", "GET http://b HTTP/1.1¶Host: b¶¶", "200"),
    ("3.2.2 but no Host", "GET http://b/ HTTP/1.1¶¶", "400 close"),
    ("3.2.2 in 1.0", "GET http://b/ HTTP/1.0¶¶", "200 close"),
    ("3.2.2 another scheme", "GET urn:a HTTP/1.1¶Host: a¶¶", "400 close"),
    ("3.2.3 authority-form", "GET a:80 HTTP/1.1¶Host: a¶¶", "400 close"),
    ("3.2.4 asterisk-form", "GET * HTTP/1.1¶Host: a¶¶", "400 close"),
    ("5 no colon", "GET / HTTP/1.1¶Host: a¶A¶¶", "400 close"),
    ("5 no name", "GET / HTTP/1.1¶Host: a¶: b¶¶", "400 close"),
    ("5.1 space before the colon", "GET / HTTP/1.1¶Host : a¶¶", "400 close"),
    ("5.1 tab before the colon", "GET / HTTP/1.1¶Host\t: a¶¶", "400 close"),
    ("5.2 folded", "GET / HTTP/1.1¶Host: a¶A: b¶ c¶¶", "400 close"),
    (
        "5.2 folded with a tab",
        "GET / HTTP/1.1¶Host: a¶A: b¶\tc¶¶",
        "400 close",
    ),
    (
        "6.1 chunked",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: chunked¶¶1¶x¶0¶¶",
        "200",
    ),
    (
        "6.1 in any case",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: Chunked¶¶0¶¶",
        "200",
    ),
    (
        "6.1 unknown before",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: x, chunked¶¶0¶¶",
        "501 close",
    ),
    (
        "6.1 twice",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: chunked, chunked¶¶0¶¶",
        "400 close",
    ),
    (
        "6.1 with a length",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: chunked¶Content-Length: 5¶¶0¶¶",
        "400 close",
    ),
    (
        "6.1 in 1.0",
        "PUT / HTTP/1.0¶Transfer-Encoding: chunked¶¶0¶¶",
        "400 close",
    ),
    (
        "6.3 not chunked at last",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: gzip¶¶",
        "400 close",
    ),
    (
        "6.3 body not whole",
        "PUT / HTTP/1.1¶Host: a¶Content-Length: 3¶¶xx",
        "more",
    ),
    (
        "6.3 body, then a request",
        "PUT / HTTP/1.1¶Host: a¶Content-Length: 3¶¶xxxGET / HTTP/1.1¶Host: a¶¶",
        "200 200",
    ),
    (
        "6.3 body too long",
        "PUT / HTTP/1.1¶Host: a¶Content-Length: 1¶¶x:GET / HTTP/1.1¶¶",
        "200 400 close",
    ),
    (
        "7.1 size in either case",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: chunked¶¶a¶0123456789¶A¶0123456789¶0¶¶",
        "200",
    ),
    (
        "7.1 no size",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: chunked¶¶¶x¶0¶¶",
        "400 close",
    ),
    (
        "7.1 size no number",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: chunked¶¶x¶",
        "400 close",
    ),
    (
        "7.1 size with a sign",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: chunked¶¶-1¶",
        "400 close",
    ),
    (
        "7.1 size with 0x",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: chunked¶¶0x1¶x¶",
        "400 close",
    ),
    (
        "7.1 size beyond any integer",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: chunked¶¶10000000000000001¶",
        "400 close",
    ),
    (
        "7.1 size with space behind",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: chunked¶¶1 ¶x¶0¶¶",
        "400 close",
    ),
    (
        "7.1 data too long",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: chunked¶¶1¶xx¶0¶¶",
        "400 close",
    ),
    (
        "7.1 bare LF",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: chunked¶¶1\nx¶0¶¶",
        "400 close",
    ),
    (
        "7.1 bare LF behind data",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: chunked¶¶1¶x\n0¶¶",
        "400 close",
    ),
    (
        "7.1 body not whole",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: chunked¶¶1¶x¶0¶",
        "more",
    ),
    (
        "7.1 then a request",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: chunked¶¶1¶x¶0¶¶GET / HTTP/1.1¶Host: a¶¶",
        "200 200",
    ),
    (
        "7.1.1 extension",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: chunked¶¶1;a=\"b;c\"¶x¶0;z¶¶",
        "200",
    ),
    (
        "7.1.1 BWS before it",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: chunked¶¶1 ;a¶x¶0¶¶",
        "200",
    ),
    (
        "7.1.1 bare LF in it",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: chunked¶¶1;a\n¶x¶0¶¶",
        "400 close",
    ),
    (
        "7.1.2 trailers",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: chunked¶¶0¶A: b¶C:¶¶",
        "200",
    ),
    (
        "7.1.2 framing in them",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: chunked¶¶0¶Content-Length: 9¶¶GET / HTTP/1.1¶Host: a¶¶",
        "200 200",
    ),
    (
        "7.1.2 folded",
        "PUT / HTTP/1.1¶Host: a¶Transfer-Encoding: chunked¶¶0¶A: b¶ c¶¶",
        "400 close",
    ),
    (
        "9.3 1.1 goes on",
        "GET / HTTP/1.1¶Host: a¶¶GET / HTTP/1.1¶Host: a¶¶",
        "200 200",
    ),
    ("9.3 1.0 does not", "GET / HTTP/1.0¶¶GET / HTTP/1.0¶¶", "200 close"),
    (
        "9.3 1.0 with keep-alive",
        "GET / HTTP/1.0¶Connection: keep-alive¶¶GET / HTTP/1.0¶¶",
        "200 200 close",
    ),
    (
        "9.3 close wins",
        "GET / HTTP/1.0¶Connection: keep-alive, close¶¶",
        "200 close",
    ),
    (
        "9.3.2 pipelined, one wrong",
        "GET / HTTP/1.1¶Host: a¶¶GET /¶GET / HTTP/1.1¶Host: a¶¶",
        "200 400 close",
    ),
    (
        "11.2 a smuggled request",
        "POST / HTTP/1.1¶Host: a¶Content-Length: 30¶Transfer-Encoding : chunked¶¶0¶¶GET /x HTTP/1.1¶",
        "400 close",
    ),
];

fn holds(rfc: u16, cases: &[Case]) {
    for (section, bytes, wanted) in cases {
        let bytes = bytes.replace('¶', "\r\n");
        let story = tell_however_cut(bytes.as_bytes());
        let (statuses, end) = outcome(&story);
        let mut got: Vec<_> =
            statuses.iter().map(ToString::to_string).collect();
        match end {
            "idle" => {}
            "closed" => got.push("close".into()),
            _ => got.push("more".into()),
        }
        assert_eq!(got.join(" "), *wanted, "RFC {rfc} §{section}\n{story}");
    }
}

#[test]
fn rfc_9110_holds_section_by_section() {
    holds(9110, RFC_9110);
}

#[test]
fn rfc_9112_holds_section_by_section() {
    holds(9112, RFC_9112);
}
