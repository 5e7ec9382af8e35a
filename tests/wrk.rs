//! wrk, the load generator, has nothing to complain about.

mod common;

use std::process::Command;

use common::has_tool;
use common::server::Server;

fn expect_no_complaint(arguments: &[&str]) {
    if !has_tool("wrk") {
        return;
    }
    let server = Server::serve("--workers 2");
    server.wait_for_workers(2);
    let output = Command::new("wrk")
        .args(["-t1", "-c64", "-d2"])
        .args(arguments)
        .arg(format!("http://{}/plaintext", server.place().address()))
        .output()
        .expect("wrk is there");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success());
    assert!(!report.contains("Socket errors"), "{report}");
    assert!(!report.contains("Non-2xx"), "{report}");
    let words: Vec<&str> = report.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "requests");
    let requests = at.and_then(|at| words[at - 1].parse::<usize>().ok());
    assert!(requests > Some(100), "{report}");
}

#[test]
fn wrk_keeps_its_connections() {
    expect_no_complaint(&[]);
}

#[test]
fn wrk_opens_one_for_each_request() {
    expect_no_complaint(&["-H", "Connection: close"]);
}
