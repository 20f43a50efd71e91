//! Arrays: read once to know that they can be read, then again whenever someone looks.
//!
//! What always holds: an [`Array`] exists only after all its elements, with what is nested in them,
//! were read from the very bytes it keeps, so going through it can't fail. It keeps a slice and a
//! count; an array at depth `d` is read `d + 1` times before anyone looks.

use std::fmt;
use std::marker::PhantomData;

use super::cursor::{Cursor, Fault, Read, ReadError, Version};

/// Elements in the bytes of a message's body.
pub struct Array<'a, T> {
    elements: Cursor<'a>,
    len: usize,
    of: PhantomData<fn() -> T>,
}

impl<T> Array<'_, T> {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<T> Clone for Array<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Array<'_, T> {}

impl<T> Default for Array<'_, T> {
    fn default() -> Self {
        Self {
            elements: Cursor::default(),
            len: 0,
            of: PhantomData,
        }
    }
}

impl<'a, T: Read<'a> + fmt::Debug> fmt::Debug for Array<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(*self).finish()
    }
}

impl<'a, T: Read<'a>> Read<'a> for Option<Array<'a, T>> {
    fn bytes_min(version: Version) -> usize {
        if version.flexible { 1 } else { 4 }
    }

    fn read(from: &mut Cursor<'a>) -> Result<Self, ReadError> {
        let Some(len) = from.array_length(T::bytes_min(from.version()))? else {
            return Ok(None);
        };
        let elements = *from;
        for _ in 0..len {
            T::read(from)?;
        }
        Ok(Some(Array {
            elements: elements.until(from),
            len,
            of: PhantomData,
        }))
    }

    fn other(self) -> Self {
        match self {
            None => Some(Array::default()),
            Some(_) => None,
        }
    }
}

impl<'a, T: Read<'a>> Read<'a> for Array<'a, T> {
    fn bytes_min(version: Version) -> usize {
        Option::<Self>::bytes_min(version)
    }

    fn read(from: &mut Cursor<'a>) -> Result<Self, ReadError> {
        let begin = *from;
        Option::read(from)?.ok_or_else(|| begin.error(Fault::Null))
    }
}

impl<'a, T: Read<'a>> IntoIterator for Array<'a, T> {
    type Item = T;
    type IntoIter = Elements<'a, T>;

    fn into_iter(self) -> Elements<'a, T> {
        Elements { left: self }
    }
}

/// The elements of an [`Array`], in their order.
#[derive(Clone, Debug)]
pub struct Elements<'a, T: Read<'a>> {
    left: Array<'a, T>,
}

impl<'a, T: Read<'a>> Iterator for Elements<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.left.len = self.left.len.checked_sub(1)?;
        let element = T::read(&mut self.left.elements);
        Some(element.expect("the same bytes were read when the array was"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.len, Some(self.left.len))
    }
}

impl<'a, T: Read<'a>> ExactSizeIterator for Elements<'a, T> {}
