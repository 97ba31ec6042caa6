//! A [`Page`] in memory of its own or shared through a file, for as long as anybody looks at it.

use crate::page::Page;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};

/// A mapped page; unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Mapping(NonNull<Page>);

// SAFETY: a page consists of atomics only, and the mapping is not bound to a thread.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// A page of zeros that only this process and its children see.
    pub(crate) fn anonymous() -> io::Result<Mapping> {
        Mapping::map(libc::PROT_READ | libc::PROT_WRITE, libc::MAP_ANONYMOUS, -1)
    }

    /// The page in a file that has at least its size.
    ///
    /// Whoever may write the file could truncate it under its readers, who would then be killed by `SIGBUS`: it is to
    /// be writable by the publisher alone.
    pub(crate) fn file(file: &File, writable: bool) -> io::Result<Mapping> {
        let write = if writable { libc::PROT_WRITE } else { 0 };
        Mapping::map(libc::PROT_READ | write, 0, file.as_raw_fd())
    }

    fn map(protection: libc::c_int, flags: libc::c_int, fd: libc::c_int) -> io::Result<Mapping> {
        let flags = flags | libc::MAP_SHARED;
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that is in use.
        let address = unsafe { libc::mmap(ptr::null_mut(), size_of::<Page>(), protection, flags, fd, 0) };
        match NonNull::new(address) {
            Some(page) if address != libc::MAP_FAILED => Ok(Mapping(page.cast())),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub(crate) fn as_ptr(&self) -> *mut Page {
        self.0.as_ptr()
    }
}

impl Deref for Mapping {
    type Target = Page;
    fn deref(&self) -> &Page {
        // SAFETY: the mapping has the size of a page, is aligned to the machine's pages, lives as long as `self`, and
        // any bits are valid in it.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made in `map`, and borrows of it end with `self`.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<Page>()) };
    }
}
