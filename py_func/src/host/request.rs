//! `faasm_request`: what a guest asks of its host.

use faasm_image::host::{Caller, Result, format_err};
use sha2::Digest as _;
use tracing::Instrument as _;

use super::{CallContext, Host, OutputTooLarge, abi, chain, memory, range};
use crate::executor::Executor;
use crate::metrics;
use crate::state::{self, Lock, State};

/// What a request leaves: a number, bytes, or both.
pub(super) enum Answer {
    Nothing,
    Number(u64),
    Bytes(Vec<u8>),
    Both(u64, Vec<u8>),
}

/// Why a request was refused, for the guest.
pub(super) struct Refused {
    kind: u32,
    text: String,
}

impl Refused {
    pub(super) fn key(text: String) -> Self {
        Self { kind: abi::FAASM_ERROR_KEY, text }
    }

    pub(super) fn value(text: String) -> Self {
        Self { kind: abi::FAASM_ERROR_VALUE, text }
    }

    pub(super) fn runtime(text: String) -> Self {
        Self { kind: abi::FAASM_ERROR_RUNTIME, text }
    }
}

impl From<state::Error> for Refused {
    fn from(error: state::Error) -> Self {
        use state::Error as E;
        let kind = match &error {
            E::NoValue { .. } => abi::FAASM_ERROR_KEY,
            E::User { .. }
            | E::Key { .. }
            | E::SizeFixed { .. }
            | E::OutOfRange { .. }
            | E::TooLarge { .. } => abi::FAASM_ERROR_VALUE,
            E::Quota { .. } | E::LocalFull { .. } | E::Changed { .. } => abi::FAASM_ERROR_RUNTIME,
            _ => abi::FAASM_ERROR_SYSTEM,
        };
        Self { kind, text: error.to_string() }
    }
}

/// The most locks that a call may have. Each keeps a value in memory.
const MOST_LOCKS: usize = 1000;

/// The parameters as the guest gives them: operation, name and data with their lengths, and two numbers.
type Arguments = (u32, u32, u32, u32, u32, u64, u64);

pub(super) async fn request(mut caller: Caller<'_, Host>, arguments: Arguments) -> Result<i64> {
    let (operation, name, name_length, data, data_length, first, second) = arguments;
    let (memory, host) = memory(&mut caller)?;
    let name = memory[range(memory.len(), name, name_length)?].to_vec();
    let data = memory[range(memory.len(), data, data_length)?].to_vec();
    let answer = match String::from_utf8(name) {
        Ok(name) => answer(host, operation, &name, data, first, second).await?,
        Err(_) => Err(Refused::value("a name is not UTF-8".to_owned())),
    };
    let (number, bytes) = match answer {
        Ok(Answer::Nothing) => (0, Vec::new()),
        Ok(Answer::Number(number)) => (i64::try_from(number)?, Vec::new()),
        Ok(Answer::Bytes(bytes)) => (0, bytes),
        Ok(Answer::Both(number, bytes)) => (i64::try_from(number)?, bytes),
        Err(Refused { kind, text }) => (-i64::from(kind), text.into_bytes()),
    };
    let host = caller.data_mut();
    // The one before goes first, so that there are never two.
    let before = std::mem::take(&mut host.answer).len();
    if let Some(account) = host.account.as_ref().filter(|it| !it.resize(before, bytes.len())) {
        // This is too short to count.
        account.resize(before, 0);
        host.answer = b"there is no room for the answer".to_vec();
        return Ok(-i64::from(abi::FAASM_ERROR_RUNTIME));
    }
    host.answer = bytes;
    Ok(number)
}

