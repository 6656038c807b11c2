//! What a program learns of the calls it makes: what each took, spans, and metrics.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use faasm_tests::{call, load, run, runtime};
use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, SharedString, Unit,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};

const BUSY: &str = "
import faasm, time
def busy(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
def other(data): return data
def faasm_main():
    busy(0.1)
def sleeps():
    time.sleep(0.3)
def state():
    faasm.state.write('k', bytes(1000))
    faasm.state.read_at('k', 0, 300)
    faasm.chain(other, 'x').output()
    faasm.chain(other, 'y').output()
    print('12345')
    return b'1234567'
def fails():
    faasm.state.append('log', b'12')
    1 / 0
";

#[test]
fn usage_says_what_a_call_took() {
    let function = load(&runtime(), BUSY);
    let computed = call(&function, b"").usage;
    assert!(computed.cpu_time > Duration::from_millis(50), "{computed:?}");
    assert!(computed.cpu_time <= computed.wall_time, "{computed:?}");
    let slept = function.call("").entry("sleeps").wait().unwrap().usage;
    assert!(slept.wall_time >= Duration::from_millis(300), "{slept:?}");
    assert!(slept.cpu_time < Duration::from_millis(200), "{slept:?}");

    let usage = function.call("").entry("state").wait().unwrap().usage;
    let counted = (usage.state_read, usage.state_written, usage.output, usage.chained_calls);
    assert_eq!(counted, (300, 1000, 13, 2));
    let usage = function.call("").entry("fails").wait().unwrap_err().usage;
    let counted = (usage.state_read, usage.state_written, usage.output, usage.chained_calls);
    assert_eq!(counted, (0, 2, 0, 0));

    // Of short calls, too: most of a second of them is the functions' own.
    let noop = load(&runtime(), "def faasm_main(): sum(range(10_000))\n");
    let usages: Vec<_> = (0..200).map(|_| call(&noop, b"").usage).collect();
    let total = |part: fn(&py_func::Usage) -> Duration| usages.iter().map(part).sum::<Duration>();
    let (cpu, wall) = (total(|it| it.cpu_time), total(|it| it.wall_time));
    assert!(cpu > wall / 10 && cpu <= wall, "{cpu:?} of {wall:?}");
}

#[test]
fn spans_are_nested_as_calls_are() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let subscriber = Recorded { spans: Mutex::default(), log: Arc::clone(&log), next: AtomicU64::new(1) };
    // For all threads, since chained calls run on others; so this is the only test that installs one.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let function = runtime().function("spanned", "f").source(BUSY).load().unwrap();
    function.call("").entry("state").wait().unwrap();
    let log = log.lock().unwrap();
    let of_this: Vec<&String> = log.iter().filter(|line| line.contains("spanned")).collect();
    for expected in [
        "load user=spanned function=f",
        "call user=spanned function=f entry=state call=_",
        "call user=spanned function=f entry=state call=_ > state operation=18 key=k",
        "call user=spanned function=f entry=state call=_ > chain function= entry=other call=_",
        "call user=spanned function=f entry=state call=_ > chain function= entry=other call=_ > call user=spanned function=f \
         entry=other call=_",
        "call user=spanned function=f entry=state call=_ > reset",
    ] {
        let found = of_this.iter().any(|line| {
            // Numbers of calls are whatever they are.
            let words: Vec<_> =
                line.split(' ').map(|word| if word.starts_with("call=") { "call=_" } else { word }).collect();
            words.join(" ") == expected
        });
        assert!(found, "{expected}\n{of_this:#?}");
    }
    assert!(of_this.iter().any(|line| line.contains("the call ended outcome=returned")), "{of_this:#?}");
}

