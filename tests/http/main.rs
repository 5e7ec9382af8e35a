//! The HTTP core from outside.

mod driver;

use driver::Driver;
use handoff::http::{Request, Response};

#[test]
fn the_handler_of_the_manual_compiles_and_counts() {
    let mut served = 0;
    let handler = move |request: &Request<'_>, response: &mut Response<'_>| {
        served += 1;
        response.body(format!("{} {served}\n", request.target()));
    };
    let mut driver = Driver::new(handler);
    driver.send(
        b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    let text = String::from_utf8(driver.taken()).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 2);
    assert!(text.contains("\r\n\r\n/a 1\nHTTP/1.1 200"));
    assert!(text.ends_with("\r\n\r\n/b 2\n"));
    assert!(driver.connection.is_idle());
}
