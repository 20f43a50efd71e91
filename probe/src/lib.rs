//! Where tests look into the product: bugs that they plant in it, branches that they see reached,
//! and what they alter between the wire and the handlers.
//!
//! What always holds: without the feature `armed`, which only dev-dependencies ask for, every
//! question asked here is answered by a constant and every note is dropped by the compiler: nothing
//! of it is in a binary that ships. With it, state belongs to one thread, as a simulated world does,
//! so that tests may run side by side; only alterations belong to the process.

mod alter;
mod branch;
mod bug;
#[cfg(feature = "armed")]
pub mod hunt;
mod state;

pub use alter::{Alterations, alter, alterations, is_other_default};
pub use branch::Branch;
pub use bug::Bug;
pub use state::{Armed, arm, fired, planted, reached, take_reached};

/// Declares an enum of plain variants that can be listed and named.
macro_rules! listed {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident,)* }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];
        }
    };
}
use listed;
