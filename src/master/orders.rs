//! Orders: from signals to the supervisor, and from the supervisor to deeds.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use log::{debug, error, info, warn};

use super::Master;
use super::link::Tongue;
use super::server::ServerId;
use super::supervisor::{Action, Event, Reason, Report};
use crate::WorkerId;
use crate::error::Error;
use crate::event::{Event as Told, Post};
use crate::ipc::Message;
use crate::ipc::message::Act;
use crate::sys::signal::Signal;

/// How long idle clients may take for one more request while we stop.
const IDLE_AT_STOP: Duration = Duration::from_millis(500);

impl Master {
    pub(super) fn note(&mut self, event: Event) {
        let now = self.elapsed();
        if let Event::Ready { worker } = event {
            self.tell_program(Told::Listening { worker });
        }
        self.supervisor.handle(now, event, &mut self.actions);
    }

    /// Lets the program that we run in know, and sends what it says.
    pub(super) fn tell_program(&mut self, event: Told<'_>) {
        let Some(observer) = &mut self.observer else { return };
        let mut post = Post::default();
        let observe = AssertUnwindSafe(|| observer(event, &mut post));
        if catch_unwind(observe).is_err() {
            error!("the program's observer panicked, and is told no more");
            self.observer = None;
        }
        for (worker, json) in post.letters {
            let Some(link) = self.links.get_mut(&worker) else { continue };
            if link.is_behind() {
                warn!("worker {worker} does not listen: a message is dropped");
            } else {
                link.say(&Message::User(&json), &self.epoll);
            }
        }
    }

    /// Signals to the master.
    pub(super) fn obey(&mut self) -> Result<(), Error> {
        while let Some(signal) = self.signals.read()? {
            let name = signal.name();
            match signal {
                Signal::Terminate | Signal::Interrupt if self.told_to_stop => {
                    info!("{name} again: stopping now");
                    // Else our end would wait for a new master that hangs.
                    self.lose_heir("stopping now");
                    self.note(Event::StopNow);
                }
                Signal::Terminate | Signal::Interrupt | Signal::Quit => {
                    info!("{name}: stopping");
                    self.stop()?;
                }
                Signal::HangUp => {
                    info!("{name}: reloading");
                    self.note(Event::Reload);
                }
                Signal::User2 => self.upgrade(),
                Signal::User1 | Signal::WindowChange => {
                    debug!("{name}: ignored");
                }
                Signal::Child => self.reap_strangers()?,
            }
        }
        Ok(())
    }

    /// Stops, and loses nothing that was accepted.
    pub(super) fn stop(&mut self) -> Result<(), Error> {
        self.stopping = true;
        self.told_to_stop = true;
        self.notifier.stopping();
        self.abandon_upgrade()?;
        self.renounce();
        for server in self.servers.values() {
            server.doors.stop_deferring();
        }
        self.note(Event::Stop);
        Ok(())
    }

    /// A worker takes connections from now on.
    fn admit(&mut self, worker: WorkerId) {
        let Some(link) = self.links.get(&worker) else { return };
        let Tongue::Ours { capacity, .. } = link.tongue else {
            return self.admit_node(worker);
        };
        let (slot, window) = (link.slot, self.window);
        if let Some(server) = self.servers.get_mut(&ServerId::OWN) {
            server.dispatcher.admit(worker, slot, window, capacity);
            self.appoint_nurse(worker);
        }
    }

    /// Carries out what the supervisor has decided.
    pub(super) fn act(&mut self) {
        while !self.actions.is_empty() {
            for action in std::mem::take(&mut self.actions) {
                self.carry_out(action);
            }
        }
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Spawn { worker, slot, generation } => {
                debug!("worker {worker}: generation {generation}");
                self.spawn(worker, slot);
            }
            Action::Admit { worker } => {
                self.admit(worker);
                self.notifier.ready();
            }
            Action::Withdraw { worker } => {
                for server in self.servers.values_mut() {
                    server.dispatcher.withdraw(worker);
                }
                self.ward.lost(worker);
                self.forget_member(worker);
            }
            Action::Disconnect { worker } => {
                self.let_leave(worker);
            }
            Action::Terminate { worker, why } => {
                if let Some(link) = self.links.get(&worker) {
                    warn!("worker {worker} is sent SIGTERM: {why}");
                    link.child.terminate();
                }
            }
            Action::Kill { worker, why } => {
                if let Some(link) = self.links.get_mut(&worker) {
                    warn!("worker {worker} is killed: {why}");
                    link.hung |= why == Reason::Hung;
                    link.child.kill();
                }
            }
            Action::StopAccepting => {
                self.closing = true;
                for server in self.servers.values_mut() {
                    server.doors.begin_closing();
                }
            }
            Action::Report(report) => {
                tell_operator(&report);
                self.notifier.report(&report);
                self.tell_waiting(&report);
            }
            Action::Exit(outcome) => self.outcome = Some(outcome),
        }
    }
}

impl Master {
    /// The last word to a worker: it is to finish, and to go. If others
    /// serve on, here or at the master that follows, it gives them what it
    /// has.
    pub(super) fn let_leave(&mut self, worker: WorkerId) {
        debug!("worker {worker} is asked to leave");
        let Some(link) = self.links.get_mut(&worker) else { return };
        link.leaving = true;
        let (ours, guarded) = match &link.tongue {
            Tongue::Ours { scoreboard, .. } => (true, scoreboard.is_guarded()),
            Tongue::Node(_) => (false, false),
        };
        let give = guarded && (!self.stopping || self.heir.is_some());
        let idle = (self.told_to_stop && ours)
            .then_some(IDLE_AT_STOP.as_millis() as u64);
        self.say(worker, Act::Disconnect { idle, give });
    }
}

fn tell_operator(report: &Report) {
    match report {
        Report::Degraded { .. } | Report::ReloadAbandoned { .. } => {
            warn!("{report}");
        }
        Report::Recovered
        | Report::ReloadBegan { .. }
        | Report::ReloadFinished { .. } => info!("{report}"),
    }
}
