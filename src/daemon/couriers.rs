//! The delivery threads, one a notifier: started, replaced at a reload, and ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tracing::{error, warn};

use super::delivery::{self, Bell, Delivery, Notifiers};
use crate::clock::Clock;
use crate::config::Config;
use crate::state::{Error, Outbox};

/// The bell of the couriers that are in office.
pub type CurrentBell = Arc<Mutex<Arc<Bell>>>;

/// The delivery threads.
#[derive(Debug)]
pub(super) struct Couriers {
    pub(super) bell: CurrentBell,
    threads: BTreeMap<String, JoinHandle<()>>,
    runtime: Handle,
}

impl Couriers {
    /// Nobody yet.
    pub(super) fn new(runtime: Handle) -> Couriers {
        Couriers { bell: CurrentBell::default(), threads: BTreeMap::new(), runtime }
    }

    /// Puts couriers for these notifiers into office. Whoever was there makes no new attempt, and hands over when the one
    /// in flight has ended: no notice is in two hands, and a slow receiver holds back nobody else.
    ///
    /// # Errors
    ///
    /// If the outbox cannot be opened; then all stays as it was.
    pub(super) fn replace(
        &mut self,
        config: &Config,
        notifiers: &Notifiers,
        clock: &Arc<dyn Clock>,
        outbox: impl Fn() -> Result<Outbox, Error>,
    ) -> Result<(), Error> {
        let bell = Arc::new(Bell::default());
        let others = delivery::receivers(notifiers);
        let mut deliveries = Vec::new();
        for (name, notifier) in notifiers {
            deliveries.push(Delivery {
                name: name.clone(),
                notifier: Arc::clone(notifier),
                outbox: outbox()?,
                others: others.clone(),
                rendering: super::rendering(config),
                give_up_after: config.notices.give_up_after,
                clock: Arc::clone(clock),
                bell: Arc::clone(&bell),
                runtime: self.runtime.clone(),
                unnoted: None,
            });
        }
        let former = std::mem::replace(&mut *self.bell.lock().unwrap_or_else(PoisonError::into_inner), bell);
        former.stop();
        // Couriers of notifiers that have left end by themselves.
        let mut predecessors = std::mem::take(&mut self.threads);
        for delivery in deliveries {
            let name = delivery.name.clone();
            let predecessor = predecessors.remove(&name);
            let begin = move || {
                predecessor.into_iter().for_each(super::join);
                delivery.run();
            };
            match std::thread::Builder::new().name(format!("notifier {name}")).spawn(begin) {
                Ok(thread) => drop(self.threads.insert(name, thread)),
                Err(problem) => error!(notifier = name, %problem, "nobody delivers: the system gives no thread"),
            }
        }
        Ok(())
    }

    /// Whether one has ended, which none should.
    pub(super) fn any_died(&self) -> bool {
        self.threads.values().any(JoinHandle::is_finished)
    }

    /// Lets the attempts in flight end, until `deadline`.
    pub(super) fn stop(self, deadline: Instant) {
        self.bell.lock().unwrap_or_else(PoisonError::into_inner).stop();
        for (name, thread) in self.threads {
            while !thread.is_finished() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
            if thread.is_finished() {
                super::join(thread);
            } else {
                warn!(notifier = name, "a notice is still in flight; it may be sent again, with the same id");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::config::{Defaults, parse};
    use crate::notification::Message;
    use crate::notifier::{Notifier, Sending};
    use crate::state::State;

    struct Nobody;

    impl Notifier for Nobody {
        fn recipients(&self) -> Vec<String> {
            vec!["nobody".to_owned()]
        }

        fn send<'a>(&'a self, _: &'a Message) -> Sending<'a> {
            Box::pin(async { Ok(String::new()) })
        }
    }

    #[test]
    fn a_notifier_that_leaves_is_no_courier_that_died() {
        let text = include_str!("../../config/examples/eta-regression.toml");
        let (config, _) = parse("eta", text, &Defaults::default()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let state = State::open(directory.path(), clock.now()).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let mut couriers = Couriers::new(runtime.handle().clone());
        let named = |names: &[&str]| -> Notifiers {
            names.iter().map(|name| ((*name).to_owned(), Arc::new(Nobody) as Arc<dyn Notifier>)).collect()
        };
        couriers.replace(&config, &named(&["stays", "leaves"]), &clock, || state.outbox()).unwrap();
        assert_eq!(couriers.threads.len(), 2);
        couriers.replace(&config, &named(&["stays"]), &clock, || state.outbox()).unwrap();
        assert_eq!(couriers.threads.keys().collect::<Vec<_>>(), ["stays"]);
        assert!(!couriers.any_died());
        couriers.stop(Instant::now() + Duration::from_secs(10));
    }
}
