//! A proxy before us, as lenient as it can be made, and requests that can be
//! read in two ways. What it counts as so many requests to us we must count
//! as no more; else some of a client's bytes have become a request of their
//! own, and its answer goes to whoever is next on that connection. So another
//! client asks after each, over the same few connections, and must get what
//! is its own.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::common::http::{Connection, Place};
use crate::common::server::{Server, handoff};
use crate::common::{PATIENCE, Scratch, has_tool, wait_until, within};

/// What stands in the body of a request, where some would look for another.
const HIDDEN: &str = "GET /echo?hidden HTTP/1.1\r\nHost: a\r\n\r\n";

/// How long a client listens who may get no answer.
const MOMENT: Duration = Duration::from_millis(300);

const HAPROXY: &str = r#"
global
    log stdout format raw daemon
defaults
    mode http
    log global
    log-format "%s %ST"
    timeout connect 5s
    timeout client 20s
    timeout server 20s
    retries 0
    option http-keep-alive
    option accept-invalid-http-request
frontend front
    bind "unix@FOLDER/front.sock"
    default_backend back
backend back
    http-reuse always
    server back BACK
"#;

const NGINX: &str = r#"
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {}
http {
    log_format counts '$upstream_addr $status';
    access_log count counts;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    ignore_invalid_headers off;
    underscores_in_headers on;
    upstream back {
        server BACK;
        keepalive 4;
    }
    server {
        listen unix:FOLDER/front.sock;
        location / {
            proxy_pass http://back;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_next_upstream off;
            proxy_set_header Connection "";
        }
    }
}
"#;

/// A proxy, and one worker of ours behind it.
struct Front {
    process: Child,
    /// How a line of its log begins that tells of a request to us.
    mark: String,
    folder: Scratch,
    /// Goes with it.
    _back: Server,
}

impl Front {
    /// `None`, and loudly, if there is no such program.
    fn start(name: &str) -> Option<Front> {
        let Some(program) = find(name) else {
            assert!(!has_tool(name), "{name} is where nobody looks");
            return None;
        };
        let folder = Scratch::new(&format!("front-{name}"));
        let words = "serve --listen 127.0.0.1:0 --workers 1 --control";
        let control = folder.path("control");
        let command = handoff(&format!("{words} {}", control.display()));
        let back = Server::start(command);
        back.wait_for_workers(1);
        let address = back.place().address().to_string();
        let (text, mark, words): (_, _, &[&str]) = match name {
            "haproxy" => (HAPROXY, "back ".to_owned(), &["-db", "-f"]),
            _ => (NGINX, address.clone(), &["-p", ".", "-c"]),
        };
        let place = folder.path("").display().to_string();
        let text = text
            .replace("FOLDER", place.trim_end_matches('/'))
            .replace("BACK", &address);
        let config = folder.path("config");
        fs::write(&config, text).unwrap();
        let count = File::create(folder.path("count")).unwrap();
        let process = Command::new(program)
            .args(words)
            .arg(&config)
            .current_dir(folder.path(""))
            .stdout(count)
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let front = Front { process, mark, folder, _back: back };
        wait_until("the proxy listens", || {
            Connection::open(&front.place()).is_ok()
        });
        Some(front)
    }

    fn place(&self) -> Place {
        Place::Unix(self.folder.path("front.sock"))
    }

    /// Requests that it has sent to us, in its own opinion.
    fn counted(&self) -> u64 {
        let log = fs::read_to_string(self.folder.path("count")).unwrap();
        let lines = log.lines().filter(|line| line.starts_with(&self.mark));
        lines.count() as u64
    }

    /// Requests that came to us in ours: answered, and refused.
    fn came(&self) -> (u64, u64) {
        let control = self.folder.path("control");
        let words = format!("status --json --control {}", control.display());
        let output = handoff(&words).output().unwrap();
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        let number = |name: &str| status["master"][name].as_u64().unwrap();
        (number("requests"), number("refused"))
    }

