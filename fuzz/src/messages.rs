//! The served messages by number, so that an input can name any of them at any served version.

use millrace_protocol::api::{Api, TABLE};

use crate::input::Input;

/// The API and version that the next two bytes of an input name.
pub fn named(input: &mut Input<'_>) -> (Api, i16) {
    let row = input.choice(TABLE);
    let served = row.served;
    let count = served.max - served.min + 1;
    (row.api, served.min + i16::from(input.byte()) % count)
}

/// The two bytes that [`named`] reads as this API and version; `None` when it is not served.
pub fn name(api: Api, version: i16) -> Option<[u8; 2]> {
    let served = api.row().served;
    let step = version.checked_sub(served.min)?;
    served.contains(version).then_some(())?;
    Some([u8::try_from(api.index()).ok()?, u8::try_from(step).ok()?])
}
