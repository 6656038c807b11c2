//! Who may compute. As many calls as there are threads do; the others wait, each user's in a queue of their own, and users take turns.
//! So who makes many calls waits for these, and others do not.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::metrics;

/// How many calls may be where.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) all: Share,
    /// Those of one user.
    pub(crate) user: Share,
}

#[derive(Clone, Copy)]
pub(crate) struct Share {
    /// How many may compute at the same time.
    pub(crate) computing: usize,
    /// How many may wait to begin, and how many, once they have begun, for something else.
    pub(crate) waiting: usize,
}

/// Too many calls wait already: as many as this limit, of the user that is named or of all.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Busy {
    pub(crate) limit: usize,
    pub(crate) user: Option<String>,
}

/// The right to compute, for as many calls at a time as the limits say.
pub(crate) struct Gate {
    limits: Limits,
    queues: Mutex<Queues>,
    users: Mutex<HashMap<String, Weak<User>>>,
}

#[derive(Default)]
struct Queues {
    count: Count,
    /// Users with calls that wait and that only others keep from computing, each of them once.
    turns: VecDeque<Arc<User>>,
}

#[derive(Default)]
struct Count {
    computing: usize,
    /// Those that have begun, and compute or wait for something.
    begun: usize,
    /// Those that wait to begin, and would have been turned away if there had been too many.
    waiting: usize,
}

/// A user, as the gate knows them.
pub(crate) struct User {
    pub(crate) name: String,
    /// Only locked by those who have locked the gate's queues.
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    count: Count,
    waiting: VecDeque<oneshot::Sender<Permit>>,
    has_turn: bool,
}

impl Gate {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, queues: Mutex::default(), users: Mutex::default() })
    }

    /// How many calls of all users there may be.
    #[cfg(feature = "server")]
    pub(crate) fn limit(&self) -> Share {
        self.limits.all
    }

    /// The user of that name.
    pub(crate) fn user(&self, name: &str) -> Arc<User> {
        let mut users = locked(&self.users);
        if let Some(user) = users.get(name).and_then(Weak::upgrade) {
            return user;
        }
        // Now and then, so that users who are gone do not pile up.
        if users.len().is_power_of_two() {
            users.retain(|_, user| user.strong_count() > 0);
        }
        let user = Arc::new(User { name: name.to_owned(), queue: Mutex::default() });
        users.insert(name.to_owned(), Arc::downgrade(&user));
        user
    }

    /// Waits for the right to compute, to begin a call. Fails if too many wait to begin, unless it is `admitted` anyway, or if too many
    /// have begun.
    pub(crate) async fn enter(self: &Arc<Self>, user: &Arc<User>, admitted: bool) -> Result<Place, Busy> {
        let turn = {
            let (mut all, mut own) = self.lock(user);
            if self.take(&mut all, &mut own) {
                return self.begin(user, &mut all, &mut own);
            }
            if !admitted {
                self.check(user, [&all.count, &own.count], |it| it.waiting, |share| share.waiting)?;
                all.count.waiting += 1;
                own.count.waiting += 1;
            }
            let permit = wait(&mut own);
            self.line_up(&mut all.turns, user, &mut own);
            Turn { gate: self, user, counts: !admitted, permit }
        };
        let started = Instant::now();
        turn.come().await;
        metrics::waited(started.elapsed());
        let (mut all, mut own) = self.lock(user);
        let place = self.begin(user, &mut all, &mut own);
        if place.is_err() {
            self.line_up(&mut all.turns, user, &mut own);
            drop(own);
            self.dispatch(&mut all);
        }
        place
    }

    /// Makes a place of the right to compute, or gives it back if there are too many places.
    fn begin(self: &Arc<Self>, user: &Arc<User>, all: &mut Queues, own: &mut Queue) -> Result<Place, Busy> {
        let most = |share: Share| share.waiting.saturating_add(share.computing);
        let place = self.check(user, [&all.count, &own.count], |it| it.begun, most);
        if place.is_err() {
            all.count.computing -= 1;
            own.count.computing -= 1;
        } else {
            all.count.begun += 1;
            own.count.begun += 1;
        }
        place.map(|()| Place { gate: Arc::clone(self), user: Arc::clone(user), computes: true })
    }

    /// Whether there is room for one more.
    fn check(
        &self,
        user: &User,
        [all, own]: [&Count; 2],
        count: impl Fn(&Count) -> usize,
        most: impl Fn(Share) -> usize,
    ) -> Result<(), Busy> {
        if count(all) >= most(self.limits.all) {
            Err(Busy { limit: self.limits.all.waiting, user: None })
        } else if count(own) >= most(self.limits.user) {
            Err(Busy { limit: self.limits.user.waiting, user: Some(user.name.clone()) })
        } else {
            Ok(())
        }
    }

    /// Takes the right to compute, if it can be had at once. While others wait for it that is not so.
    fn take(&self, all: &mut Queues, own: &mut Queue) -> bool {
        let free = all.count.computing < self.limits.all.computing
            && own.count.computing < self.limits.user.computing;
        if free {
            all.count.computing += 1;
            own.count.computing += 1;
        }
        free
    }

    /// Gives the right to compute back.
    fn release(self: &Arc<Self>, user: &Arc<User>) {
        let (mut all, mut own) = self.lock(user);
        all.count.computing -= 1;
        own.count.computing -= 1;
        self.line_up(&mut all.turns, user, &mut own);
        drop(own);
        self.dispatch(&mut all);
    }

    /// Has those compute whose turn it is, as many as may.
    fn dispatch(self: &Arc<Self>, all: &mut Queues) {
        while all.count.computing < self.limits.all.computing
            && let Some(user) = all.turns.pop_front()
        {
            let mut own = locked(&user.queue);
            own.has_turn = false;
            while let Some(waiting) = own.waiting.pop_front() {
                let permit = Permit(Some((Arc::clone(self), Arc::clone(&user))));
                match waiting.send(permit) {
                    Ok(()) => {
                        all.count.computing += 1;
                        own.count.computing += 1;
                        break;
                    }
                    // It does not wait any more. What was not counted is not to be given back.
                    Err(mut permit) => permit.0 = None,
                }
            }
            self.line_up(&mut all.turns, &user, &mut own);
        }
    }

    /// Gives a user a turn after those who have one, if only others keep their calls from computing.
    fn line_up(&self, turns: &mut VecDeque<Arc<User>>, user: &Arc<User>, own: &mut Queue) {
        let may = own.count.computing < self.limits.user.computing;
        if may && !own.waiting.is_empty() && !own.has_turn {
            own.has_turn = true;
            turns.push_back(Arc::clone(user));
        }
    }

    fn lock<'a>(&'a self, user: &'a User) -> (MutexGuard<'a, Queues>, MutexGuard<'a, Queue>) {
        let all = locked(&self.queues);
        let own = locked(&user.queue);
        (all, own)
    }
}

