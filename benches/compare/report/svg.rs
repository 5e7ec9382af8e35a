//! As much of SVG as two plots need: text, lines, dots, and colours that
//! follow the reader's light or dark theme.

use std::fmt::Write;

/// Colours by role, on a ground of its own in both themes: a picture in a
/// page knows what the reader prefers, not what the page has chosen.
const STYLE: &str = "\
text{font:12px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#52514e}\
.title{font-weight:600;font-size:14px;fill:#0b0b0b}\
.strong{font-weight:600;fill:#0b0b0b}\
.ground{fill:#fcfcfb}\
line,polyline{fill:none}\
.grid{stroke:#e1e0d9}.axis{stroke:#898781}\
.ours{stroke:#2a78d6}.peer{stroke:#898781}.floor{stroke:#1baf7a}\
.part{stroke:#eb6834}\
.whisker{stroke-width:2}.curve{stroke-width:2}\
.dot{stroke:#fcfcfb;stroke-width:1.5}\
.dot.ours,.dot.peer,.dot.floor,.dot.part{stroke:#fcfcfb}\
.dot.ours{fill:#2a78d6}.dot.peer{fill:#898781}\
.dot.floor{fill:#1baf7a}.dot.part{fill:#eb6834}\
@media(prefers-color-scheme:dark){\
text{fill:#c3c2b7}.title,.strong{fill:#fff}.ground{fill:#1a1a19}\
.grid{stroke:#2c2c2a}\
.ours{stroke:#3987e5}.floor{stroke:#199e70}.part{stroke:#d95926}\
.dot,.dot.ours,.dot.peer,.dot.floor,.dot.part{stroke:#1a1a19}\
.dot.ours{fill:#3987e5}.dot.floor{fill:#199e70}.dot.part{fill:#d95926}}";

/// A picture as an address that holds all of it (RFC 2397). Whatever means
/// something in an address or in Markdown is written by its number.
pub(crate) fn uri(picture: &str) -> String {
    let mut uri = "data:image/svg+xml,".to_owned();
    for byte in picture.bytes() {
        match byte {
            b'-' | b'.' | b'/' | b':' | b';' | b'=' | b',' => {
                uri.push(char::from(byte));
            }
            _ if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
            _ => {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    uri
}

/// Where a text stands beside its point.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A picture under construction. Lengths are in pixels, from the top left.
#[derive(Debug)]
pub(crate) struct Svg {
    width: f64,
    height: f64,
    body: String,
}

impl Svg {
    /// `about` is for those who cannot see it.
    pub(crate) fn new(width: f64, height: f64, about: &str) -> Svg {
        let body = format!("<title>{}</title>\n", escaped(about));
        Svg { width, height, body }
    }

    pub(crate) fn text(
        &mut self,
        (x, y): (f64, f64),
        anchor: Anchor,
        class: &str,
        text: &str,
    ) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.put(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" \
             class=\"{class}\">{}</text>",
            escaped(text)
        ));
    }

    pub(crate) fn line(
        &mut self,
        (x1, y1): (f64, f64),
        (x2, y2): (f64, f64),
        class: &str,
    ) {
        self.put(format_args!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" \
             y2=\"{y2:.1}\" class=\"{class}\"/>"
        ));
    }

    pub(crate) fn curve(&mut self, points: &[(f64, f64)], class: &str) {
        let mut text = String::new();
        for (x, y) in points {
            // Writing to a string cannot fail.
            let _ = write!(text, "{x:.1},{y:.1} ");
        }
        let text = text.trim_end();
        self.put(format_args!(
            "<polyline points=\"{text}\" class=\"curve {class}\"/>"
        ));
    }

    /// A point and how far it reaches; what it says is shown when the
    /// pointer rests on it.
    pub(crate) fn dot(&mut self, (x, y): (f64, f64), class: &str, says: &str) {
        self.put(format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" \
             class=\"dot {class}\"><title>{}</title></circle>",
            escaped(says)
        ));
    }

    pub(crate) fn finish(self) -> String {
        let Svg { width, height, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" \
             width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\">\n<style>{STYLE}</style>\n\
             <rect class=\"ground\" width=\"100%\" height=\"100%\" \
             rx=\"6\"/>\n{body}</svg>\n"
        )
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.body, "{element}");
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Marks of a logarithmic axis between two numbers: 1, 2 and 5 of each
/// decade, fewer where there are many, more where the numbers are close.
pub(crate) fn decades(from: f64, to: f64) -> Vec<f64> {
    let steps: &[f64] = match to / from {
        ..4.0 => &[1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
        ..300.0 => &[1.0, 2.0, 5.0],
        _ => &[1.0],
    };
    let first = from.log10().floor() as i32;
    let last = to.log10().ceil() as i32;
    let marks = (first..=last)
        .flat_map(|power| steps.iter().map(move |s| s * 10f64.powi(power)));
    marks.filter(|mark| (from..=to).contains(mark)).collect()
}
