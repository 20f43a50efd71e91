//! The offset that a group keeps of one partition, as a register that several write and anybody
//! reads: which values an answer may show.
//!
//! What always holds: each write has a number of its own, which stands beside the offset, so that
//! whoever sees it knows which write it was. A write that was acknowledged, or seen, has happened; one
//! that was refused never will; one without an answer may until the end of the broker's life.

/// What became of a write, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No answer, so far or for good.
    Unknown,
    /// It has happened.
    Happened,
    /// It has not, and never will.
    Refused,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    /// Its number; the same for all offsets that went with one deletion.
    pub(super) number: u64,
    /// The offset; `None` takes it away.
    pub(super) offset: Option<i64>,
    pub(super) state: State,
    /// Before it was asked for.
    pub(super) begin: u64,
    /// When it had happened, if it has.
    pub(super) end: u64,
    /// The broker's life that it was sent in.
    pub(super) life: usize,
    /// The member that wrote it, if it may expire.
    pub(super) expires: bool,
    /// The member's id; empty for none.
    pub(super) member_id: String,
}

/// What a read came to that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Something that nobody wrote.
    Altered(String),
    /// Something that was refused.
    Refused(String),
    /// Something older than what was there before it was asked for, or nothing.
    Lost(String),
    /// Nothing, though only what was written by a member with a time to live was there: that is wrong
    /// if the member lives.
    Expired(String),
}

/// One partition's offset.
#[derive(Clone, Debug, Default)]
pub(super) struct Register {
    writes: Vec<Write>,
}

impl Register {
    pub(super) fn push(&mut self, write: Write) {
        self.writes.push(write);
    }

    /// What became of the write of that number.
    pub(super) fn answered(&mut self, number: u64, state: State, now: u64) {
        for write in self.writes.iter_mut().filter(|one| one.number == number) {
            // One that was seen has happened, whatever is said of it.
            if write.state == State::Unknown {
                write.state = state;
                if state == State::Happened {
                    write.end = write.end.min(now);
                }
            }
        }
    }

    /// A life has ended: what was under way in it has happened, or never will.
    pub(super) fn life_ended(&mut self, life: usize, now: u64) {
        let open = self.writes.iter_mut().rev();
        for write in open.filter(|one| one.life <= life && one.end == u64::MAX) {
            write.end = now;
        }
    }

    /// The last write that is known to have happened before then began no earlier than this.
    fn floor(&self, before: u64) -> u64 {
        let sure = self.writes.iter();
        let sure = sure.filter(|one| one.state == State::Happened && one.end < before);
        sure.map(|one| one.begin).max().unwrap_or(0)
    }

    /// What may be there for whoever asks at `begin`.
    fn possible(&self, begin: u64) -> impl Iterator<Item = &Write> {
        let floor = self.floor(begin);
        let possible = self.writes.iter();
        possible.filter(move |one| one.state != State::Refused && one.end >= floor)
    }

    /// Whether there is an offset for certain.
    pub(super) fn is_kept(&self, begin: u64) -> bool {
        let mut possible = self.possible(begin).peekable();
        possible.peek().is_some()
            && self.floor(begin) > 0
            && possible.all(|one| one.offset.is_some() && !one.expires)
    }

    /// Something was seen by whoever asked between `begin` and `end`: an offset and the number
    /// beside it, or nothing.
    pub(super) fn seen(
        &mut self,
        (begin, end): (u64, u64),
        found: Option<(i64, u64)>,
    ) -> Result<(), Wrong> {
        match found {
            Some((offset, number)) => self.seen_offset((begin, end), offset, number),
            None => self.seen_nothing((begin, end)),
        }
    }

    fn seen_offset(
        &mut self,
        (begin, end): (u64, u64),
        offset: i64,
        number: u64,
    ) -> Result<(), Wrong> {
        let floor = self.floor(begin);
        let words = self.words(begin);
        let written = self.writes.iter_mut();
        let Some(write) = written
            .filter(|one| one.offset == Some(offset))
            .find(|one| one.number == number)
        else {
            return Err(Wrong::Altered(format!("{offset} of write {number}{words}")));
        };
        if write.state == State::Refused {
            return Err(Wrong::Refused(format!("{offset}: {write:?}")));
        }
        if write.end < floor {
            return Err(Wrong::Lost(format!("{offset} again: {write:?}{words}")));
        }
        write.state = State::Happened;
        write.end = write.end.min(end);
        Ok(())
    }

