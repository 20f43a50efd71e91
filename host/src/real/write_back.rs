//! `sync_file_range`, which no safe crate offers.
#![expect(
    unsafe_code,
    reason = "a system call without a safe wrapper; argued below"
)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Asks the kernel to begin writing the dirty pages of the range. Promises nothing: where the
/// file system cannot do it, that is no error.
pub(super) fn start(fd: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
    let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    // SAFETY: the call takes no pointers, and the descriptor is open for as long as it is
    // borrowed. It changes no memory of this process.
    let result =
        unsafe { libc::sync_file_range(fd.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EOPNOTSUPP | libc::ESPIPE | libc::EINTR) => Ok(()),
        _ => Err(error),
    }
}
