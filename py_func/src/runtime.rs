//! Runtimes: an image, opened, with the limits of the calls that are made on it.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use faasm_image::{Image, Interrupt, Limits, MemoryImage, Program};

use crate::admission::Share;
use crate::error::Error;
use crate::executor::Executor;
use crate::function::{FunctionBuilder, Functions, Lookup};
use crate::host::{self, Host, Library, SharedFiles, abi};
use crate::images::Images;
use crate::interpreter::Interpreter;
use crate::registry::InUse;
use crate::state::{self, Memory, State};

/// CPython, ready to run functions. Cheap to clone; all clones share one image and one set of threads.
#[derive(Clone)]
pub struct Runtime {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) program: Program<Host>,
    pub(crate) executor: Arc<Executor>,
    pub(crate) output_limit: usize,
    pub(crate) timeout: Duration,
    pub(crate) state: State,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) functions: Functions,
    pub(crate) images: Option<Images>,
    /// The number of the next call.
    pub(crate) next_call: Arc<AtomicU64>,
    pub(crate) chain_depth: u32,
    pub(crate) chain_calls: u32,
    interrupt: Option<Interrupt>,
    pub(crate) library: Library,
    pub(crate) shared: Option<Arc<SharedFiles>>,
    pub(crate) tmp_limit: u64,
    image: Image,
    /// If it is in a store, it stays there.
    _in_use: Option<InUse>,
    base: MemoryImage,
    pub(crate) memory_limit: usize,
}

impl Runtime {
    /// A runtime with the image this crate was built with, and default limits.
    ///
    /// # Errors
    ///
    /// When there is no image, or it cannot be used.
    pub fn new() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// A runtime that is about to be made.
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::default()
    }

    /// A function that is about to be loaded, with the name of whose it is and its own.
    pub fn function(&self, user: &str, name: &str) -> FunctionBuilder<'_> {
        FunctionBuilder::new(self, user, name)
    }

    /// What the image was made from.
    #[cfg(feature = "server")]
    pub(crate) fn manifest(&self) -> &faasm_image::Manifest {
        self.inner.image.manifest()
    }

    /// The directory of the image.
    #[cfg(feature = "server")]
    pub(crate) fn image_directory(&self) -> &Path {
        self.inner.image.dir()
    }

    /// The interpreter itself, to be run as the command `python`.
    pub fn interpreter(&self) -> Interpreter<'_> {
        Interpreter::new(&self.inner)
    }
}

impl Inner {
    pub(crate) fn image(&self) -> &Image {
        &self.image
    }

    pub(crate) fn base(&self) -> &MemoryImage {
        &self.base
    }

    pub(crate) fn boot(&self) -> faasm_image::Result<MemoryImage> {
        self.image.boot()
    }

    pub(crate) fn limits(&self, timeout: Option<Duration>) -> Limits {
        Limits {
            memory: self.memory_limit,
            deadline: Some(timeout.unwrap_or(self.timeout)),
            interrupt: self.interrupt,
        }
    }
}

/// The settings of a runtime. Runtimes that are made of clones share state and shared files.
#[derive(Clone)]
#[must_use = "no runtime is made before `build` is called"]
pub struct RuntimeBuilder {
    image: Option<PathBuf>,
    pub(crate) memory_limit: usize,
    timeout: Duration,
    output_limit: usize,
    threads: Option<NonZero<usize>>,
    queue: usize,
    user: Option<Share>,
    state: Option<State>,
    config: BTreeMap<String, String>,
    lookup: Option<Arc<Lookup>>,
    images: Option<PathBuf>,
    chain_depth: u32,
    chain_calls: u32,
    shared: Option<Arc<SharedFiles>>,
    tmp_limit: u64,
    /// What another runtime's calls are made with.
    threads_of: Option<(Arc<Executor>, Arc<AtomicU64>)>,
}

/// How long a call that has reached its time limit may take to end by itself.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// Limits of state that lives as long as its runtime.
const DEFAULT_STATE: state::Limits = state::Limits { user_quota: 1 << 30, local: 1 << 30 };

impl Default for RuntimeBuilder {
    fn default() -> Self {
        Self {
            image: built_image(),
            memory_limit: 512 << 20,
            timeout: Duration::from_secs(60),
            output_limit: 16 << 20,
            threads: None,
            queue: 1000,
            user: None,
            state: None,
            config: BTreeMap::new(),
            lookup: None,
            images: None,
            chain_depth: 16,
            chain_calls: 1000,
            shared: None,
            tmp_limit: 64 << 20,
            threads_of: None,
        }
    }
}

impl RuntimeBuilder {
    /// The directory of an image, in place of the one this crate was built with.
    pub fn image(mut self, directory: impl AsRef<Path>) -> Self {
        self.image = Some(directory.as_ref().to_path_buf());
        self
    }