    fn seen_nothing(&mut self, (begin, end): (u64, u64)) -> Result<(), Wrong> {
        let is_first = self.floor(begin) == 0;
        if is_first || self.possible(begin).any(|one| one.offset.is_none()) {
            return Ok(());
        }
        let expiring = self.possible(begin).find(|one| one.expires).cloned();
        let Some(write) = expiring else {
            return Err(Wrong::Lost(format!("nothing{}", self.words(begin))));
        };
        let words = self.words(begin);
        let expiry = Write {
            offset: None,
            state: State::Happened,
            end,
            expires: false,
            ..write
        };
        self.writes.push(Write {
            number: u64::MAX,
            ..expiry
        });
        Err(Wrong::Expired(format!("nothing{words}")))
    }

    fn words(&self, begin: u64) -> String {
        let possible: Vec<&Write> = self.possible(begin).collect();
        format!(", asked for at {begin}; there may be {possible:?}")
    }

    /// The member that wrote what may have expired.
    pub(super) fn expiring_member(&self, begin: u64) -> Option<String> {
        let mut possible = self.possible(begin).filter(|one| one.expires);
        possible.next().map(|one| one.member_id.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(number: u64, offset: Option<i64>, begin: u64) -> Write {
        Write {
            number,
            offset,
            state: State::Unknown,
            begin,
            end: u64::MAX,
            life: 0,
            expires: false,
            member_id: String::new(),
        }
    }

    #[test]
    fn what_was_acknowledged_is_there_until_something_else_is() {
        let mut register = Register::default();
        assert_eq!(register.seen((1, 2), None), Ok(()));
        register.push(write(1, Some(10), 3));
        register.push(write(2, Some(20), 4));
        assert_eq!(register.clone().seen((5, 6), None), Ok(()));
        register.answered(1, State::Happened, 7);
        assert!(matches!(register.seen((8, 9), None), Err(Wrong::Lost(_))));
        assert_eq!(register.clone().seen((8, 9), Some((10, 1))), Ok(()));
        assert_eq!(register.seen((8, 9), Some((20, 2))), Ok(()), "it is seen");
        register.push(write(3, Some(5), 10));
        register.answered(3, State::Happened, 11);
        let again = register.seen((12, 13), Some((20, 2)));
        assert!(matches!(again, Err(Wrong::Lost(_))));
        assert_eq!(register.seen((12, 13), Some((5, 3))), Ok(()), "a rewind");
        let other = register.seen((12, 13), Some((6, 3)));
        assert!(matches!(other, Err(Wrong::Altered(_))));
    }

    #[test]
    fn what_has_no_answer_may_happen_until_its_life_ends() {
        let mut register = Register::default();
        register.push(write(1, Some(10), 1));
        register.push(write(2, Some(20), 2));
        register.answered(2, State::Happened, 3);
        assert_eq!(register.clone().seen((4, 5), Some((10, 1))), Ok(()));
        register.life_ended(0, 6);
        register.push(Write {
            life: 1,
            ..write(3, None, 7)
        });
        register.answered(3, State::Happened, 8);
        assert_eq!(register.seen((9, 10), None), Ok(()));
        let late = register.seen((9, 10), Some((10, 1)));
        assert!(matches!(late, Err(Wrong::Lost(_))));
    }

    #[test]
    fn what_was_refused_is_never_there() {
        let mut register = Register::default();
        register.push(write(1, Some(10), 1));
        register.answered(1, State::Refused, 2);
        let seen = register.seen((3, 4), Some((10, 1)));
        assert!(matches!(seen, Err(Wrong::Refused(_))));
    }

    #[test]
    fn what_lives_for_a_time_may_be_gone() {
        let mut register = Register::default();
        register.push(Write {
            expires: true,
            ..write(1, Some(10), 1)
        });
        register.answered(1, State::Happened, 2);
        assert!(matches!(
            register.seen((3, 4), None),
            Err(Wrong::Expired(_))
        ));
        assert_eq!(register.seen((5, 6), None), Ok(()), "it is known by now");
    }
}
