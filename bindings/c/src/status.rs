//! What a call comes back with: a code, and words for it.

use chronotick_clock::OpenError;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};

/// The version of the binary interface that this header describes: what chronotick_open() wants to hear.
///
/// It changes when a structure or a function of this header changes its meaning or layout, never when one is added, and
/// is the number in the name of the shared library (libchronotick.so.1).
pub const CHRONOTICK_ABI: u32 = 1;

/// How a call ended. Zero is success; chronotick_status_text() has words for each.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum chronotick_status {
    /// Done.
    Ok = 0,
    /// A pointer was null that must not be, or the path is empty.
    InvalidArgument = 1,
    /// The program was compiled for another version of the binary interface than the library's.
    Abi = 2,
    /// There is no clock page: no daemon has run on this machine since it started.
    Missing = 3,
    /// The file is not a clock page.
    NotAPage = 4,
    /// The clock page was written by a daemon of another version.
    PageVersion = 5,
    /// The clock page could not be opened or mapped.
    Io = 6,
}

use chronotick_status::*;

impl From<&OpenError> for chronotick_status {
    fn from(error: &OpenError) -> chronotick_status {
        match error {
            OpenError::Missing { .. } => Missing,
            OpenError::NotAPage { .. } => NotAPage,
            OpenError::Version { .. } => PageVersion,
            OpenError::Io { .. } => Io,
        }
    }
}

thread_local! {
    static MESSAGE: RefCell<CString> = RefCell::default();
}

/// Keeps the words of a failure for [`chronotick_error_message`]; gives the status back.
pub(crate) fn failed(status: chronotick_status, words: &str) -> chronotick_status {
    let text = CString::new(words.replace('\0', "\u{fffd}")).expect("NULs have been replaced");
    // A thread that is ending has no place for it any more, and nobody to read it.
    let _ = MESSAGE.try_with(|message| *message.borrow_mut() = text);
    status
}

/// Words for a status, for as long as the program runs; never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn chronotick_status_text(status: i32) -> *const c_char {
    const KNOWN: [(chronotick_status, &CStr); 7] = [
        (Ok, c"done"),
        (InvalidArgument, c"a pointer is null that must not be, or the path is empty"),
        (
            Abi,
            c"the program was compiled with the header of another version of libchronotick; compile it again",
        ),
        (Missing, c"there is no clock page; start the daemon with `chronotick run`"),
        (NotAPage, c"the file is not a clock page; name the file clock.page of a running daemon"),
        (PageVersion, c"the daemon is of another version than this library; update the older of the two"),
        (Io, c"the clock page cannot be opened or mapped; look at its permissions"),
    ];
    let known = KNOWN.iter().find(|(code, _)| *code as i32 == status);
    known.map_or(c"this status is not known to this version", |(_, text)| text).as_ptr()
}

/// What exactly went wrong in the newest call of chronotick_open() that failed on this thread: which file, and what to
/// do about it. Empty if none has; never NULL. Good until the next chronotick_open() on this thread.
#[unsafe(no_mangle)]
pub extern "C" fn chronotick_error_message() -> *const c_char {
    MESSAGE.try_with(|message| message.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// The version of the binary interface of the library that the program runs with: CHRONOTICK_ABI when that was built.
#[unsafe(no_mangle)]
pub extern "C" fn chronotick_abi() -> u32 {
    CHRONOTICK_ABI
}

/// The version of the library, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn chronotick_version() -> *const c_char {
    const { CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) }
        .expect("a version holds no NUL")
        .as_ptr()
}
