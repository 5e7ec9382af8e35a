//! The part of every answer that changes once a second: prepared then, and
//! copied from then on.

/// Days of the week from the first of January 1970, a Thursday.
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct",
    "Nov", "Dec",
];

/// The first lines of an answer: status, `Server`, `Date`.
#[derive(Clone, Debug)]
pub struct Preamble {
    /// Seconds since 1970.
    second: u64,
    text: String,
}

impl Preamble {
    pub(super) const OK: &str = "HTTP/1.1 200 OK\r\n";

    /// For this second, counted from the first of January 1970, UTC.
    #[must_use]
    pub fn new(second: u64) -> Self {
        let mut preamble = Preamble { second, text: String::new() };
        preamble.rewrite();
        preamble
    }

    /// It is now this second. Costs next to nothing if it was before.
    pub fn set(&mut self, second: u64) {
        if second != self.second {
            self.second = second;
            self.rewrite();
        }
    }

    fn rewrite(&mut self) {
        self.text.clear();
        self.text.push_str(Self::OK);
        self.text.push_str("Server: handoff\r\nDate: ");
        self.text.push_str(&date(self.second));
        self.text.push_str("\r\n");
    }

    /// With the status line of a 200 in front.
    pub(super) fn ok(&self) -> &[u8] {
        self.text.as_bytes()
    }

    /// Without a status line.
    pub(super) fn fields(&self) -> &[u8] {
        &self.text.as_bytes()[Self::OK.len()..]
    }
}

/// IMF-fixdate (RFC 9110 §5.6.7) of a second since 1970.
fn date(second: u64) -> String {
    let (days, time) = (second / 86_400, second % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        DAYS[(days % 7) as usize],
        MONTHS[month],
        time / 3600,
        time / 60 % 60,
        time % 60,
    )
}

/// Year, month from 0, day from 1, of a day since 1970. Counted from the
/// first of March of the year 0, so that a leap day is the last of its year;
/// 400 years have 146,097 days.
fn civil(days: u64) -> (u64, usize, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // March to July, and August to December, have 153 days each.
    let month = (5 * day + 2) / 153;
    let first = (153 * month + 2) / 5;
    let january = u64::from(month >= 10);
    let month = (month + 2) % 12;
    (era * 400 + year + january, month as usize, day - first + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_known_seconds() {
        for (second, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_799, "Tue, 29 Feb 2000 23:59:59 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (253_402_300_799, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            assert_eq!(date(second), text);
        }
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let every = |years, y: u64| y.is_multiple_of(years);
        let leap = |y| every(4, y) && (!every(100, y) || every(400, y));
        let (mut year, mut month, mut day) = (1970, 0, 1);
        for days in 0..146_097 {
            assert_eq!(civil(days), (year, month, day), "day {days}");
            let february = if leap(year) { 29 } else { 28 };
            let long = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            day += 1;
            if day > long[month] {
                (month, day) = (month + 1, 1);
            }
            if month == 12 {
                (year, month) = (year + 1, 0);
            }
        }
    }

    #[test]
    fn a_preamble_follows_the_clock() {
        let mut preamble = Preamble::new(0);
        let first = preamble.fields().to_vec();
        preamble.set(0);
        assert_eq!(preamble.fields(), first);
        preamble.set(1);
        let text =
            "Server: handoff\r\nDate: Thu, 01 Jan 1970 00:00:01 GMT\r\n";
        assert_eq!(preamble.fields(), text.as_bytes());
        assert_eq!(preamble.ok(), [Preamble::OK, text].concat().as_bytes());
    }
}
