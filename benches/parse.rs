//! What a small request costs: its head, beside httparse, and the whole way
//! from bytes to an answer.

use divan::{Bencher, black_box};
use handoff::http::{
    Connection, Head, Input, Limits, Mailbox, Output, Preamble, Reply,
    Request, Response, Service,
};
use std::sync::Arc;

/// 40 bytes, as small as HTTP/1.1 gets.
const SMALL: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost:3000\r\n\r\n";

/// 165 bytes, as a load generator or a plain client sends.
const PLAIN: &[u8] = b"GET /plaintext HTTP/1.1\r\nHost: server.example:8080\r\n\
User-Agent: curl/8.14.10 (x86_64-linux-gnu)\r\nAccept: text/html,application/json;q=0.9\
\r\nConnection: keep-alive\r\n\r\n";

/// As a browser sends.
const BROWSER: &[u8] = b"GET /wp-content/uploads/2010/03/hello-kitty-darth-\
vader-pink.jpg HTTP/1.1\r\nHost: www.kittyhell.com\r\nUser-Agent: Mozilla/5.0 \
(Macintosh; U; Intel Mac OS X 10.6; ja-JP-mac; rv:1.9.2.3) Gecko/20100401 \
Firefox/3.6.3 Pathtraq/0.9\r\nAccept: text/html,application/xhtml+xml,\
application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: ja,en-us;q=0.7,en;q=0.3\
\r\nAccept-Encoding: gzip,deflate\r\nAccept-Charset: Shift_JIS,utf-8;q=0.7,*;\
q=0.7\r\nKeep-Alive: 115\r\nConnection: keep-alive\r\nCookie: wp_ozh_wsa_\
visits=2; wp_ozh_wsa_visit_lasttime=xxxxxxxxxx; __utma=xxxxxxxxx.xxxxxxxxxx.\
xxxxxxxxxx.xxxxxxxxxx.xxxxxxxxxx.x; __utmz=xxxxxxxxx.xxxxxxxxxx.x.x.utmccn=\
(referral)|utmcsr=reader.livedoor.com|utmcct=/reader/|utmcmd=referral\r\n\r\n";

const SIZES: [usize; 3] = [SMALL.len(), PLAIN.len(), BROWSER.len()];

fn request(size: usize) -> &'static [u8] {
    let mut requests = [SMALL, PLAIN, BROWSER].into_iter();
    requests.find(|request| request.len() == size).expect("one of three")
}

fn main() {
    assert_eq!((SMALL.len(), PLAIN.len()), (40, 165));
    divan::main();
}

#[divan::bench(args = SIZES, sample_size = 1000)]
fn head_handoff(bencher: Bencher<'_, '_>, size: usize) {
    let limits = Limits::default();
    let mut head = Head::default();
    let request = request(size);
    bencher.bench_local(|| {
        head.clear();
        head.parse(black_box(request), &limits).expect("a request")
    });
}

#[divan::bench(args = SIZES, sample_size = 1000)]
fn head_httparse(bencher: Bencher<'_, '_>, size: usize) {
    let request = request(size);
    bencher.bench_local(|| {
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut parsed = httparse::Request::new(&mut fields);
        parsed.parse(black_box(request)).expect("a request")
    });
}

/// Head, meaning, handler, answer.
#[divan::bench(args = SIZES, sample_size = 1000)]
fn answer(bencher: Bencher<'_, '_>, size: usize) {
    let request = request(size);
    let limits = Limits::default();
    let preamble = Preamble::new(0);
    let mailbox = Arc::new(Mailbox::new(|| {}));
    let mut handler = |_: &Request<'_>, response: &mut Response<'_>| {
        response.body("Hello, World!");
    };
    let mut reply = Reply::new();
    let mut input = Input::new();
    let mut output = Output::new();
    bencher.bench_local(|| {
        input.space()[..request.len()].copy_from_slice(black_box(request));
        input.filled(request.len());
        let mut connection = Connection::new();
        let mut service = Service {
            handler: &mut handler,
            limits: &limits,
            preamble: &preamble,
            mailbox: &mailbox,
            reply: &mut reply,
            ticket: 0,
            peer: &|| None,
            leaving: false,
            panicked: false,
            request_log: None,
        };
        connection.receive(&mut input, &mut output, &mut service);
        let count = black_box(output.pending()).len();
        output.written(count);
    });
}
