//! What a worker costs: resident memory and processor time, from
//! `/proc/PID/stat` (proc_pid_stat(5)). Read only when somebody asks.

use std::fs;
use std::time::Duration;

use crate::control::Usage;
use crate::sys::memory;

/// `USER_HZ`, the unit of times in /proc (time(7)): a hundredth of a second
/// on every architecture that Rust supports.
const TICK: Duration = Duration::from_millis(10);

/// Of a child that has not been waited for, so that its number is its own.
/// `None` if it has ended.
pub(super) fn of(pid: i32) -> Option<Usage> {
    let line = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The kernel cuts names after 15 bytes, be it in a character.
    parse(&String::from_utf8_lossy(&line), memory::page_size())
}

/// Fields 14, 15 and 24: time as itself, time in the kernel, pages.
fn parse(line: &str, page: u64) -> Option<Usage> {
    // Field 2 is the name in parentheses, and may hold any character.
    let (_, rest) = line.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let own = fields.nth(14 - 3)?.parse::<u32>().ok()?;
    let kernel = fields.next()?.parse::<u32>().ok()?;
    let pages = fields.nth(24 - 16)?.parse::<u64>().ok()?;
    Some(Usage {
        rss: pages.checked_mul(page)?,
        cpu: TICK.checked_mul(own)? + TICK.checked_mul(kernel)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found_behind_any_name() {
        let line = "77 (a) b (c)) R 1 77 77 0 -1 4194560 1 2 3 4 150 25 6 7 \
                    20 0 1 0 12345 1000000 321 18446744073709551615 1";
        let usage = Usage { rss: 321 * 4096, cpu: 175 * TICK };
        assert_eq!(parse(line, 4096), Some(usage));
        for cut in 0..line.len() - 25 {
            assert_eq!(parse(&line[..cut], 4096), None, "{cut}");
        }
    }

    #[test]
    fn a_name_that_is_cut_in_a_character_hides_nothing() {
        // 15 bytes are kept, the second half of the last é is not.
        crate::sys::process::set_name("-éééééé-é");
        let thread = fs::read_link("/proc/thread-self").unwrap();
        let thread = thread.file_name().unwrap().to_str().unwrap();
        let stat = fs::read(format!("/proc/{thread}/stat")).unwrap();
        assert!(String::from_utf8(stat).is_err(), "the name is whole");
        let usage = of(thread.parse().unwrap());
        assert!(usage.is_some_and(|usage| usage.rss > 0), "{usage:?}");
    }

    #[test]
    fn this_process_costs_something() {
        let mut memory = vec![1_u8; 32 << 20];
        memory.iter_mut().for_each(|byte| *byte = byte.wrapping_mul(3));
        let usage = of(std::process::id() as i32).unwrap();
        assert!(usage.rss > 32 << 20, "{usage:?}");
        assert!(memory.iter().all(|byte| *byte == 3));
        assert_eq!(of(i32::MAX), None);
    }
}
