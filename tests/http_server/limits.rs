//! How much a client may send, as the options say.

use std::time::Duration;

use crate::common::has_tool;
use crate::common::server::Server;
use crate::peer::{Client, get, post};

/// The statuses of all answers to this.
fn told(server: &Server, bytes: &str) -> Vec<u16> {
    let mut client = Client::open(server.place());
    client.send(bytes);
    client.half_close();
    client.statuses()
}

#[test]
fn a_head_may_be_as_long_as_its_option_says() {
    let server = Server::serve("--workers 1 --max-head 400");
    let head = |length: usize| {
        let rest = length - get("/").len() - "X: \r\n".len();
        let field = format!(": a\r\nX: {}", "x".repeat(rest));
        get("/").replace(": a", &field)
    };
    assert_eq!(head(400).len(), 400);
    assert_eq!(told(&server, &head(400)), [200]);
    assert_eq!(told(&server, &head(401)), [431]);
    let target = "/".repeat(400);
    assert_eq!(told(&server, &get(&target)), [414]);
}

#[test]
fn there_may_be_as_many_fields_as_their_option_says() {
    let server = Server::serve("--workers 1 --max-fields 5");
    let head = |fields: usize| {
        get("/").replace(": a", &format!(": a{}", "\r\nX: y".repeat(fields)))
    };
    assert_eq!(told(&server, &head(4)), [200]);
    assert_eq!(told(&server, &head(5)), [431]);
}

#[test]
fn a_body_may_be_as_long_as_its_option_says() {
    let server = Server::serve("--workers 1 --max-body 1000");
    let sized =
        |length: usize| post("/echo", length as u64) + &"x".repeat(length);
    assert_eq!(told(&server, &sized(1000)), [200]);
    assert_eq!(told(&server, &sized(1001)), [413]);
    let chunked = |length: usize| {
        let framing = "Transfer-Encoding: chunked";
        let head = post("/echo", 0).replace("Content-Length: 0", framing);
        head + &"1\r\nx\r\n".repeat(length) + "0\r\n\r\n"
    };
    assert_eq!(told(&server, &chunked(1000)), [200]);
    assert_eq!(told(&server, &chunked(1001)), [413]);
}

#[test]
fn a_connection_ends_after_as_many_requests_as_its_option_says() {
    let server = Server::serve("--workers 1 --max-requests-per-connection 3");
    let mut client = Client::open(server.place());
    for _ in 0..2 {
        client.send(get("/"));
        assert!(!client.answer().closes());
    }
    client.send(get("/"));
    let answers = client.answers();
    assert!(answers.len() == 1 && answers[0].closes());

    let mut client = Client::open(server.place());
    client.send(get("/").repeat(10));
    assert_eq!(client.statuses(), [200; 3]);
}

#[test]
fn a_worker_has_as_many_connections_as_its_option_says() {
    let server = Server::serve("--workers 1 --max-connections 3");
    let mut inside: Vec<Client> = (0..3)
        .map(|_| {
            let mut client = Client::open(server.place());
            client.send(get("/"));
            assert_eq!(client.answer().status, 200);
            client
        })
        .collect();
    let mut outside = Client::open(server.place());
    outside.send(get("/"));
    outside.hear_nothing(Duration::from_millis(300));
    drop(inside.pop());
    assert_eq!(outside.answer().status, 200);
}

#[test]
fn curl_sends_a_body_when_it_is_told_to_go_on() {
    if !has_tool("curl") {
        return;
    }
    let server = Server::serve("--workers 1");
    let url = format!("http://{}/echo", server.place().address());
    let body = "x".repeat(500_000);
    let output = std::process::Command::new("curl")
        .args(["-sv", "--expect100-timeout", "10"])
        .args(["-H", "Expect: 100-continue", "-H", "Content-Type: text/plain"])
        .args(["--data-binary", "@-", &url])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            let mut input = child.stdin.take().unwrap();
            std::io::Write::write_all(&mut input, body.as_bytes())?;
            drop(input);
            child.wait_with_output()
        })
        .unwrap();
    assert_eq!(output.stdout, body.as_bytes());
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("HTTP/1.1 100 Continue"), "{told}");
}
