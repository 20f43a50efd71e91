//! Read-only maps of files that no longer change.
#![expect(unsafe_code, reason = "mapping is unsafe by nature; argued below")]

use std::fs::File;
use std::io;

use memmap2::{Mmap, MmapOptions};

use crate::FileMap;

/// A map of the whole file; `None` for an empty one, which cannot be mapped.
#[derive(Debug)]
pub(super) struct RealMap(Option<Mmap>);

impl RealMap {
    pub(super) fn new(file: &File) -> io::Result<Self> {
        let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        if len == 0 {
            return Ok(Self(None));
        }
        // SAFETY: a map is sound while nobody changes or shortens the file under it. The contract
        // of `File::map` is that only files that no longer change are mapped, and the data
        // directory is locked against other Millrace processes. What breaks that promise is an
        // operator's own tool: a shortened file would end this process by SIGBUS, and changed
        // bytes would be read as they are; both are checked data (every batch has its CRC), never
        // used as pointers, lengths without checks, or `str`.
        let map = unsafe { MmapOptions::new().len(len).map(file)? };
        Ok(Self(Some(map)))
    }
}

impl FileMap for RealMap {
    fn bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}