#[test]
fn metrics_count_what_happens() {
    let recorder = Metrics::default();
    metrics::with_local_recorder(&recorder, || {
        py_func::metrics::describe();
        let runtime = runtime();
        let function = load(&runtime, BUSY);
        for entry in ["state", "sleeps", "fails", "nothing"] {
            let _ = function.call("").entry(entry).wait();
        }
        assert_eq!(run(&runtime, "def faasm_main(): return 'x'"), "x");
    });
    let counted = recorder.0.lock().unwrap();
    // Chained calls run on other threads, where this recorder is none.
    for (name, expected) in [
        ("faasm_calls_total outcome=returned", 3),
        ("faasm_calls_total outcome=exception", 1),
        ("faasm_calls_total outcome=entry", 1),
        ("faasm_call_seconds", 5),
        ("faasm_call_cpu_seconds", 5),
        ("faasm_resets_total result=in_place", 5),
        ("faasm_call_own_memory_bytes", 5),
        ("faasm_loads_total outcome=returned", 2),
        ("faasm_load_seconds", 2),
        ("faasm_chained_calls_total", 2),
        ("faasm_state_operations_total outcome=answered", 3),
        ("faasm_state_read_bytes_total", 300),
        ("faasm_state_written_bytes_total", 1002),
    ] {
        let value = counted.get(name).map(|it| it.load(Ordering::Relaxed));
        assert_eq!(value, Some(expected), "{name}: {counted:?}");
    }
    // All that there is was described, but for labels.
    let described = recorder.1.lock().unwrap();
    for name in counted.keys() {
        let name = name.split(' ').next().unwrap_or_default();
        assert!(described.iter().any(|it| it == name), "{name}: {described:?}");
    }
}

/// The sums of counters, and how often histograms were written to; and what was described.
#[derive(Default)]
struct Metrics(Mutex<BTreeMap<String, Arc<AtomicU64>>>, Mutex<Vec<String>>);

struct Count(Arc<AtomicU64>);

impl CounterFn for Count {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Ordering::Relaxed);
    }

    fn absolute(&self, _: u64) {
        panic!("no counter is set");
    }
}

impl HistogramFn for Count {
    fn record(&self, value: f64) {
        assert!(value.is_finite() && value >= 0.0);
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Metrics {
    fn count(&self, key: &Key) -> Arc<Count> {
        let mut name = key.name().to_owned();
        for label in key.labels() {
            write!(name, " {}={}", label.key(), label.value()).unwrap();
        }
        Arc::new(Count(Arc::clone(self.0.lock().unwrap().entry(name).or_default())))
    }

    fn describe(&self, name: &KeyName) {
        self.1.lock().unwrap().push(name.as_str().to_owned());
    }
}

impl metrics::Recorder for Metrics {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }

    fn describe_gauge(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }

    fn describe_histogram(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        self.describe(&name);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.count(key))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.count(key))
    }
}

/// Writes down each span and event with the spans around it.
struct Recorded {
    /// Their lines, by number; and the spans that threads are in.
    spans: Mutex<BTreeMap<u64, String>>,
    log: Arc<Mutex<Vec<String>>>,
    next: AtomicU64,
}

thread_local! {
    static ENTERED: std::cell::RefCell<Vec<u64>> = const { std::cell::RefCell::new(Vec::new()) };
}

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        match field.name() {
            "message" => write!(self.0, " {value:?}").unwrap(),
            name => write!(self.0, " {name}={value:?}").unwrap(),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        write!(self.0, " {}={value}", field.name()).unwrap();
    }
}

impl Recorded {
    fn line(&self, name: &str, fields: &dyn Fn(&mut Fields)) -> String {
        let around = ENTERED.with_borrow(|entered| entered.last().copied());
        let around = around.and_then(|id| self.spans.lock().unwrap().get(&id).cloned());
        let mut line = Fields(around.map(|it| it + " > ").unwrap_or_default() + name);
        fields(&mut line);
        self.log.lock().unwrap().push(line.0.clone());
        line.0
    }
}

impl Subscriber for Recorded {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "py_func"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let line = self.line(span.metadata().name(), &|fields| span.record(fields));
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.spans.lock().unwrap().insert(id, line);
        Id::from_u64(id)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.line("", &|fields| event.record(fields));
    }

    fn enter(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(span.into_u64()));
    }

    fn exit(&self, _: &Id) {
        let _ = ENTERED.with_borrow_mut(Vec::pop);
    }
}