/// A place among the calls that have begun, and the right to compute, until it is dropped. Whoever waits gives the latter back meanwhile.
pub(crate) struct Place {
    gate: Arc<Gate>,
    user: Arc<User>,
    computes: bool,
}

impl Place {
    /// Gives the right to compute back. Answers whether it was there.
    pub(crate) fn pause(&mut self) -> bool {
        let computed = std::mem::take(&mut self.computes);
        if computed {
            self.gate.release(&self.user);
        }
        computed
    }

    /// Waits for the right to compute, however many wait.
    pub(crate) async fn resume(&mut self) {
        let turn = {
            let (mut all, mut own) = self.gate.lock(&self.user);
            if self.gate.take(&mut all, &mut own) {
                self.computes = true;
                return;
            }
            let permit = wait(&mut own);
            self.gate.line_up(&mut all.turns, &self.user, &mut own);
            Turn { gate: &self.gate, user: &self.user, counts: false, permit }
        };
        turn.come().await;
        self.computes = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (mut all, mut own) = self.gate.lock(&self.user);
        all.count.begun -= 1;
        own.count.begun -= 1;
        if self.computes {
            all.count.computing -= 1;
            own.count.computing -= 1;
            self.gate.line_up(&mut all.turns, &self.user, &mut own);
            drop(own);
            self.gate.dispatch(&mut all);
        }
    }
}

/// The right to compute, on its way to one who waits for it.
struct Permit(Option<(Arc<Gate>, Arc<User>)>);

impl Drop for Permit {
    fn drop(&mut self) {
        // It came when nobody waited any more.
        if let Some((gate, user)) = self.0.take() {
            gate.release(&user);
        }
    }
}

/// One who waits to compute.
struct Turn<'a> {
    gate: &'a Arc<Gate>,
    user: &'a Arc<User>,
    /// Whether it counts as one who waits to begin.
    counts: bool,
    permit: oneshot::Receiver<Permit>,
}

impl Turn<'_> {
    /// From then on the caller has the right to compute.
    async fn come(mut self) {
        // Nobody drops the other end without sending before this one is dropped.
        if let Ok(mut permit) = (&mut self.permit).await {
            permit.0 = None;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.permit.close();
        let (mut all, mut own) = self.gate.lock(self.user);
        if self.counts {
            all.count.waiting -= 1;
            own.count.waiting -= 1;
        }
        own.waiting.retain(|waiting| !waiting.is_closed());
    }
}

