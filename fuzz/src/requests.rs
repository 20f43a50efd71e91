//! Target: requests, every served API at every served version.
//!
//! Held: reading takes no memory at all; what was read can be looked at to the last field; the
//! codec generated from Kafka's schemas accepts the same bodies, and what it writes of one reads
//! as the same request.

use bytes::Bytes;
use millrace_protocol::api::Api;
use millrace_protocol::messages::{self, DecodeLimits, Message};
use millrace_protocol::requests::{self, Fault, Request};

use crate::allocation::peak;
use crate::input::Input;
use crate::messages::named;
use crate::progress;

/// One input: which request at which version, then its body.
pub fn run(bytes: &[u8]) {
    if judge(bytes) {
        progress::past_the_header();
    }
}

/// Holds one input to the rules; whether it was read.
pub(crate) fn judge(bytes: &[u8]) -> bool {
    let mut input = Input(bytes);
    let (api, version) = named(&mut input);
    let body = Bytes::copy_from_slice(input.0);
    macro_rules! served {
        ($($api:ident = $message:ident $(<$a:lifetime>)?;)*) => {
            match api {
                $(Api::$api => {
                    let Some(written) = accepted::<
                        requests::$message $(<$a>)?,
                        messages::$message,
                    >(version, &body) else {
                        return false;
                    };
                    let read = shown::<requests::$message $(<$a>)?>(version, &body);
                    let again = shown::<requests::$message $(<$a>)?>(version, &written);
                    assert_eq!(again, read);
                    true
                })*
            }
        };
    }
    millrace_protocol::each_request!(served)
}

/// What the generated codec writes of a body that both accept; `None` when both refuse it.
fn accepted<'a, V: Request<'a>, M: Message>(version: i16, body: &'a Bytes) -> Option<Bytes> {
    let (view, held) = peak(|| requests::read_front::<V>(version, body));
    assert_eq!(held, 0, "reading takes no memory");
    // Bytes behind the request, which the view ignores, the codec doesn't.
    let len = body.len() - view.as_ref().map_or(0, |(_, left)| *left);
    let front = body.slice(..len);
    let message = messages::decode::<M>(version, front, &DecodeLimits::default());
    match (view, message) {
        (Ok(_), Ok(message)) => {
            Some(messages::encode(&message, version).expect("what was read can be written"))
        }
        (Err(_), Err(_)) => None,
        // The only difference there is: Kafka's classes refuse such texts, the codec doesn't.
        (Err(error), Ok(_)) if matches!(error.fault, Fault::TextLength(_)) => None,
        (Err(error), Ok(_)) => panic!("only the view refuses it: {error}"),
        (Ok(_), Err(error)) => panic!("only the codec refuses it: {error}"),
    }
}

/// Every field of a request, as text.
fn shown<'a, V: Request<'a> + std::fmt::Debug>(version: i16, body: &'a Bytes) -> String {
    let view = requests::read::<V>(version, body).expect("it is accepted");
    format!("{view:?}")
}
