//! The other side, written from the RFC and not from the server: reads
//! answers, and complains about whatever a strict client would.

/// One final answer, and the interim ones before it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) continues: usize,
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn closes(&self) -> bool {
        self.field("connection") == Some("close")
    }
}

/// All answers in the bytes. `heads` says of each request in turn whether it
/// was a HEAD; one it does not know of may have been.
pub(crate) fn answers(mut bytes: &[u8], heads: &[bool]) -> Vec<Answer> {
    let mut answers = Vec::new();
    let mut continues = 0;
    while !bytes.is_empty() {
        let (status, fields, rest) = head(bytes);
        bytes = rest;
        if status == 100 {
            assert!(fields.is_empty());
            continues += 1;
            continue;
        }
        let is_head = heads.get(answers.len()).copied();
        let is_head = is_head.unwrap_or(bytes.is_empty());
        let mut answer =
            Answer { continues, status, fields, body: Vec::new() };
        (answer.body, bytes) = body(&answer, is_head, bytes);
        // A 502 tells of a worker's death, and is no worker's.
        let names = ["date", "server"].into_iter();
        for name in names.filter(|_| answer.status != 502) {
            assert!(answer.field(name).is_some(), "no {name}");
        }
        for (at, (name, _)) in answer.fields.iter().enumerate() {
            let again = answer.fields[..at].iter().any(|(n, _)| n == name);
            assert!(!again, "{name} twice");
        }
        answers.push(answer);
        continues = 0;
    }
    answers
}

type Fields = Vec<(String, String)>;

fn head(bytes: &[u8]) -> (u16, Fields, &[u8]) {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n").expect("a whole head");
    let text = std::str::from_utf8(&bytes[..end]).expect("text");
    let mut lines = text.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let mut parts = first.splitn(3, ' ');
    assert_eq!(parts.next(), Some("HTTP/1.1"), "{first}");
    let status = parts.next().expect("a status");
    assert_eq!(status.len(), 3);
    assert!(!parts.next().expect("a phrase").is_empty());
    let fields = lines
        .map(|line| {
            let (name, value) = line.split_once(": ").expect("a field");
            (name.to_ascii_lowercase(), value.to_owned())
        })
        .collect();
    (status.parse().expect("a number"), fields, &bytes[end + 4..])
}

fn body<'a>(
    answer: &Answer,
    head: bool,
    bytes: &'a [u8],
) -> (Vec<u8>, &'a [u8]) {
    let length = answer.field("content-length");
    let coding = answer.field("transfer-encoding");
    if answer.status == 204 {
        assert!(length.is_none() && coding.is_none());
    }
    if head || answer.status == 204 || answer.status == 304 {
        return (Vec::new(), bytes);
    }
    match (length, coding) {
        (Some(length), None) => {
            let length = length.parse().expect("a length");
            assert!(bytes.len() >= length, "a body cut off");
            (bytes[..length].to_vec(), &bytes[length..])
        }
        (None, Some(coding)) => {
            assert_eq!(coding, "chunked");
            chunks(bytes)
        }
        (None, None) => {
            assert!(answer.closes(), "a body without an end");
            (bytes.to_vec(), &[])
        }
        (Some(_), Some(_)) => panic!("two lengths"),
    }
}

fn chunks(mut bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut body = Vec::new();
    loop {
        let line = memchr::memmem::find(bytes, b"\r\n").expect("a size");
        let size = std::str::from_utf8(&bytes[..line]).expect("text");
        let size = usize::from_str_radix(size, 16).expect("a size");
        let data = &bytes[line + 2..];
        assert_eq!(&data[size..size + 2], b"\r\n");
        body.extend_from_slice(&data[..size]);
        bytes = &data[size + 2..];
        if size == 0 {
            return (body, bytes);
        }
    }
}