/// Enters the queue of a user.
fn wait(own: &mut Queue) -> oneshot::Receiver<Permit> {
    let (sender, receiver) = oneshot::channel();
    own.waiting.push_back(sender);
    receiver
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn gate(all: (usize, usize), user: (usize, usize)) -> Arc<Gate> {
        let share = |(computing, waiting)| Share { computing, waiting };
        Gate::new(Limits { all: share(all), user: share(user) })
    }

    const MANY: (usize, usize) = (usize::MAX, usize::MAX);

    fn poll<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    /// Enters without waiting.
    #[track_caller]
    fn enter(gate: &Arc<Gate>, user: &str) -> Result<Place, Busy> {
        poll(pin!(gate.enter(&gate.user(user), false))).expect("nobody is before it")
    }

    fn is_clean(gate: &Arc<Gate>) -> bool {
        let all = locked(&gate.queues);
        let count = (all.count.computing, all.count.begun, all.count.waiting, all.turns.len());
        count == (0, 0, 0, 0)
    }

    #[test]
    fn so_many_wait_and_no_more() {
        let gate = gate((1, 1), MANY);
        let first = enter(&gate, "a").unwrap();
        let (a, b) = (gate.user("a"), gate.user("b"));
        let mut second = Box::pin(gate.enter(&b, false));
        assert!(poll(second.as_mut()).is_none());
        assert_eq!(enter(&gate, "a").err(), Some(Busy { limit: 1, user: None }));
        // One that comes of another call waits in any case.
        let mut admitted = Box::pin(gate.enter(&a, true));
        assert!(poll(admitted.as_mut()).is_none());
        drop(first);
        drop(poll(second.as_mut()).unwrap().unwrap());
        drop(poll(admitted.as_mut()).unwrap().unwrap());
        assert!(is_clean(&gate));
    }

    #[test]
    fn of_a_user_so_many_compute_and_so_many_wait() {
        let gate = gate((3, 9), (1, 1));
        let first = enter(&gate, "a").unwrap();
        let a = gate.user("a");
        let mut second = Box::pin(gate.enter(&a, false));
        assert!(poll(second.as_mut()).is_none(), "although two might compute");
        assert_eq!(enter(&gate, "a").err(), Some(Busy { limit: 1, user: Some("a".to_owned()) }));
        let other = enter(&gate, "b").unwrap();
        drop(first);
        drop((poll(second.as_mut()).unwrap(), other));
        assert!(is_clean(&gate));
    }

    #[test]
    fn so_many_begin_and_wait_for_something() {
        let gate = gate((1, 2), (1, 1));
        let mut begun = Vec::new();
        for user in ["a", "a", "b"] {
            let mut place = enter(&gate, user).unwrap();
            assert!(place.pause());
            assert!(!place.pause());
            begun.push(place);
        }
        assert_eq!(enter(&gate, "b").err(), Some(Busy { limit: 2, user: None }));
        drop(begun.pop());
        assert_eq!(enter(&gate, "a").err(), Some(Busy { limit: 1, user: Some("a".to_owned()) }));
        drop(begun);
        assert!(is_clean(&gate));
    }

    #[test]
    fn users_take_turns() {
        let gate = gate((1, 100), MANY);
        let users: Vec<_> = ["a", "b", "c"].iter().map(|name| gate.user(name)).collect();
        let first = enter(&gate, "a").unwrap();
        // One of whom makes many calls, before the others make theirs.
        let mut waiting = Vec::new();
        for (user, calls) in users.iter().zip([5, 2, 1]) {
            for _ in 0..calls {
                let mut call = Box::pin(gate.enter(user, false));
                assert!(poll(call.as_mut()).is_none());
                waiting.push((user.name.as_str(), call));
            }
        }
        let mut order = String::new();
        let mut place = Some(first);
        while !waiting.is_empty() {
            drop(place.take());
            let ready = waiting.iter_mut().enumerate().find_map(|(index, (user, call))| {
                order += user;
                let entered = poll(call.as_mut());
                if entered.is_none() {
                    order.pop();
                }
                entered.map(|it| (index, it))
            });
            let (index, entered) = ready.expect("somebody's turn has come");
            drop(waiting.remove(index));
            place = entered.ok();
        }
        drop(place);
        assert_eq!(order, "abcabaaa");
        assert!(is_clean(&gate));
    }

    #[test]
    fn who_gives_up_is_passed_over() {
        let gate = gate((1, 10), MANY);
        let (a, b) = (gate.user("a"), gate.user("b"));
        let first = enter(&gate, "a").unwrap();
        let mut calls: Vec<_> =
            (0..4).map(|number| Box::pin(gate.enter([&a, &b][number % 2], false))).collect();
        for call in &mut calls {
            assert!(poll(call.as_mut()).is_none());
        }
        drop(calls.remove(0));
        drop(first);
        // The turn of this one has come, and it does not take it.
        drop(calls.remove(0));
        let second = poll(calls.remove(0).as_mut());
        assert!(second.is_some_and(|it| it.is_ok()), "the last of the first user is next");
        drop(poll(calls.remove(0).as_mut()).unwrap());
        assert!(is_clean(&gate));
    }

    #[test]
    fn who_goes_on_waits_for_its_turn() {
        let gate = gate((1, 10), MANY);
        let mut first = enter(&gate, "a").unwrap();
        first.pause();
        let second = enter(&gate, "b").unwrap();
        {
            let mut resumed = Box::pin(first.resume());
            assert!(poll(resumed.as_mut()).is_none());
            // It stops waiting, as at its deadline, and waits again.
        }
        let mut resumed = Box::pin(first.resume());
        assert!(poll(resumed.as_mut()).is_none());
        drop(second);
        assert!(poll(resumed.as_mut()).is_some());
        drop(resumed);
        assert!(first.computes);
        drop(first);
        assert!(is_clean(&gate));
    }
}