async fn answer(
    host: &mut Host,
    operation: u32,
    name: &str,
    data: Vec<u8>,
    first: u64,
    second: u64,
) -> Result<Result<Answer, Refused>> {
    match operation {
        abi::FAASM_DIGEST => return Ok(digest(name, &data)),
        abi::FAASM_OUTPUT => return Ok(Ok(Answer::Bytes(host.output.clone()))),
        abi::FAASM_AWAIT => return chain::wait(host, first).await,
        abi::FAASM_AWAIT_ANY => return chain::wait_for_any(host, &data, first).await,
        _ => (),
    }
    let account = host.account.as_deref();
    let Some(context) = host.context.as_mut() else {
        return Ok(Err(Refused::runtime("this is no call of a function: there is nobody to ask".to_owned())));
    };
    Ok(match operation {
        abi::FAASM_INFO => info(context, first),
        abi::FAASM_CONFIG => match context.runtime.config.get(name) {
            Some(value) => Ok(Answer::Bytes(value.clone().into_bytes())),
            None => Err(Refused::key(format!("there is no configuration flag {name}"))),
        },
        abi::FAASM_LOG => {
            // The log has the limit that each of the outputs has.
            context.logged += data.len();
            if context.logged > host.output_limit {
                return Err(OutputTooLarge.into());
            }
            log(context, first, &String::from_utf8_lossy(&data));
            Ok(Answer::Nothing)
        }
        abi::FAASM_CHAIN => chain::chain(context, account, name, data),
        abi::FAASM_STATE_LOCK => {
            let kind = lock_kind(first);
            // Nobody else could ever give it back.
            if context
                .locks
                .iter()
                .any(|(key, held, _)| key == name && (kind, *held) != (Lock::Shared, Lock::Shared))
            {
                return Ok(Err(Refused::runtime(format!("this call has a lock on {name:?} already"))));
            }
            if context.locks.len() >= MOST_LOCKS {
                return Ok(Err(Refused::runtime(format!(
                    "a call may have {MOST_LOCKS} locks, and this one has"
                ))));
            }
            let (state, user, key) = (context.runtime.state.clone(), context.user.clone(), name.to_owned());
            let locked = host.wait("a lock", async move { state.lock(&user, &key, kind).await }).await?;
            locked.map_err(Refused::from).map(|guard| {
                if let Some(context) = &mut host.context {
                    context.locks.push((name.to_owned(), kind, guard));
                }
                Answer::Nothing
            })
        }
        abi::FAASM_STATE_UNLOCK => {
            let kind = lock_kind(first);
            match context.locks.iter().rposition(|(key, held, _)| key == name && *held == kind) {
                Some(at) => {
                    drop(context.locks.swap_remove(at));
                    Executor::share();
                    Ok(Answer::Nothing)
                }
                None => Err(Refused::runtime(format!("this call has no such lock on {name:?}"))),
            }
        }
        abi::FAASM_STATE_SIZE..=abi::FAASM_STATE_KEYS => {
            let (state, user) = (context.runtime.state.clone(), context.user.clone());
            let (key, most) = (name.to_owned(), context.runtime.memory_limit);
            let span = tracing::debug_span!(target: "py_func", "state", operation, key = name);
            let written = data.len() as u64;
            let work =
                async move { on_state(&state, operation, &user, &key, &data, first, second, most).await };
            let answer = host.wait("state", work.instrument(span)).await?;
            let read = answer.as_ref().ok().map(|answer| match answer {
                Answer::Bytes(bytes) | Answer::Both(_, bytes) => bytes.len() as u64,
                Answer::Nothing | Answer::Number(_) => 0,
            });
            metrics::state(read, written);
            if let (Some(context), Some(read)) = (&mut host.context, read) {
                context.tally.state_read += read;
                context.tally.state_written += written;
            }
            answer
        }
        _ => return Err(format_err!("the guest asks for {operation}, which is no operation")),
    })
}

fn lock_kind(exclusive: u64) -> Lock {
    if exclusive == 0 { Lock::Shared } else { Lock::Exclusive }
}

