//! Decisions, one test each, in the order in which a master meets them; then
//! a walk through millions of lives.

mod lives;
mod reload;
mod stop;
mod storm;
mod walk;

use std::time::Duration;

use super::*;

/// A supervisor on a harness: time stands still until a test moves it.
struct Harness {
    supervisor: Supervisor,
    now: Duration,
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn policy(workers: usize) -> Policy {
    Policy { workers, ..Policy::default() }
}

impl Harness {
    /// Before the first worker.
    fn new(policy: Policy) -> Harness {
        let now = ms(7_000_000);
        Harness { supervisor: Supervisor::new(policy, now), now }
    }

    /// All workers, 1 to N, are in rotation and have just lived.
    fn serving(policy: Policy) -> Harness {
        let workers = u32::try_from(policy.workers).unwrap();
        let mut harness = Harness::new(policy);
        harness.pass(0);
        for worker in 1..=workers {
            harness.ready(worker);
        }
        harness.pass(1000);
        harness
    }

    fn tell(&mut self, event: Event) -> Vec<String> {
        let mut out = Vec::new();
        self.supervisor.handle(self.now, event, &mut out);
        out.iter().map(words).collect()
    }

    /// Lets time pass and ticks at every deadline on the way.
    fn pass(&mut self, millis: u64) -> Vec<String> {
        let mut out = Vec::new();
        let end = self.now + ms(millis);
        while let Some(at) = self.supervisor.deadline()
            && at <= end
        {
            self.now = self.now.max(at);
            self.supervisor.tick(self.now, &mut out);
            assert!(self.supervisor.deadline().is_none_or(|at| at > self.now));
        }
        self.now = end;
        out.iter().map(words).collect()
    }

    fn ready(&mut self, worker: u32) -> Vec<String> {
        self.tell(Event::Ready { worker: WorkerId(worker) })
    }

    fn spawn_fails(&mut self, worker: u32) -> Vec<String> {
        let why = "prog: no such file".to_owned();
        self.tell(Event::SpawnFailed { worker: WorkerId(worker), why })
    }

    /// It exits with this status, unproven.
    fn exits(&mut self, worker: u32, code: i32) -> Vec<String> {
        let worker = WorkerId(worker);
        let how = Exit::Code(code);
        self.tell(Event::Exited { worker, how, proven: false })
    }

    /// A signal ends it, unproven.
    fn dies(&mut self, worker: u32, signal: i32) -> Vec<String> {
        let worker = WorkerId(worker);
        let how = Exit::Signal(signal);
        self.tell(Event::Exited { worker, how, proven: false })
    }

    /// It announces its leave after having worked.
    fn leaves(&mut self, worker: u32) -> Vec<String> {
        let worker = WorkerId(worker);
        self.tell(Event::Leaving { worker, proven: true })
    }

    /// Its channel ends, before it has worked.
    fn hangs_up(&mut self, worker: u32) -> Vec<String> {
        let worker = WorkerId(worker);
        self.tell(Event::ChannelEnded { worker, proven: false })
    }

    fn hung(&mut self, worker: u32) -> Vec<String> {
        self.tell(Event::Hung { worker: WorkerId(worker) })
    }

    fn recycle(&mut self, worker: u32) -> Vec<String> {
        self.tell(Event::Recycle { worker: WorkerId(worker) })
    }

    /// When the next tick is due, from now.
    fn due(&self) -> Option<u64> {
        self.supervisor
            .deadline()
            .map(|at| u64::try_from((at - self.now).as_millis()).unwrap())
    }

    fn states(&self) -> Vec<String> {
        let line = |line: Status| match line.worker {
            Some(worker) => format!("{worker} {}", line.state),
            None => line.state.to_string(),
        };
        self.supervisor.status().into_iter().map(line).collect()
    }
}

fn words(action: &Action) -> String {
    match action {
        Action::Spawn { worker, slot, generation } => {
            format!("spawn {worker} in {slot} of {generation}")
        }
        Action::Admit { worker } => format!("admit {worker}"),
        Action::Withdraw { worker } => format!("withdraw {worker}"),
        Action::Disconnect { worker, .. } => format!("disconnect {worker}"),
        Action::Terminate { worker, why } => {
            format!("terminate {worker}: {why}")
        }
        Action::Kill { worker, why } => format!("kill {worker}: {why}"),
        Action::StopAccepting => "stop accepting".to_owned(),
        Action::Report(report) => report.to_string(),
        Action::Exit(outcome) => format!("exit: {outcome}"),
    }
}

const NOTHING: [&str; 0] = [];
