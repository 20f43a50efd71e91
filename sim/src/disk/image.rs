//! The bytes of one file: sparse pages, zeros where there is none.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes in a page, also the unit in which room is taken.
pub(crate) const PAGE: u64 = 4096;

/// A file's length and contents. Pages are shared between the cached and the durable image until
/// one of them is written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    pub(crate) len: u64,
    pages: BTreeMap<u64, Arc<[u8; PAGE as usize]>>,
}

impl Image {
    /// Writes without changing the length.
    pub(crate) fn write(&mut self, mut offset: u64, mut data: &[u8]) {
        while !data.is_empty() {
            let inside = (offset % PAGE) as usize;
            let count = data.len().min(PAGE as usize - inside);
            let page = self.pages.entry(offset / PAGE).or_insert_with(zeros);
            Arc::make_mut(page)[inside..inside + count].copy_from_slice(&data[..count]);
            data = &data[count..];
            offset += count as u64;
        }
    }

    /// Reads up to the length; returns how many bytes.
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) -> usize {
        let there = self.len.saturating_sub(offset);
        let total = usize::try_from(there).map_or(buf.len(), |there| there.min(buf.len()));
        let mut done = 0;
        while done < total {
            let at = offset + done as u64;
            let inside = (at % PAGE) as usize;
            let count = (total - done).min(PAGE as usize - inside);
            let into = &mut buf[done..done + count];
            match self.pages.get(&(at / PAGE)) {
                Some(page) => into.copy_from_slice(&page[inside..inside + count]),
                None => into.fill(0),
            }
            done += count;
        }
        total
    }

    /// The whole file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.len).unwrap_or(usize::MAX)];
        self.read(0, &mut bytes);
        bytes
    }

    /// Cuts or extends; bytes behind the new length are zeros ever after.
    pub(crate) fn set_len(&mut self, len: u64) {
        if len < self.len {
            self.zero_from(len, u64::MAX);
        }
        self.len = len;
    }

    /// Makes `[from, to)` zeros.
    pub(crate) fn zero_from(&mut self, from: u64, to: u64) {
        let touched: Vec<u64> = self
            .pages
            .range(from / PAGE..=to.saturating_sub(1) / PAGE)
            .map(|(at, _)| *at)
            .collect();
        for index in touched {
            let start = from.max(index * PAGE) - index * PAGE;
            let end = to.min((index + 1) * PAGE).saturating_sub(index * PAGE);
            if start == 0 && end == PAGE {
                self.pages.remove(&index);
            } else if let Some(page) = self.pages.get_mut(&index)
                && start < end
            {
                Arc::make_mut(page)[start as usize..end as usize].fill(0);
            }
        }
    }

    /// Flips one bit; false past the end.
    pub(crate) fn flip(&mut self, offset: u64, bit: u8) -> bool {
        if offset >= self.len {
            return false;
        }
        let page = self.pages.entry(offset / PAGE).or_insert_with(zeros);
        Arc::make_mut(page)[(offset % PAGE) as usize] ^= 1 << (bit % 8);
        true
    }

    /// First bytes of the pages that exist at or after `from`.
    pub(crate) fn pages_from(&self, from: u64) -> impl Iterator<Item = u64> + '_ {
        self.pages
            .range(from / PAGE..)
            .map(|(index, _)| index * PAGE)
    }
}

fn zeros() -> Arc<[u8; PAGE as usize]> {
    Arc::new([0; PAGE as usize])
}

/// Which pages of a file take room.
#[derive(Clone, Debug, Default)]
pub(crate) struct Room(Vec<u64>);

impl Room {
    fn has(&self, page: u64) -> bool {
        self.0
            .get((page / 64) as usize)
            .is_some_and(|word| word & (1 << (page % 64)) != 0)
    }

    /// Takes up to `free` new pages for `[offset, offset + len)`, in order. Returns how many were
    /// taken and the end of what now has room.
    pub(crate) fn take(&mut self, offset: u64, len: u64, free: u64) -> (u64, u64) {
        let end = offset + len;
        let mut taken = 0;
        let mut page = offset / PAGE;
        while page * PAGE < end {
            if !self.has(page) {
                if taken == free {
                    return (taken, (page * PAGE).max(offset));
                }
                let word = (page / 64) as usize;
                if self.0.len() <= word {
                    self.0.resize(word + 1, 0);
                }
                self.0[word] |= 1 << (page % 64);
                taken += 1;
            }
            page += 1;
        }
        (taken, end)
    }

    /// Gives back what lies wholly behind `len`. Returns how many pages.
    pub(crate) fn cut(&mut self, len: u64) -> u64 {
        let first = len.div_ceil(PAGE);
        let before = self.pages();
        let word = (first / 64) as usize;
        self.0.truncate(word + 1);
        if let Some(last) = self.0.get_mut(word) {
            *last &= (1_u64 << (first % 64)) - 1;
        }
        before - self.pages()
    }

    pub(crate) fn pages(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cut_and_extended_bytes_are_zeros() {
        let mut image = Image::default();
        image.write(4000, &[7; 5000]);
        image.len = 9000;
        image.set_len(5000);
        image.set_len(9000);
        let bytes = image.bytes();
        assert!(bytes[..4000].iter().all(|byte| *byte == 0));
        assert!(bytes[4000..5000].iter().all(|byte| *byte == 7));
        assert!(bytes[5000..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn room_is_taken_once_and_given_back_by_whole_pages() {
        let mut room = Room::default();
        assert_eq!(room.take(0, PAGE * 70, 100), (70, PAGE * 70));
        assert_eq!(room.take(PAGE * 69 + 1, PAGE, 100), (1, PAGE * 70 + 1));
        assert_eq!(room.take(PAGE * 70, PAGE * 5, 2), (2, PAGE * 73));
        assert_eq!(room.cut(PAGE * 64 + 1), 73 - 65);
        assert_eq!(room.cut(0), 65);
    }
}
