//! A file's bytes in pages that copies share: a state of a whole directory is copied in microseconds.

use std::sync::Arc;

const PAGE: usize = 4096;
const ZEROS: [u8; PAGE] = [0; PAGE];

type Page = [u8; PAGE];

/// The bytes of a file. A page that was never written, or only with zeros, takes no room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    len: usize,
    pages: Vec<Option<Arc<Page>>>,
}

impl Content {
    /// Bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Without a byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Cuts it, or makes it longer with zeros.
    pub fn set_len(&mut self, len: usize) {
        if len < self.len {
            self.pages.truncate(len.div_ceil(PAGE));
            let within = len % PAGE;
            if within > 0
                && let Some(Some(page)) = self.pages.last_mut()
            {
                Arc::make_mut(page)[within..].fill(0);
            }
        } else {
            self.pages.resize(len.div_ceil(PAGE), None);
        }
        self.len = len;
    }

    /// Puts `bytes` at `at`; a gap reads as zeros.
    pub fn write(&mut self, at: usize, bytes: &[u8]) {
        self.in_pages(at, bytes.len(), |page, range, from| {
            let piece = &bytes[from..from + range.len()];
            match page {
                Some(page) if page[range.clone()] == *piece => {}
                None if is_zero(piece) => {}
                _ => {
                    let page = page.get_or_insert_with(|| Arc::new(ZEROS));
                    Arc::make_mut(page)[range].copy_from_slice(piece);
                }
            }
        });
    }

    /// Puts zeros there.
    pub fn zero(&mut self, at: usize, len: usize) {
        self.in_pages(at, len, |page, range, _| {
            if range.len() == PAGE {
                *page = None;
            } else if let Some(page) = page {
                Arc::make_mut(page)[range].fill(0);
            }
        });
    }

    /// Calls `each` with every page of a range, the range inside it, and how far into the whole
    /// range that begins.
    fn in_pages(
        &mut self,
        at: usize,
        len: usize,
        mut each: impl FnMut(&mut Option<Arc<Page>>, std::ops::Range<usize>, usize),
    ) {
        let end = at + len;
        if end > self.len {
            self.set_len(end);
        }
        let mut from = at;
        while from < end {
            let within = from % PAGE;
            let upto = (end - from).min(PAGE - within) + within;
            each(&mut self.pages[from / PAGE], within..upto, from - at);
            from += upto - within;
        }
    }

    /// Up to `len` bytes from `at` on, fewer at the end.
    pub fn read(&self, at: usize, len: usize) -> Vec<u8> {
        let end = self.len.min(at.saturating_add(len));
        let mut out = Vec::with_capacity(end.saturating_sub(at));
        let mut from = at;
        while from < end {
            let within = from % PAGE;
            let upto = (end - from).min(PAGE - within) + within;
            match &self.pages[from / PAGE] {
                Some(page) => out.extend_from_slice(&page[within..upto]),
                None => out.resize(out.len() + upto - within, 0),
            }
            from += upto - within;
        }
        out
    }
}

/// Nothing but zeros.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes
        .chunks(PAGE)
        .all(|piece| *piece == ZEROS[..piece.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Draw;

    #[test]
    fn it_is_what_a_plain_vector_would_be() {
        let mut draw = Draw::new(1);
        let (mut content, mut plain) = (Content::default(), Vec::new());
        for _ in 0..3_000 {
            let (at, len) = (draw.below(20_000), draw.below(9_000));
            match draw.below(5) {
                0 => {
                    content.set_len(at);
                    plain.resize(at, 0);
                }
                1 => {
                    content.zero(at, len);
                    plain.resize(plain.len().max(at + len), 0);
                    plain[at..at + len].fill(0);
                }
                _ => {
                    let bytes = vec![draw.bits() as u8; len];
                    content.write(at, &bytes);
                    plain.resize(plain.len().max(at + len), 0);
                    plain[at..at + len].copy_from_slice(&bytes);
                }
            }
            assert_eq!(content.len(), plain.len());
            assert_eq!(content.read(0, usize::MAX), plain);
            let (from, upto) = (at.min(plain.len()), (at + len).min(plain.len()));
            assert_eq!(content.read(at, len), plain[from..upto]);
        }
    }
}
