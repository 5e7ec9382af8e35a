//! What the program answers, so that a test knows it too.

/// So many bytes, of which each tells where it stands; others for others.
pub(crate) fn body(name: &str, length: usize) -> Vec<u8> {
    // A prime, so that no buffer's size is a multiple of it.
    const PERIOD: usize = 997;
    let salt: usize = name.bytes().map(usize::from).sum();
    let letter = |at: usize| b'a' + ((at / 3 + at * at + salt) % 26) as u8;
    let period: Vec<u8> = (0..PERIOD).map(letter).collect();
    let mut body = period.repeat(length.div_ceil(PERIOD));
    body.truncate(length);
    body
}
