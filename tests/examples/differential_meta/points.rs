//! What there is to alter in an API, as the traffic of its cases shows it.

use std::collections::BTreeSet;

use millrace_differential::rewrite::{Place, rewrite};
use millrace_differential::run::Watched;
use millrace_differential::schema::{self, Kind};
use millrace_protocol::api::Api;

use crate::altering::{Alteration, default_bytes};

/// One thing that can be altered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Point(Alteration);

impl Point {
    /// How it is altered.
    pub(crate) fn alteration(&self) -> Alteration {
        self.0.clone()
    }
}

/// Of a default that a handler applied.
pub(crate) fn of_default(name: &'static str) -> Point {
    Point(Alteration::Default { name })
}

/// All points of some requests and answers.
pub(crate) fn points(api: Api, watched: &[Watched]) -> BTreeSet<Point> {
    let mut found = BTreeSet::new();
    for message in watched {
        let is_unknown = !api.row().served.contains(message.version);
        let version = if api == Api::ApiVersions && is_unknown {
            0
        } else {
            message.version
        };
        let schema = schema::message(api, message.is_request);
        let mut note = |place: &Place<'_>| {
            let point = if message.is_request {
                asked(place)
            } else {
                answered(place)
            };
            found.extend(point.map(Point));
            None
        };
        // What can't be read is a request that a case broke on purpose.
        drop(rewrite(schema, version, &message.body, &mut note));
    }
    found
}

fn answered(place: &Place<'_>) -> Option<Alteration> {
    let path = place.path.to_owned();
    if let Some(code) = code_at(place) {
        return Some(Alteration::Code { path, from: code });
    }
    let is_empty = match (place.elements, place.field.kind) {
        (Some(elements), _) => elements == 0,
        (None, Kind::Records) => place.value.is_none_or(<[u8]>::is_empty),
        (None, _) => false,
    };
    let is_list_of_none = place.field.is_array && place.elements.is_none() && place.value.is_none();
    (!is_empty && !is_list_of_none).then_some(Alteration::Answer { path })
}

/// What a handler could ignore: a field that says something else than it does by default.
fn asked(place: &Place<'_>) -> Option<Alteration> {
    let path = place.path.to_owned();
    let says = match place.elements {
        Some(elements) => elements > 0,
        None if place.field.is_array && place.value.is_none() => false,
        None => place.value.map(<[u8]>::to_vec) != default_bytes(place.field),
    };
    says.then_some(Alteration::Ignored { path })
}

/// The error code that stands at a place, where one does.
pub(crate) fn code_at(place: &Place<'_>) -> Option<i16> {
    let is_code = place.field.name.ends_with("ErrorCode") && place.field.kind == Kind::Number(2);
    let bytes = place.value.filter(|_| is_code)?;
    bytes.try_into().ok().map(i16::from_be_bytes)
}
