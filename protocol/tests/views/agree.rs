//! Views held against what the generated codec reads: field by field where both accept a body.

use bytes::Bytes;
use millrace_protocol::api::{self, Api};
use millrace_protocol::ids::TopicId;
use millrace_protocol::messages::{self, DecodeLimits, Message, StrBytes, Uuid};
use millrace_protocol::requests::{Array, Fault, Read, ReadError};

const VECTORS: &str = include_str!("../../vectors/messages.txt");

/// A view that can be compared with what the generated codec reads.
pub(crate) trait Agree<W> {
    fn agree(self, with: &W);
}

macro_rules! values {
    ($($value:ty)*) => {$(
        impl Agree<$value> for $value {
            fn agree(self, with: &$value) {
                assert_eq!(self, *with);
            }
        }
    )*};
}

values! { bool i8 i16 u16 i32 i64 }

impl Agree<StrBytes> for &str {
    fn agree(self, with: &StrBytes) {
        assert_eq!(self, with.as_str());
    }
}

impl Agree<Bytes> for &[u8] {
    fn agree(self, with: &Bytes) {
        assert_eq!(self, &with[..]);
    }
}

impl Agree<Uuid> for TopicId {
    fn agree(self, with: &Uuid) {
        assert_eq!(self, Self::from(*with));
    }
}

impl Agree<Uuid> for [u8; 16] {
    fn agree(self, with: &Uuid) {
        assert_eq!(self, with.to_bytes());
    }
}

impl<V: Agree<W>, W> Agree<Option<W>> for Option<V> {
    fn agree(self, with: &Option<W>) {
        assert_eq!(self.is_some(), with.is_some());
        if let (Some(view), Some(with)) = (self, with) {
            view.agree(with);
        }
    }
}

impl<'a, V: Agree<W> + Read<'a>, W> Agree<Vec<W>> for Array<'a, V> {
    fn agree(self, with: &Vec<W>) {
        assert_eq!(self.len(), with.len());
        assert_eq!(self.into_iter().len(), with.len());
        self.into_iter().zip(with).for_each(|(v, w)| v.agree(w));
    }
}

/// Every field of every structure, by its name; one left out of the list doesn't compile.
macro_rules! structures {
    ($side:ident: $($module:ident in $messages:ident {$(
        $name:ident $(<$a:lifetime>)? { $($field:ident)* }
    )*})*) => {$($(
        impl<'a> Agree<messages::$messages::$name> for $side::$module::$name $(<$a>)? {
            fn agree(self, with: &messages::$messages::$name) {
                let $side::$module::$name { $($field),* } = self;
                $($field.agree(&with.$field);)*
            }
        }
    )*)*};
}

pub(crate) use structures;

/// Holds what a view of all of `body` was read as against what the codec reads; gives what the view
/// says, without the view.
pub(crate) fn compare<V, M>(
    view: Result<V, ReadError>,
    elements_max: usize,
    version: i16,
    body: &Bytes,
) -> Result<(), ReadError>
where
    V: Agree<M> + std::fmt::Debug,
    M: Message + std::fmt::Debug,
{
    let limits = DecodeLimits {
        array_elements_max: elements_max,
        ..DecodeLimits::default()
    };
    let message = messages::decode::<M>(version, body.clone(), &limits);
    match (view, message) {
        (Ok(view), Ok(message)) => {
            view.agree(&message);
            Ok(())
        }
        (Err(error), Err(_)) => Err(error),
        // The differences there are: Kafka's classes refuse such texts, which the codec doesn't; and
        // the codec counts the elements of each array for itself.
        (Err(error), Ok(_)) if matches!(error.fault, Fault::TextLength(_)) => Err(error),
        (Err(error), Ok(_))
            if matches!(error.fault, Fault::Elements(_)) && body.len() > elements_max =>
        {
            Err(error)
        }
        (view, message) => panic!("{version} {body:02x?}: {view:?}, but {message:?}"),
    }
}

/// How a body of one side of an API is compared.
pub(crate) type Compare = fn(Api, i16, &Bytes) -> Result<(), ReadError>;

/// API, version and body of each recorded message of a side (`Request`, `Response`) that is served.
pub(crate) fn vectors(side: &str) -> Vec<(Api, i16, Bytes)> {
    let vector = |line: &'static str| {
        let fields: Vec<_> = line.split(' ').collect();
        let name = fields[0].strip_suffix(side)?;
        let row = api::TABLE.iter().find(|row| row.name == name)?;
        let version = fields[1].parse().expect("a version");
        let digits: Vec<_> = fields[3]
            .bytes()
            .filter_map(|c| char::from(c).to_digit(16))
            .collect();
        let body = digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8);
        row.served
            .contains(version)
            .then(|| (row.api, version, body.collect()))
    };
    VECTORS.lines().filter_map(vector).collect()
}

/// Every recorded message of a side reads as the codec reads it, not cut, and with a byte behind it as
/// `longer` says.
pub(crate) fn recorded_bodies_agree(side: &str, compare: Compare, longer: &Result<(), Fault>) {
    let mut checked = 0;
    for (api, version, body) in vectors(side) {
        assert_eq!(compare(api, version, &body), Ok(()), "{api:?} {version}");
        for cut in 0..body.len() {
            let cut = compare(api, version, &body.slice(..cut));
            assert!(cut.is_err(), "{api:?} {version}: {cut:?}");
        }
        let read = compare(api, version, &[&body, &b"\0"[..]].concat().into());
        let read = read.map_err(|error| error.fault);
        assert_eq!(&read, longer, "{api:?} {version}");
        checked += 1;
    }
    assert!(checked > 150, "only {checked} vectors");
}