    /// How much memory a call may have, in bytes, the image's own included. By default 512 MiB, at most 64 KiB less than 4 GiB.
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory_limit = bytes;
        self
    }

    /// How long a call may take. By default 60 seconds.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// How many bytes a call may write to standard output, to standard error, and as its output, each. By default 16 MiB.
    pub fn output_limit(mut self, bytes: usize) -> Self {
        self.output_limit = bytes;
        self
    }

    /// How many calls may compute at the same time. By default as many as there are processors.
    pub fn threads(mut self, count: NonZero<usize>) -> Self {
        self.threads = Some(count);
        self
    }

    /// How many calls may wait, for others to finish computing or, once they have begun, for something else, before
    /// [`CallError::Busy`](crate::CallError::Busy) is the answer. By default 1000 each.
    pub fn queue(mut self, calls: usize) -> Self {
        self.queue = calls;
        self
    }

    /// How many calls of one user may compute at the same time, and how many may wait, as with [`queue`](Self::queue). By default as many
    /// as of all users together. Whatever the limits, users take turns when calls wait.
    pub fn user_limits(mut self, computing: NonZero<usize>, waiting: usize) -> Self {
        self.user = Some(Share { computing: computing.get(), waiting });
        self
    }

    /// The state that functions share. By default one in memory, which is gone with the runtime.
    pub fn state(mut self, state: State) -> Self {
        self.state = Some(state);
        self
    }

    /// A configuration flag, which functions read with `faasm.config(name)`.
    pub fn config(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.insert(name.into(), value.into());
        self
    }

    /// Where the source of a function, or an archive of one, is looked up, by user and name, that others chain to and that nobody has
    /// loaded. It is asked each time, so that a function can be replaced, and blocks the call that chains.
    pub fn lookup(mut self, source: impl Fn(&str, &str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        self.lookup = Some(Arc::new(source));
        self
    }

    /// A directory in which the images of functions are kept, so that another program, or this one when it is started again, need not
    /// import what was imported before with the same source, name, user and configuration. What a module does while it is imported is
    /// then done once for all of them. Images that nobody used for 30 days are removed. The directory is trusted as programs are.
    pub fn images(mut self, directory: impl Into<PathBuf>) -> Self {
        self.images = Some(directory.into());
        self
    }

    /// How deeply calls may be chained, and how many calls may come of one that was not chained. By default 16 and 1000.
    pub fn chain_limits(mut self, depth: u32, calls: u32) -> Self {
        (self.chain_depth, self.chain_calls) = (depth, calls);
        self
    }

    /// How many bytes a call may have in its private `/tmp`, which is in memory. By default 64 MiB. Each file or directory counts for 640
    /// bytes besides its content and its name.
    pub fn tmp_limit(mut self, bytes: u64) -> Self {
        self.tmp_limit = bytes;
        self
    }

    /// A directory of the machine, which need not exist, for files that the calls of a user share and see as `/shared`. Each user has a
    /// directory in it, and in that at most `quota` bytes, in blocks of 4096 and with one for each file or directory. By
    /// default there are no shared files.
    pub fn shared_files(mut self, directory: impl Into<PathBuf>, quota: u64) -> Self {
        self.shared = Some(Arc::new(SharedFiles::new(directory.into(), quota)));
        self
    }

    /// Makes calls on the threads of another runtime, whose calls they count with.
    #[cfg(feature = "server")]
    pub(crate) fn threads_of(mut self, other: &Runtime) -> Self {
        let Inner { executor, next_call, .. } = &*other.inner;
        self.threads_of = Some((Arc::clone(executor), Arc::clone(next_call)));
        self
    }

    /// Opens the image and starts the threads.
    ///
    /// # Errors
    ///
    /// When there is no image, or it was made by another version or for another machine, or is damaged.
    pub fn build(self) -> Result<Runtime, Error> {
        let directory = self.image.ok_or(Error::NoImage)?;
        let in_use = InUse::new(&directory);
        let image = Image::open(&directory)?;
        let program = Program::new(&image.load_code()?, host::link)?;
        let base = image.base()?;
        let (executor, next_call) = match self.threads_of {
            Some(other) => other,
            None => {
                let executor = Executor::start(self.threads, self.queue, self.user)?;
                (Arc::new(executor), Arc::new(AtomicU64::new(1)))
            }
        };
        let state = self.state.unwrap_or_else(|| State::new(Arc::new(Memory::default()), DEFAULT_STATE));
        let images = self.images.map(|directory| {
            let config = self.config.iter().flat_map(|(name, value)| [name.as_str(), value]);
            Images::new(&directory, &image, config).map_err(|source| Error::Images { directory, source })
        });
        let mut inner = Inner {
            program,
            images: images.transpose()?,
            executor,
            output_limit: self.output_limit,
            timeout: self.timeout,
            state,
            config: self.config,
            functions: Functions::new(self.lookup),
            next_call,
            chain_depth: self.chain_depth,
            chain_calls: self.chain_calls,
            interrupt: None,
            library: Library::new(image.root().to_path_buf()),
            shared: self.shared,
            tmp_limit: self.tmp_limit,
            image,
            _in_use: in_use,
            base,
            memory_limit: self.memory_limit,
        };
        let (guest, interrupt) = pollster::block_on(inner.interface())?;
        if guest != abi::FAASM_ABI_VERSION {
            return Err(Error::Interface { guest, host: abi::FAASM_ABI_VERSION });
        }
        inner.interrupt = Some(interrupt);
        Ok(Runtime { inner: Arc::new(inner) })
    }
}

impl Inner {
    /// The version of the host interface that the guest was compiled with, and how to interrupt it.
    async fn interface(&self) -> Result<(u32, Interrupt), Error> {
        let mut guest = self.program.instantiate(&self.base, self.limits(None), Host::default())?;
        // A guest that cannot even say its version speaks none that we know.
        let version = guest.call("faasm_abi_version", ()).await.unwrap_or(0);
        let word: u64 = guest.call("faasm_interrupt", ()).await.unwrap_or(0);
        let interrupt = Interrupt { address: (word >> 32) as u32, bits: word as u32, grace: GRACE };
        Ok((version, interrupt))
    }
}

fn built_image() -> Option<PathBuf> {
    option_env!("FAASM_IMAGE").map(PathBuf::from)
}
