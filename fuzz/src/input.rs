//! Cutting a fuzzer's input into choices and content.
//!
//! What always holds: an input that ends early reads as zeros, so that every input means something
//! and a shorter one is a simpler one.

/// The bytes not yet used.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// The next two bytes, as a number.
    pub fn short(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// One of `choices`, of which there must be at least one.
    pub fn choice<'c, T>(&mut self, choices: &'c [T]) -> &'c T {
        let at = usize::from(self.byte());
        &choices[at % choices.len()]
    }

    /// The next `len` bytes, or what is left.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        head
    }
}
