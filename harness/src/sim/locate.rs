//! Where in the source a task waits: asked on the replay of a failure only.
//!
//! A leaf future that returns `Pending` has cloned the waker it was polled
//! with. Polled with a waker of our own, the stack at the last clone is the
//! stack of the pending leaf; its innermost frame outside libraries is the
//! `.await` a person wants to see. A capture costs microseconds and its
//! symbols a tenth of a second, so the hot path never comes here.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};

thread_local! {
    /// The stack at the last clone of a locating waker.
    static LAST: RefCell<Option<backtrace::Backtrace>> = const { RefCell::new(None) };
}

/// Polls `future`, noting where it waits if it does.
pub(crate) fn poll<F: Future + ?Sized>(
    future: Pin<&mut F>,
    cx: &mut Context<'_>,
) -> Poll<F::Output> {
    LAST.set(None);
    let waker = locating(cx.waker());
    future.poll(&mut Context::from_waker(&waker))
}

/// The source line of the task that waited last: `src/lib.rs:145 receipts::work`.
pub(crate) fn describe() -> Option<String> {
    let mut stack = LAST.take()?;
    stack.resolve();
    stack
        .frames()
        .iter()
        .flat_map(backtrace::BacktraceFrame::symbols)
        .filter_map(|symbol| {
            let file = symbol.filename()?.to_str()?;
            let name = format!("{:#}", symbol.name()?);
            (is_authors(file, &name)).then(|| {
                let name = name.replace("::{{closure}}", "");
                format!("{}:{} {name}", short(file), symbol.lineno().unwrap_or(0))
            })
        })
        .next()
}

/// Whether a frame belongs to the scenario's author: no dependency, no toolchain, not the harness.
fn is_authors(file: &str, name: &str) -> bool {
    let foreign = ["/rustc/", "/.cargo/registry/", "/rustlib/", "/.cargo/git/"];
    let ours = concat!(env!("CARGO_CRATE_NAME"), "::sim::");
    !foreign.iter().any(|part| file.contains(part))
        && !name.contains(ours)
        && name.contains("{{closure}}")
}

/// The path from the crate's folder on.
fn short(file: &str) -> &str {
    let folders = ["/src/", "/tests/", "/examples/", "/benches/"];
    match folders
        .into_iter()
        .filter_map(|folder| file.rfind(folder))
        .max()
    {
        Some(at) => {
            let start = file[..at].rfind('/').map_or(0, |slash| slash + 1);
            &file[start..]
        }
        None => file,
    }
}

/// A waker that wakes `inner`, and notes the stack when it is cloned.
fn locating(inner: &Waker) -> Waker {
    into_waker(Arc::new(Locating(inner.clone())))
}

struct Locating(Waker);

impl Wake for Locating {
    fn wake(self: Arc<Self>) {
        self.0.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.wake_by_ref();
    }
}

// The standard library offers no hook on a waker's clone: this is the one place with a vtable of its own.
#[allow(unsafe_code)]
fn into_waker(locating: Arc<Locating>) -> Waker {
    /// # Safety
    ///
    /// `data` came from `Arc::into_raw` and stands for one strong reference, which stays with the caller.
    unsafe fn clone(data: *const ()) -> RawWaker {
        LAST.set(Some(backtrace::Backtrace::new_unresolved()));
        // SAFETY: as the caller promises; the new waker owns the reference counted here.
        unsafe { Arc::increment_strong_count(data.cast::<Locating>()) };
        RawWaker::new(data, &VTABLE)
    }
    /// # Safety
    ///
    /// As for `clone`; the reference passes to this function.
    unsafe fn wake(data: *const ()) {
        // SAFETY: as the caller promises.
        unsafe { Arc::from_raw(data.cast::<Locating>()) }.wake();
    }
    /// # Safety
    ///
    /// As for `clone`.
    unsafe fn wake_by_ref(data: *const ()) {
        // SAFETY: as the caller promises; the reference is only borrowed.
        unsafe { &*data.cast::<Locating>() }.0.wake_by_ref();
    }
    /// # Safety
    ///
    /// As for `wake`.
    unsafe fn drop(data: *const ()) {
        // SAFETY: as the caller promises.
        std::mem::drop(unsafe { Arc::from_raw(data.cast::<Locating>()) });
    }
    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop);
    let raw = RawWaker::new(Arc::into_raw(locating).cast(), &VTABLE);
    // SAFETY: the four functions keep to `RawWaker`'s contract, each as its comment says.
    unsafe { Waker::from_raw(raw) }
}
