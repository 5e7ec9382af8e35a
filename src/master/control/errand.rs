//! What clients of the control socket want, and how it is done.

use std::collections::BTreeMap;

use log::info;

use crate::WorkerId;
use crate::control::{self, Format, Phase, Reply, Request, Status};
use crate::error::Error;
use crate::master::dispatcher::Counts;
use crate::master::link::Link;
use crate::master::supervisor::{self, Abandon, Event, Report, State};
use crate::master::{Master, usage};
use crate::scoreboard::Requests;
use crate::slab::Key;

/// Clients that may wait for the end of a reload, so that there is always
/// room for one that only asks how things are.
const WAITING: usize = super::CLIENTS / 2;

impl Master {
    pub(super) fn comply(
        &mut self,
        key: Key,
        request: Request,
    ) -> Result<(), Error> {
        let stopping = self.supervisor.is_stopping();
        let reply = match request {
            Request::Status(Format::Json) => {
                Reply::Status(self.status().to_json())
            }
            Request::Status(Format::Table) => {
                Reply::Table(self.status().to_table())
            }
            Request::Stop if stopping => {
                Reply::Done("stopping already".to_owned())
            }
            Request::Stop => {
                info!("handoff stop: stopping");
                self.stop()?;
                Reply::Done("stopping".to_owned())
            }
            Request::Reload | Request::Scale(_) if stopping => {
                Reply::Error("the master is stopping".to_owned())
            }
            // It has been told a number already, and would not hear of it.
            Request::Scale(_) if self.is_being_followed() => {
                let why = "a new master is starting: ask it when it is ready";
                Reply::Error(why.to_owned())
            }
            Request::Scale(workers) => self.scale(workers),
            Request::Reload => {
                self.reload_for(key);
                return Ok(());
            }
        };
        self.answer(key, &reply);
        Ok(())
    }

    fn scale(&mut self, workers: usize) -> Reply {
        let before = self.supervisor.workers();
        let words = format!("workers: {workers} wanted, {before} before");
        info!("handoff scale: {words}");
        self.scaled = Some(workers);
        self.make_room_for(workers);
        self.note(Event::Resize(workers));
        Reply::Done(words)
    }

    fn reload_for(&mut self, key: Key) {
        if self.control.waiting(u32::MAX).len() >= WAITING {
            let why = format!("{WAITING} others wait for a reload already");
            return self.answer(key, &Reply::Error(why));
        }
        info!("handoff reload: reloading");
        self.have_wait(key, self.supervisor.generation() + 1);
        self.note(Event::Reload);
    }

    /// Tells those who wait for a reload how it ended.
    pub(in crate::master) fn tell_waiting(&mut self, report: &Report) {
        let (generation, reply) = match report {
            Report::ReloadFinished { generation } => {
                (*generation, Reply::Done(report.to_string()))
            }
            // Nor will the one come that was to follow it.
            Report::ReloadAbandoned { why: Abandon::Stopping, .. } => {
                (u32::MAX, Reply::Error(report.to_string()))
            }
            Report::ReloadAbandoned { generation, .. } => {
                (*generation, Reply::Error(report.to_string()))
            }
            Report::ReloadBegan { .. }
            | Report::Degraded { .. }
            | Report::Recovered => return,
        };
        self.control.last_reload = Some(report.to_string());
        for key in self.control.waiting(generation) {
            self.answer(key, &reply);
        }
    }

    fn status(&self) -> Status {
        let counts = self.counts();
        // What is empty at a stop waits for nothing.
        let stopping = self.supervisor.is_stopping();
        let seated = self.supervisor.status().into_iter();
        let seated: Vec<supervisor::Status> =
            seated.filter(|one| one.worker.is_some() || !stopping).collect();
        let ready = seated.iter().filter(|one| one.state == State::Ready);
        let ready = ready.count();
        let workers: Vec<control::Worker> = seated
            .into_iter()
            .map(|seated| self.line(seated, &counts))
            .collect();
        let phase = if stopping {
            Phase::Stopping
        } else if self.supervisor.is_reloading() {
            Phase::Reloading
        } else {
            Phase::Serving
        };
        let handed = workers.iter().map(|one| one.handed_over);
        let links = self.links.values().filter_map(Link::requests);
        let requests = self.past.requests.into_iter().chain(links);
        let requests = requests.reduce(Requests::plus);
        let servers = self.servers.values();
        let listeners = servers.clone().flat_map(|s| s.doors.listeners());
        let listeners = listeners.map(ToString::to_string);
        let redispatched = servers.map(|s| s.dispatcher.redispatched()).sum();
        let master = control::Master {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION"),
            uptime: self.elapsed(),
            phase,
            generation: self.supervisor.generation(),
            last_reload: self.control.last_reload.clone(),
            listeners: listeners.collect(),
            policy: self.scheduler.name().to_owned(),
            wanted: self.supervisor.workers(),
            ready,
            handed_over: handed.fold(self.past.handed_over, u64::wrapping_add),
            redispatched,
            requests: requests.map(|requests| requests.answered),
            refused: requests.map(|requests| requests.refused),
            salvage: self.launcher.is_guarded().then_some(self.lending.tally),
        };
        Status { master, workers }
    }

    /// Every worker's counts, over all that it serves.
    fn counts(&self) -> BTreeMap<WorkerId, Counts> {
        let mut all: BTreeMap<WorkerId, Counts> = BTreeMap::new();
        for server in self.servers.values() {
            for one in server.dispatcher.counts() {
                let sum = all.entry(one.worker).or_default();
                sum.handed += one.handed;
                sum.pending += one.pending;
                sum.open += one.open;
                sum.skipped += one.skipped;
                sum.redispatched += one.redispatched;
            }
        }
        all
    }

    fn line(
        &self,
        seated: supervisor::Status,
        counts: &BTreeMap<WorkerId, Counts>,
    ) -> control::Worker {
        let worker = seated.worker.as_ref();
        let link = worker.and_then(|worker| self.links.get(worker));
        let counts = worker.and_then(|worker| counts.get(worker));
        let requests = link.and_then(Link::requests);
        control::Worker {
            worker: seated.worker,
            pid: link.map(|link| link.child.pid().cast_unsigned()),
            slot: seated.slot,
            state: seated.state.to_string(),
            age: link.map(|link| link.age(self.now)),
            generation: seated.generation,
            open: counts.map_or(0, |counts| counts.open),
            handed_over: counts.map_or(0, |counts| counts.handed),
            redispatched: counts.map_or(0, |counts| counts.redispatched),
            skipped: counts.map_or(0, |counts| counts.skipped),
            requests: requests.map(|requests| requests.answered),
            refused: requests.map(|requests| requests.refused),
            restarts: seated.restarts,
            usage: link.and_then(|link| usage::of(link.child.pid())),
        }
    }
}