    /// Sends this, and listens for a while. All that came.
    fn say(&self, bytes: &[u8]) -> String {
        let mut client =
            UnixStream::connect(self.folder.path("front.sock")).unwrap();
        client.set_read_timeout(Some(MOMENT)).unwrap();
        // It may have heard enough before that.
        let _ = client.write_all(bytes);
        let mut heard = Vec::new();
        let mut piece = [0; 4096];
        while let Ok(count @ 1..) = client.read(&mut piece) {
            heard.extend_from_slice(&piece[..count]);
        }
        String::from_utf8_lossy(&heard).into_owned()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Daemons are where not everybody looks.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let daemons = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let folders = std::env::split_paths(&path).chain(daemons);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Requests of which it can be asked where they end. `LENGTH` is that of all
/// that follows the head.
fn ambiguous() -> Vec<String> {
    let lengths = [
        "Content-Length: LENGTH",
        "Content-Length: +LENGTH",
        "Content-Length: 0LENGTH",
        "Content-Length: LENGTH, LENGTH",
        "Content-Length: LENGTH, 5",
        "Content-Length: LENGTH\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: LENGTH",
        "Content-Length : LENGTH",
        "Content-Length:\r\n LENGTH",
        "Content-Length: LENGTH\n",
        "Content-Length: \x0bLENGTH",
        "Content_Length: LENGTH",
        "X: a\rContent-Length: LENGTH",
        "X: a\nContent-Length: LENGTH",
        "Connection: Content-Length\r\nContent-Length: LENGTH",
    ];
    let codings = [
        "Transfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked;a=b",
        "Transfer-Encoding:\x0bchunked",
        "Transfer-Encoding: \x00chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "Transfer_Encoding: chunked",
        "X: a\nTransfer-Encoding: chunked",
        "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked",
    ];
    let mut fields: Vec<String> = Vec::new();
    fields.extend(lengths.map(str::to_owned));
    for coding in codings {
        fields.push(coding.to_owned());
        fields.push(format!("Content-Length: LENGTH\r\n{coding}"));
        fields.push(format!("{coding}\r\nContent-Length: 5"));
    }
    let mut all = Vec::new();
    for fields in fields {
        for line in ["POST /echo HTTP/1.1", "GET /echo HTTP/1.0"] {
            let body = format!("0\r\n\r\n{HIDDEN}");
            let length = body.len().to_string();
            let head = format!("{line}\r\nHost: a\r\n{fields}\r\n\r\n");
            all.push(head.replace("LENGTH", &length) + &body);
        }
    }
    let chunks = [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rXhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5;a=\"\r\nhello\r\n0\r\n\r\n\"",
        "5;a\nhello\r\n0\r\n\r\n",
        "5;\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "00000000000000005\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff5\r\nhello\r\n0\r\n\r\n",
        "0\n\r\n",
        "0\r\nX: a\n\r\n",
        "0\r\nContent-Length: 50\r\n\r\n",
        "0\r\nX\r\n\r\n",
        "0\r\n X: a\r\n\r\n",
    ];
    for chunks in chunks {
        all.push(format!(
            "POST /echo HTTP/1.1\r\nHost: a\r\n\
             Transfer-Encoding: chunked\r\n\r\n{chunks}{HIDDEN}"
        ));
    }
    all
}

/// All of them, one after the other.
fn agree(name: &str) {
    let Some(front) = Front::start(name) else { return };
    let mut refused = 0;
    let before = front.came().0;
    for (number, bytes) in ambiguous().iter().enumerate() {
        let shown = bytes.as_bytes().escape_ascii();
        let heard = front.say(bytes.as_bytes());
        let mut neighbour = Connection::open(&front.place()).unwrap();
        for own in 0..3 {
            let own = format!("own-{number}-{own}");
            let answer = neighbour.get(&format!("/echo?{own}")).unwrap();
            assert_eq!(answer.text(), own, "{shown}\n{heard}");
        }
        drop(neighbour);
        let came = front.came();
        refused = came.1;
        let all = came.0 + came.1 - before;
        let agree = within(PATIENCE / 30, || front.counted() >= all);
        let counted = front.counted();
        assert!(agree, "{counted} have become {all}: {shown}\n{heard}");
    }
    println!("{name}: {} requests, {refused} refused by us", front.counted());
}

#[test]
fn haproxy_counts_no_fewer_requests_than_we_do() {
    agree("haproxy");
}

#[test]
fn nginx_counts_no_fewer_requests_than_we_do() {
    agree("nginx");
}
