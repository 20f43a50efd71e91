//! The lines of a trace as calls: `strace -f -ttt -yy -a1 -s <more than any buffer>`.
//!
//! What always holds: a call that was suppressed or answered by the tracer itself is told from one
//! that happened; a buffer that the tracer cut short is an error, not a shorter buffer.

use std::collections::BTreeMap;
use std::fmt;

/// The calls that a trace must have, as `strace -e trace=` takes them.
pub const CALLS: &str = "accept4,recvfrom,recvmsg,read,readv,sendmsg,sendto,sendfile,write,writev,\
                         pwrite64,pwritev,pwritev2,fdatasync,fsync,openat,mkdir";

/// Why a trace can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TraceError {
    /// A line that is no call, signal or end.
    Line {
        /// Counted from 1.
        line: usize,
        /// Its beginning.
        text: String,
    },
    /// The tracer left bytes out.
    Cut {
        /// Counted from 1.
        line: usize,
    },
    /// Bytes that are no request, reply or commit where one must be.
    Content {
        /// Counted from 1.
        line: usize,
        /// Of what.
        what: &'static str,
    },
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { line, text } => {
                write!(f, "line {line} of the trace can't be understood: {text}")
            }
            Self::Cut { line } => {
                write!(
                    f,
                    "line {line}: the tracer cut a buffer short; it needs a larger -s"
                )
            }
            Self::Content { line, what } => write!(f, "line {line}: {what} can't be read"),
        }
    }
}

/// One system call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Call {
    /// Its name.
    pub(super) name: String,
    /// The line at which it began.
    pub(super) began: usize,
    /// The line at which it returned; `None` when the trace ends before.
    pub(super) ended: Option<usize>,
    /// What the first descriptor among its arguments stands for: a path, or `TCP:[..]`.
    pub(super) file: String,
    /// All strings among its arguments, one after the other.
    pub(super) bytes: Vec<u8>,
    /// Its arguments behind the last string or bracket, as text: flags, offsets.
    pub(super) rest: String,
    /// What it returned.
    pub(super) result: i64,
    /// What a returned descriptor stands for.
    pub(super) opened: String,
    /// The tracer answered in the kernel's place.
    pub(super) injected: bool,
}

impl Call {
    /// It returned, said that all is well, and really happened.
    pub(super) fn succeeded(&self) -> bool {
        self.ended.is_some() && self.result >= 0 && !self.injected
    }

    /// The descriptor is a connection.
    pub(super) fn is_tcp(&self) -> bool {
        self.file.starts_with("TCP")
    }
}

/// All calls of a trace in the order in which they began.
pub(super) fn read(trace: &str) -> Result<Vec<Call>, TraceError> {
    let mut calls = Vec::new();
    let mut open: BTreeMap<&str, (usize, String)> = BTreeMap::new();
    for (index, text) in trace.lines().enumerate() {
        let line = index + 1;
        let odd = || TraceError::Line {
            line,
            text: text.chars().take(80).collect(),
        };
        let (thread, event) = text.split_once(' ').ok_or_else(odd)?;
        let (_time, event) = event.trim_start().split_once(' ').ok_or_else(odd)?;
        if event.starts_with("---") || event.starts_with("+++") {
            continue;
        }
        if let Some(begun) = event.strip_suffix(" <unfinished ...>") {
            open.insert(thread, (line, begun.to_owned()));
        } else if let Some((_, rest)) = event
            .strip_prefix("<... ")
            .and_then(|resumed| resumed.split_once(" resumed>"))
        {
            let (began, begun) = open.remove(thread).ok_or_else(odd)?;
            let whole = begun + rest;
            calls.push(call(&whole, began, line)?.ok_or_else(odd)?);
        } else {
            calls.push(call(event, line, line)?.ok_or_else(odd)?);
        }
    }
    for (began, begun) in open.into_values() {
        let mut unended = call(&(begun + ") = 0"), began, began)?.unwrap_or_default();
        unended.ended = None;
        calls.push(unended);
    }
    calls.sort_by_key(|call| call.began);
    Ok(calls)
}

/// `name(arguments) = result`; `None` when it is none.
fn call(text: &str, began: usize, ended: usize) -> Result<Option<Call>, TraceError> {
    let Some((left, result)) = text.rsplit_once(") = ") else {
        return Ok(None);
    };
    let Some((name, arguments)) = left.split_once('(') else {
        return Ok(None);
    };
    let mut call = Call {
        name: name.to_owned(),
        began,
        ended: Some(ended),
        file: descriptor(arguments).to_owned(),
        injected: result.contains("(INJECTED)"),
        opened: descriptor(result).to_owned(),
        ..Call::default()
    };
    let number = result.split([' ', '<']).next().unwrap_or_default();
    // `?` stands for a call that the end of the process cut off.
    match number.parse() {
        Ok(number) => call.result = number,
        Err(_) if number == "?" => call.ended = None,
        Err(_) => return Ok(None),
    }
    call.rest = strings(arguments, &mut call.bytes, ended)?;
    Ok(Some(call))
}

