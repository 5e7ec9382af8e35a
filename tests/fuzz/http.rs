//! Any bytes at all: no panic, the same story however they are cut, answers
//! that a strict client can read, and one that closes if any refuses.
#![no_main]
#![allow(dead_code)]

#[path = "../http/client.rs"]
mod client;
#[path = "../http/driver.rs"]
mod driver;
#[path = "../http/transcript.rs"]
mod transcript;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The first two bytes say where to cut, the rest is what is sent.
    let Some((cut, bytes)) = bytes.split_first_chunk::<2>() else { return };
    let whole = transcript::tell(std::iter::once(bytes));
    assert_eq!(whole, transcript::tell(bytes.chunks(1)), "byte by byte");
    let cut = usize::from(u16::from_le_bytes(*cut)) % (bytes.len() + 1);
    let (first, second) = bytes.split_at(cut);
    let split = transcript::tell([first, second].into_iter());
    assert_eq!(whole, split, "split at {cut}");
    let pieces = bytes.chunks(1 + cut % 37);
    assert_eq!(whole, transcript::tell(pieces), "in pieces");
});
