//! Random walks: whatever Node workers say in whatever order, the primary and
//! its [model](super::model) give the same orders, and wake at the same time.

use proptest::prelude::*;

use super::model::{Did, Fate, Model, PORTS, Sent, Server, wishes};
use super::steps::{self, Deed, Step, data, steps};
use super::*;

/// The primary beside its model; every step is done by both.
struct Walk {
    primary: Primary,
    model: Model,
    workers: u32,
    /// Numbers queries, and connections.
    seq: u64,
}

type Orders = Vec<Order<'static>>;

impl Walk {
    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Start { slot } => {
                self.workers += 1;
                let worker = WorkerId(self.workers);
                self.primary.started(worker, slot, self.model.now);
                self.model.note(self.workers, Did::Start { slot });
            }
            Step::Pass(time) => self.model.now += MILLISECOND * time as u32,
            Step::Tick { slots, awaited } => self.tick(slots, awaited)?,
            Step::Sleep => {
                let due = self.model.deadline().unwrap_or_default();
                self.model.now = self.model.now.max(due);
            }
            Step::Of(n, deed) => {
                if let Some(id) = self.of_rank(n) {
                    self.step_of(id, deed)?;
                }
            }
            Step::Serve(n, wish) => {
                if let Some(id) = self.of_rank(n) {
                    self.step_of(id, Deed::Query { wish, trouble: None })?;
                    self.step_of(id, Deed::Listening { wish })?;
                }
            }
        }
        prop_assert_eq!(self.primary.deadline(), self.model.deadline());
        Ok(())
    }

    fn of_rank(&self, n: usize) -> Option<u32> {
        let living = self.model.living();
        living.get(n % living.len().max(1)).copied()
    }

    fn tick(
        &mut self,
        slots: usize,
        awaited: bool,
    ) -> Result<(), TestCaseError> {
        let Walk { primary, model, .. } = self;
        let now = model.now;
        let mut orders = Orders::new();
        primary.judge(now, &mut orders);
        primary.close_deserted(now, slots, || awaited, &mut orders);
        let mut expected = Orders::new();
        for id in model.late() {
            model.note(id, Did::Settle);
            if let Some((key, errno)) = model.refused(id) {
                let worker = WorkerId(id);
                expected.push(Order::Refuse { worker, key, errno });
            } else if model.is_of_use(id) {
                let (worker, missing) = (WorkerId(id), model.missing(id));
                expected.push(Order::Ready { worker, missing });
            }
        }
        for Server { id: server, wish, .. } in model.look(slots, awaited) {
            expected.push(Order::Close { server, key: wish.key });
        }
        prop_assert_eq!(orders, expected);
        // Else the loop would not sleep.
        prop_assert!(primary.deadline().is_none_or(|at| at > now));
        Ok(())
    }

    fn step_of(&mut self, id: u32, deed: Deed) -> Result<(), TestCaseError> {
        let worker = WorkerId(id);
        let mut orders = Orders::new();
        let mut expected = Orders::new();
        let mut trouble = None;
        let heard = match deed {
            Deed::BeSent(n) => {
                let Walk { primary, model, .. } = self;
                let Some(server) = model.servers.get(n) else {
                    return Ok(());
                };
                let server = server.id;
                self.seq += 1;
                let (seq, number) = (self.seq, self.seq + 1000);
                primary.sent(worker, server, number, seq);
                let (number, fate) = (Some(number), Fate::OnItsWay);
                let sent = Sent { worker: id, server, number, seq, fate };
                model.sent.push(sent);
                Ok(())
            }
            Deed::BeAdmitted => {
                self.primary.admitted(worker, self.model.now, &mut orders);
                self.model.note(id, Did::BeAdmitted);
                let slot = self.model.slot(id);
                for it in &self.model.servers {
                    if self.model.listens(id, &it.wish.key) {
                        let server = it.id;
                        expected.push(Order::Join { worker, slot, server });
                    }
                }
                Ok(())
            }
            Deed::BeWithdrawn => {
                self.primary.withdrawn(worker);
                self.model.note(id, Did::BeWithdrawn);
                Ok(())
            }
            Deed::BeCutOff => {
                self.primary.cut_off(worker);
                self.forget_sent(id);
                Ok(())
            }
            Deed::Die => {
                self.die(id);
                Ok(())
            }
            word => {
                self.seq += 1;
                if let Deed::Query { trouble: it, .. } = word {
                    trouble = it;
                }
                let oldest = self.model.oldest(id, |it| it != Fate::Over);
                let oldest = oldest.map_or(0, |sent| sent.seq);
                let message = steps::word(id, word, self.seq, oldest);
                let now = self.model.now;
                let fault =
                    self.primary.hear(worker, message, now, &mut orders);
                let expects = self.expect(id, word, &mut expected);
                prop_assert_eq!(fault, expects);
                fault
            }
        };
        let orders = self.carry_out(orders, trouble);
        prop_assert_eq!(orders, expected);
        if heard.is_err() {
            self.die(id);
        }
        Ok(())
    }

    /// What the model thinks of it.
    fn expect(
        &mut self,
        id: u32,
        deed: Deed,
        out: &mut Orders,
    ) -> Result<(), Fault> {
        let worker = WorkerId(id);
        let model = &mut self.model;
        match deed {
            Deed::Online => {
                model.note(id, Did::Online);
                out.push(Order::Online { worker });
            }
            Deed::Query { wish, trouble } => {
                self.expect_query(id, wish, trouble, out);
            }
            Deed::Listening { wish } => {
                let by = wishes().swap_remove(wish).listen;
                let mut servers = model.servers.iter();
                let it = servers.find(|it| model.is_called(it, &by));
                let Some(it) = it else { return Ok(()) };
                let (server, key) = (it.id, it.wish.key.clone());
                model.note(id, Did::Listen(key));
                if model.admitted(id).is_some() {
                    let slot = model.slot(id);
                    out.push(Order::Join { worker, slot, server });
                } else {
                    self.expect_ready(id, out);
                }
            }
            Deed::Close { wish } => {
                let key = wishes().swap_remove(wish).key;
                let mut servers = model.servers.iter();
                let it = servers.find(|it| it.wish.key == key);
                if let Some(server) = it.map(|it| it.id) {
                    model.note(id, Did::Close(server, key));
                    out.push(Order::Leave { worker, server });
                    if model.admitted(id).is_some() {
                        for heir in model.heirs(model.slot(id)) {
                            self.expect_ready(heir, out);
                        }
                    }
                }
            }
            Deed::SayReady => {
                model.note(id, Did::SayReady);
                self.expect_ready(id, out);
                out.push(Order::User { worker, json: "\"ready\"" });
            }
            Deed::Say => out.push(Order::User { worker, json: "[1]" }),
            Deed::Leave => {
                out.push(Order::Leaving { worker });
                out.push(reply(id, self.seq, Answer::Done));
            }
            Deed::SendHandle => {
                let message = Message::HandleAck;
                out.push(Order::Say { worker, message });
            }
            Deed::Ack => {
                let sent = model.oldest(id, |it| it == Fate::OnItsWay);
                let sent = sent.ok_or(Fault::AcknowledgesNothing)?;
                sent.fate = match sent.number {
                    Some(_) => Fate::Arrived,
                    None => Fate::Over,
                };
            }
            Deed::Nack => {
                let sent = model.oldest(id, |it| it != Fate::Over);
                let sent = sent.ok_or(Fault::MissesNothing)?;
                if sent.fate == Fate::Arrived {
                    return Err(Fault::MissesWhatItHas);
                }
                sent.fate = Fate::Over;
                let Sent { server, number, seq, .. } = *sent;
                let answered = false;
                if number.is_some() {
                    out.push(Order::Refused { worker, server, answered });
                } else {
                    out.extend(self.deny(id, server, seq, 24));
                }
            }
            Deed::Answer { off, accepted } => {
                let sent = model.oldest(id, |it| it != Fate::Over);
                let sent = sent.ok_or(Fault::AnswersNothing)?;
                let Sent { server, number, fate, .. } = *sent;
                let (Some(number), Fate::Arrived) = (number, fate) else {
                    return Err(Fault::AnswersNothing);
                };
                if off != 0 {
                    return Err(Fault::AnswersOutOfOrder);
                }
                sent.fate = Fate::Over;
                let answered = true;
                out.push(match accepted {
                    true => Order::Taken { worker, server, number },
                    false => Order::Refused { worker, server, answered },
                });
            }
            Deed::BeSent(_)
            | Deed::BeAdmitted
            | Deed::BeWithdrawn
            | Deed::BeCutOff
            | Deed::Die => unreachable!("no word of its own"),
        }
        Ok(())
    }

    fn expect_query(
        &mut self,
        id: u32,
        wish: usize,
        trouble: Option<i32>,
        out: &mut Orders,
    ) {
        let model = &mut self.model;
        let (worker, ack) = (WorkerId(id), self.seq);
        let wish = wishes().swap_remove(wish);
        let known = model.servers.iter().position(|it| {
            let free = !model.has(id, it.id);
            let another = free && model.is_called(it, &wish.listen);
            it.wish.key == wish.key || another
        });
        let index = known.unwrap_or(model.servers.len());
        if known.is_none() {
            let server = ServerId(model.opened + 1);
            let key = wish.key.clone();
            let data = Some(data(id));
            let listen = Listen { data, ..wish.listen.clone() };
            out.push(Order::Open(Query { worker, ack, server, key, listen }));
            if let Some(errno) = trouble {
                let key = wish.key;
                model.note(id, Did::Lack(key.clone(), errno));
                out.push(reply(id, ack, Answer::Denied { key, errno }));
                return;
            }
            model.opened += 1;
            let Opened { bound, shared } = open_on_few(&wish.listen, server);
            let it = Server { id: server, wish, data, bound, shared };
            model.servers.push(it);
        }
        let it = &model.servers[index];
        let (server, shared) = (it.id, it.shared);
        let answer = Answer::Granted {
            key: it.wish.key.clone(),
            data: it.data.map(str::to_owned),
            sockname: it.bound.filter(|_| !shared),
        };
        model.note(id, Did::Get(server));
        if !shared {
            return out.push(reply(id, ack, answer));
        }
        let reply = Reply { ack, answer };
        out.push(Order::Share(Share { worker, server, reply }));
        if let (Some(_), Some(errno)) = (known, trouble) {
            return out.extend(self.deny(id, server, ack, errno));
        }
        let (number, seq, fate) = (None, ack, Fate::OnItsWay);
        model.sent.push(Sent { worker: id, server, number, seq, fate });
    }

    fn expect_ready(&mut self, id: u32, out: &mut Orders) {
        if !self.model.is_settled(id) && self.model.is_ready(id) {
            self.model.note(id, Did::Settle);
            let missing = Vec::new();
            out.push(Order::Ready { worker: WorkerId(id), missing });
        }
    }

    /// The socket did not get there.
    fn deny(
        &mut self,
        id: u32,
        server: ServerId,
        ack: u64,
        errno: i32,
    ) -> Option<Order<'static>> {
        let mut servers = self.model.servers.iter();
        let key = servers.find(|it| it.id == server)?.wish.key.clone();
        self.model.note(id, Did::Miss(server));
        Some(reply(id, ack, Answer::Denied { key, errno }))
    }

    /// What the shell does. Returns all orders, also those that come of it.
    fn carry_out(
        &mut self,
        orders: Orders,
        mut trouble: Option<i32>,
    ) -> Orders {
        let mut all = Orders::new();
        for order in orders {
            let mut more = Orders::new();
            if let Order::Open(query) = &order {
                let opened = open_on_few(&query.listen, query.server);
                let opened = trouble.take().map_or(Ok(opened), Err);
                let (query, now) = (query.clone(), self.model.now);
                self.primary.opened(query, opened, now, &mut more);
            }
            if let Order::Share(share) = &order {
                let shared = trouble.take().map_or(Ok(()), Err);
                self.primary.shared(share, shared, &mut more);
            }
            all.push(order);
            all.extend(self.carry_out(more, trouble));
        }
        all
    }

    fn die(&mut self, id: u32) {
        self.primary.lost(WorkerId(id));
        self.model.note(id, Did::Die);
        self.forget_sent(id);
    }

    fn forget_sent(&mut self, id: u32) {
        let sent = self.model.sent.iter_mut();
        let of_it = sent.filter(|sent| sent.worker == id);
        of_it.for_each(|sent| sent.fate = Fate::Over);
    }

    /// Everybody goes, and nobody is to come.
    fn end(&mut self) -> Result<(), TestCaseError> {
        for id in self.model.living() {
            self.step_of(id, Deed::Die)?;
        }
        self.tick(0, false)?;
        self.model.now += self.model.boot.max(Duration::from_secs(1));
        self.tick(0, false)?;
        prop_assert_eq!(self.primary.deadline(), None);
        prop_assert!(!self.primary.servers.is_any_empty());
        prop_assert_eq!(self.model.servers.len(), 0);
        Ok(())
    }
}

/// Whatever is asked for, on one of a few real ports.
fn open_on_few(listen: &Listen<'_>, server: ServerId) -> Opened {
    open(listen, ServerId(1 + server.0 % PORTS.len() as u32))
}

fn reply(id: u32, ack: u64, answer: Answer) -> Order<'static> {
    let reply = Reply { ack, answer };
    Order::Reply { worker: WorkerId(id), reply }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn primary_and_model_agree_about_every_word(
        wait_ready in prop::bool::weighted(0.3),
        boot in 500..5000_u64,
        steps in steps(),
    ) {
        let boot = Duration::from_millis(boot);
        let mut walk = Walk {
            primary: Primary::new(wait_ready, boot),
            model: Model::new(wait_ready, boot),
            workers: 0,
            seq: 0,
        };
        for step in steps {
            walk.step(step)?;
        }
        walk.end()?;
    }
}