/// What the descriptor at the front stands for: the text between `<` and the `>` that ends it.
fn descriptor(text: &str) -> &str {
    let named = text
        .trim_start_matches("AT_FDCWD")
        .trim_start_matches(|digit: char| digit.is_ascii_digit());
    let Some(named) = named.strip_prefix('<') else {
        return "";
    };
    // `->` stands in the name of a connection.
    let ends = [">,", "> ", ">)"].iter().filter_map(|end| named.find(end));
    let end = ends
        .min()
        .or_else(|| named.strip_suffix('>').map(str::len))
        .unwrap_or(named.len());
    &named[..end]
}

/// Takes the strings out of the arguments; gives what stands behind the last.
fn strings(arguments: &str, bytes: &mut Vec<u8>, line: usize) -> Result<String, TraceError> {
    let mut rest = arguments;
    while let Some(at) = rest.find('"') {
        let quoted = &rest.as_bytes()[at + 1..];
        let used = unescape(quoted, bytes).ok_or(TraceError::Cut { line })?;
        rest = &rest[at + 1 + used..];
        if rest.starts_with("...") {
            return Err(TraceError::Cut { line });
        }
    }
    // An array that was not printed to its end has three dots too.
    if rest.contains("...]") || rest.contains("...}") {
        return Err(TraceError::Cut { line });
    }
    Ok(rest.rsplit(['"', ']']).next().unwrap_or(rest).to_owned())
}

/// Undoes C's escapes up to the closing quote; gives how many bytes that took, the quote included.
fn unescape(quoted: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let mut at = 0;
    loop {
        let byte = *quoted.get(at)?;
        at += 1;
        match byte {
            b'"' => return Some(at),
            b'\\' => {
                let escape = *quoted.get(at)?;
                at += 1;
                match escape {
                    b'n' => out.push(b'\n'),
                    b't' => out.push(b'\t'),
                    b'r' => out.push(b'\r'),
                    b'v' => out.push(0x0b),
                    b'f' => out.push(0x0c),
                    b'0'..=b'7' => {
                        let mut value = u32::from(escape - b'0');
                        let more = quoted[at..].iter().take(2);
                        for digit in more.take_while(|digit| (b'0'..=b'7').contains(digit)) {
                            value = value * 8 + u32::from(digit - b'0');
                            at += 1;
                        }
                        out.push(u8::try_from(value).ok()?);
                    }
                    other => out.push(other),
                }
            }
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_others_interrupt_is_one_call() {
        let trace = "7 1.5 pwritev(24</d/t-0/0.log>, [{iov_base=\"a\\0\\3771\", iov_len=4}, \
                     {iov_base=\"\\\"b\\n\", iov_len=3}], 2, 4096 <unfinished ...>\n\
                     8 1.6 fdatasync(24</d/t-0/0.log>) = 0 (INJECTED)\n\
                     7 1.7 <... pwritev resumed>) = 7\n\
                     9 1.8 --- SIGTERM {si_signo=SIGTERM} ---\n\
                     9 1.9 +++ exited with 0 +++\n";
        let calls = read(trace).unwrap();
        assert_eq!(calls.len(), 2);
        assert_eq!((calls[0].began, calls[0].ended), (1, Some(3)));
        assert_eq!(calls[0].bytes, b"a\0\xff1\"b\n");
        assert_eq!(calls[0].file, "/d/t-0/0.log");
        assert_eq!(calls[0].rest, ", 2, 4096");
        assert_eq!(calls[0].result, 7);
        assert!(calls[1].injected && !calls[1].succeeded());
    }

    #[test]
    fn descriptors_say_what_they_stand_for() {
        let trace = "7 1.5 accept4(14<TCP:[127.0.0.1:1]>, {sa_family=AF_INET}, [128 => 16], \
                     SOCK_CLOEXEC) = 22<TCP:[127.0.0.1:1->127.0.0.1:2]>\n\
                     7 1.6 openat(AT_FDCWD</x>, \"/d/a\", O_RDWR|O_CREAT, 0600) = 3</d/a>\n\
                     7 1.7 recvfrom(22<TCP:[127.0.0.1:1->127.0.0.1:2]>, 0x7f, 9, 0, NULL, NULL) = \
                     -1 EAGAIN (Resource temporarily unavailable)\n\
                     7 1.8 fsync(3</d> <unfinished ...>\n";
        let calls = read(trace).unwrap();
        assert_eq!(calls[0].opened, "TCP:[127.0.0.1:1->127.0.0.1:2]");
        assert_eq!(calls[1].opened, "/d/a");
        assert_eq!(calls[1].bytes, b"/d/a");
        assert!(calls[1].rest.contains("O_CREAT"));
        assert!(calls[2].is_tcp() && !calls[2].succeeded());
        assert_eq!(calls[3].ended, None);
        assert_eq!(calls[3].file, "/d");
    }

    #[test]
    fn what_the_tracer_left_out_is_an_error() {
        let cut = "7 1.5 write(3</a>, \"abc\"..., 9) = 9\n";
        assert_eq!(read(cut), Err(TraceError::Cut { line: 1 }));
        assert!(matches!(
            read("what is this\n"),
            Err(TraceError::Line { line: 1, .. })
        ));
    }
}
