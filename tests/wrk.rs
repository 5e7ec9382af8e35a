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
        .unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    println!("{report}");
    assert!(output.status.success());
    assert!(!report.contains("Socket errors"), "{report}");
    assert!(!report.contains("Non-2xx"), "{report}");
    let requests: usize = report
        .split_whitespace()
        .zip(report.split_whitespace().skip(1))
        .find(|(_, next)| *next == "requests")
        .and_then(|(count, _)| count.parse().ok())
        .unwrap();
    assert!(requests > 100, "{report}");
}

#[test]
fn wrk_keeps_its_connections() {
    expect_no_complaint(&[]);
}

#[test]
fn wrk_opens_one_for_each_request() {
    expect_no_complaint(&["-H", "Connection: close"]);
}
