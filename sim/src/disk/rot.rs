//! Where the device holds something else than was written there, until somebody reads it.

use crate::faults;

/// Places remembered of one file; of more nothing is counted.
const PLACES_MAX: usize = 64;

/// The places of one file.
#[derive(Debug, Default)]
pub(crate) struct Rot(Vec<Place>);

#[derive(Debug)]
struct Place {
    at: u64,
    len: u64,
    /// What it is counted as.
    kind: &'static str,
    /// The page cache has it too.
    shown: bool,
}

impl Place {
    fn end(&self) -> u64 {
        self.at.saturating_add(self.len)
    }
}

impl Rot {
    /// One more place.
    pub(crate) fn add(&mut self, at: u64, len: u64, kind: &'static str, shown: bool) {
        if self.0.len() < PLACES_MAX && len > 0 {
            self.0.push(Place {
                at,
                len,
                kind,
                shown,
            });
        }
    }

    /// What a write left that reached the device elsewhere or altered.
    pub(crate) fn add_write(&mut self, (at, data): (u64, &[u8]), (lands, device): (u64, &[u8])) {
        if lands != at {
            self.add(at, data.len() as u64, faults::MISDIRECTED, false);
            self.add(lands, data.len() as u64, faults::MISDIRECTED, false);
        }
        // At once, since nearly all writes are the same: the search is for those that aren't.
        if data != device
            && let Some(flipped) = (0..data.len()).find(|byte| data[*byte] != device[*byte])
        {
            self.add(at + flipped as u64, 1, faults::WRITE_FLIP, false);
        }
    }

    /// The page cache has other bytes there.
    pub(crate) fn hide(&mut self, at: u64, len: u64) {
        for place in &mut self.0 {
            let covered = at <= place.at && place.end() <= at.saturating_add(len);
            place.shown &= !covered;
        }
    }

    /// The device has other bytes there.
    pub(crate) fn cover(&mut self, at: u64, len: u64) {
        let end = at.saturating_add(len);
        self.0.retain(|place| place.at < at || end < place.end());
    }

    /// The page cache holds what the device does.
    pub(crate) fn show(&mut self) {
        for place in &mut self.0 {
            place.shown = true;
        }
    }

    /// Bytes are read: what of it shows, each place once.
    pub(crate) fn read(&mut self, at: u64, len: u64) -> Vec<&'static str> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let end = at.saturating_add(len);
        let is_read = |place: &Place| place.shown && place.at < end && at < place.end();
        let read = self.0.iter().filter(|place| is_read(place));
        let kinds = read.map(|place| place.kind).collect();
        self.0.retain(|place| !is_read(place));
        kinds
    }
}
