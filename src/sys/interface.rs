//! if_nametoindex(3): the number of a network interface, by which the zone of
//! an address is known to the kernel (RFC 4007 §11).

use std::ffi::CString;

/// `None` if this machine has no interface of that name. It asks the kernel,
/// and nobody else: nothing is waited for.
pub(crate) fn number_of(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name is a C string.
    let number = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (number != 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_a_number_and_what_is_not_there_has_none() {
        assert!(number_of("lo").is_some());
        assert_eq!(number_of("no such one"), None);
        assert_eq!(number_of("l\0o"), None);
    }
}