/// `most` is how many bytes an answer may have, which the guest could not take anyway.
#[expect(clippy::too_many_arguments, reason = "they are those of a request")]
async fn on_state(
    state: &State,
    operation: u32,
    user: &str,
    key: &str,
    data: &[u8],
    first: u64,
    second: u64,
    most: usize,
) -> Result<Answer, Refused> {
    let or_none = |number| (number != abi::FAASM_NONE).then_some(number);
    match operation {
        abi::FAASM_STATE_SIZE => {
            let size = state.size(user, key).await?;
            return size.map(Answer::Number).ok_or_else(|| no_value(user, key));
        }
        abi::FAASM_STATE_READ => {
            let size = state.size(user, key).await?.ok_or_else(|| no_value(user, key))?;
            let length = size.saturating_sub(first).min(second);
            let length = usize::try_from(length).ok().filter(|length| *length <= most);
            let mut bytes = vec![0; length.ok_or_else(too_large)?];
            let length = state.read(user, key, first, &mut bytes).await?;
            bytes.truncate(length);
            return Ok(Answer::Bytes(bytes));
        }
        abi::FAASM_STATE_WRITE => state.write(user, key, data).await?,
        abi::FAASM_STATE_WRITE_AT => state.write_at(user, key, first, data, or_none(second)).await?,
        abi::FAASM_STATE_RESIZE => state.resize(user, key, first).await?,
        abi::FAASM_STATE_DELETE => state.delete(user, key).await?,
        abi::FAASM_STATE_PUSH => state.push(user, key).await?,
        abi::FAASM_STATE_PUSH_PARTIAL => state.push_partial(user, key).await?,
        abi::FAASM_STATE_PULL => state.pull(user, key).await?,
        abi::FAASM_STATE_APPEND => state.append(user, key, data.to_vec()).await?,
        abi::FAASM_STATE_APPENDED => {
            let count = or_none(first).map(|count| usize::try_from(count).unwrap_or(usize::MAX));
            return list(&state.appended(user, key, count).await?, most);
        }
        abi::FAASM_STATE_CLEAR_APPENDED => state.clear_appended(user, key).await?,
        abi::FAASM_STATE_KEYS => return list(&state.keys(user).await?, most),
        _ => return Err(Refused::value(format!("there is no operation {operation} on state"))),
    }
    Ok(Answer::Nothing)
}

fn no_value(user: &str, key: &str) -> Refused {
    state::Error::NoValue { user: user.to_owned(), key: key.to_owned() }.into()
}

/// A list as `faasm.h` has it.
fn list(entries: &[impl AsRef<[u8]>], most: usize) -> Result<Answer, Refused> {
    if entries.iter().map(|entry| entry.as_ref().len() + 4).sum::<usize>() > most {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    for entry in entries.iter().map(AsRef::as_ref) {
        bytes.extend((entry.len() as u32).to_le_bytes());
        bytes.extend(entry);
    }
    Ok(Answer::Bytes(bytes))
}

fn too_large() -> Refused {
    Refused::runtime("what was asked for is larger than the memory that a call may have".to_owned())
}

fn info(context: &CallContext, what: u64) -> Result<Answer, Refused> {
    let text = match u32::try_from(what) {
        Ok(abi::FAASM_INFO_USER) => context.user.clone(),
        Ok(abi::FAASM_INFO_FUNCTION) => context.name.clone(),
        Ok(abi::FAASM_INFO_ENTRY) => context.entry.clone(),
        Ok(abi::FAASM_INFO_CALL) => context.id.to_string(),
        _ => return Err(Refused::value(format!("there is no information {what} about a call"))),
    };
    Ok(Answer::Bytes(text.into_bytes()))
}

fn log(context: &CallContext, level: u64, text: &str) {
    let CallContext { user, name, entry, id, .. } = context;
    macro_rules! event {
        ($level:ident) => {
            tracing::event!(target: "py_func::guest", tracing::Level::$level, user, function = name, entry, call = id, "{text}")
        };
    }
    match level {
        0..10 => event!(TRACE),
        10..20 => event!(DEBUG),
        20..30 => event!(INFO),
        30..40 => event!(WARN),
        _ => event!(ERROR),
    }
}

fn digest(name: &str, data: &[u8]) -> Result<Answer, Refused> {
    Ok(Answer::Bytes(match name {
        "sha224" => sha2::Sha224::digest(data).to_vec(),
        "sha256" => sha2::Sha256::digest(data).to_vec(),
        "sha384" => sha2::Sha384::digest(data).to_vec(),
        "sha512" => sha2::Sha512::digest(data).to_vec(),
        _ => {
            return Err(Refused::value(format!(
                "the host has no hash function {name:?}; it has sha224, sha256, sha384 and sha512"
            )));
        }
    }))
}
