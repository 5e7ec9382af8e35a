//! What becomes more, and what a request costs meanwhile.

/// What becomes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Panel {
    /// Connections that all ask all the time.
    Busy,
    /// Connections that do nothing, beside 64 that ask.
    Idle,
    /// Workers, and each connection is handed to one.
    WorkersClose,
    /// Workers, and connections stay.
    WorkersKeepAlive,
    /// Addresses that the server listens at, and all are asked.
    Listeners,
}

impl Panel {
    pub(crate) const ALL: [Panel; 5] = [
        Panel::Busy,
        Panel::Idle,
        Panel::WorkersClose,
        Panel::WorkersKeepAlive,
        Panel::Listeners,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Panel::Busy => "Busy keep-alive connections",
            Panel::Idle => "Idle connections beside 64 busy ones",
            Panel::WorkersClose => "Workers, a connection for each request",
            Panel::WorkersKeepAlive => "Workers, 64 keep-alive connections",
            Panel::Listeners => "Addresses, a connection for each request",
        }
    }
}

/// The cost of a request in microseconds of CPU, for each number of what
/// becomes more, as often as it was measured.
#[derive(Debug)]
pub(crate) struct Curve {
    pub(crate) panel: Panel,
    pub(crate) name: &'static str,
    pub(crate) points: Vec<(usize, Vec<f64>)>,
}

impl Curve {
    pub(super) fn new(panel: Panel, name: &'static str) -> Curve {
        Curve { panel, name, points: Vec::new() }
    }

    pub(super) fn add(&mut self, at: usize, cost: f64) {
        match self.points.iter_mut().find(|(x, _)| *x == at) {
            Some((_, costs)) => costs.push(cost),
            None => self.points.push((at, vec![cost])),
        }
    }
}
