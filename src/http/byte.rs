//! Which bytes may stand where, and how far a run of them reaches.
//!
//! This module knows bytes, not elements: it never decides that something is
//! an error, it only says where a run ends.

/// RFC 9110 §5.6.2: tchar.
pub(super) const TOKEN: u8 = 1;
/// What a request target may hold: visible ASCII without `#`, since no form
/// of it has a fragment (RFC 9112 §3.2). That is wider than RFC 3986: the
/// likes of `|` and `{` are sent raw by browsers, and harm no framing.
pub(super) const TARGET: u8 = 2;
/// RFC 9110 §5.5: what a field value may hold, inner space and tab included.
pub(super) const VALUE: u8 = 4;
/// RFC 3986 §3.2.2: unreserved and sub-delims, the single bytes of reg-name.
pub(super) const NAME: u8 = 8;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        let word = byte.is_ascii_alphanumeric();
        if word || holds(b"!#$%&'*+-.^_`|~", byte) {
            table[at] |= TOKEN;
        }
        if byte.is_ascii_graphic() && byte != b'#' {
            table[at] |= TARGET;
        }
        if byte.is_ascii_graphic() || byte >= 0x80 || holds(b" \t", byte) {
            table[at] |= VALUE;
        }
        if word || holds(b"-._~!$&'()*+,;=", byte) {
            table[at] |= NAME;
        }
        at += 1;
    }
    table
}

const fn holds(set: &[u8], byte: u8) -> bool {
    let mut at = 0;
    while at < set.len() {
        if set[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

/// Is this byte of that class?
#[inline]
pub(super) fn is(class: u8, byte: u8) -> bool {
    CLASSES[byte as usize] & class != 0
}

/// Where the run of bytes of a class that starts at `from` ends.
#[inline]
pub(super) fn run(class: u8, bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while at < bytes.len() && is(class, bytes[at]) {
        at += 1;
    }
    at
}

const ONES: u64 = u64::MAX / 255;
const TOPS: u64 = ONES * 0x80;

/// The top bit of every byte of `word` that is below `floor` (≤ 0x80), and
/// of none below the first such one: a borrow runs only upwards.
#[inline]
const fn below(word: u64, floor: u8) -> u64 {
    word.wrapping_sub(ONES * floor as u64) & !word & TOPS
}

#[inline]
const fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * byte as u64), 1)
}

/// As [`run`] of [`VALUE`], eight bytes a step.
#[inline]
pub(super) fn value_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(word) = bytes[at..].first_chunk() {
        let word = u64::from_le_bytes(*word);
        let odd = below(word, 0x20) | equal(word, 0x7f);
        if odd == 0 {
            at += 8;
            continue;
        }
        at += odd.trailing_zeros() as usize / 8;
        if bytes[at] != b'\t' {
            return at;
        }
        at += 1;
    }
    run(VALUE, bytes, at)
}

/// As [`run`] of [`TARGET`], eight bytes a step.
#[inline]
pub(super) fn target_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    while let Some(word) = bytes[at..].first_chunk() {
        let word = u64::from_le_bytes(*word);
        let odd = below(word, 0x21)
            | equal(word, 0x7f)
            | equal(word, b'#')
            | (word & TOPS);
        if odd != 0 {
            return at + odd.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    run(TARGET, bytes, at)
}

/// Without the spaces and tabs around it, and only those (RFC 9110 §5.6.3).
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// The elements of a comma-separated list, trimmed, without the empty ones
/// (RFC 9110 §5.6.1.2).
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let (element, tail) = match memchr::memchr(b',', bytes) {
            Some(at) => (&bytes[..at], Some(&bytes[at + 1..])),
            None => (bytes, None),
        };
        rest = tail;
        Some(trim(element))
    })
    .filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One odd byte at every place of a run, against the plain loop.
    fn agrees(fast: fn(&[u8], usize) -> usize, class: u8) {
        for odd in 0..=255 {
            for place in 0..20 {
                let mut bytes = [b'a'; 20];
                bytes[place] = odd;
                bytes[19] = odd;
                for from in 0..=20 {
                    let slow = run(class, &bytes, from);
                    assert_eq!(fast(&bytes, from), slow, "{odd} at {place}");
                }
            }
        }
    }

    #[test]
    fn eight_bytes_a_step_find_what_one_byte_a_step_finds() {
        agrees(value_end, VALUE);
        agrees(target_end, TARGET);
    }

    #[test]
    fn pairs_of_neighbouring_odd_bytes_do_not_hide_each_other() {
        for first in 0..=255u8 {
            for second in 0..=255u8 {
                let bytes = [b'a', b'a', first, second, b'a', b'a', b'a', 0];
                let slow = run(VALUE, &bytes, 0);
                assert_eq!(value_end(&bytes, 0), slow, "{first} {second}");
                let slow = run(TARGET, &bytes, 0);
                assert_eq!(target_end(&bytes, 0), slow, "{first} {second}");
            }
        }
    }

    #[test]
    fn a_list_drops_empty_elements_and_trims_only_space_and_tab() {
        let elements: Vec<_> = list(b" ,a,\t b ,,c\x0b, ").collect();
        assert_eq!(elements, [&b"a"[..], b"b", b"c\x0b"]);
        assert_eq!(list(b"").count(), 0);
    }

    #[test]
    fn tchar_is_the_set_of_the_rfc() {
        let tchars = (0..=255).filter(|&byte| is(TOKEN, byte)).count();
        assert_eq!(tchars, 26 + 26 + 10 + 15);
        assert!(b"()<>@,;:\\\"/[]?={} \t".iter().all(|&b| !is(TOKEN, b)));
    }
}
