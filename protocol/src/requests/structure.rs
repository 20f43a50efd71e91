//! How a structure of a request is declared: its fields in the order of the wire, with what Kafka's
//! schema says of each.
//!
//! ```text
//! structure! {
//!     /// What it is.
//!     pub struct Name<'a> for Api {            // `for Api`: it is the body of that API's requests
//!         /// In all versions.
//!         pub a: i32,
//!         /// From version 7; -1 before.
//!         pub b: i32 [7..] = -1,
//!         /// In all versions, null from version 1 only. An `Option` without this is always nullable.
//!         pub c: Option<&'a str> [_, null 1..],
//!     } tagged {
//!         /// Tagged field 0, from version 12; the default when it isn't there.
//!         0 => pub d: i64 [12..] = -1,
//!     }
//! }
//! ```

/// Declares structures of requests, as this module's documentation shows.
macro_rules! structure {
    ($(
        $(#[$doc:meta])*
        pub struct $name:ident $(<$a:lifetime>)? $(for $api:ident)? {$(
            $(#[$field_doc:meta])*
            pub $field:ident: $type:ty
                $([$versions:pat $(, null $nullable:pat)?])? $(= $default:expr)?,
        )*} $(tagged {$(
            $(#[$tag_doc:meta])*
            $tag:literal => pub $tagged:ident: $tag_type:ty
                $([$tag_versions:pat])? $(= $tag_default:expr)?,
        )*})?
    )*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name $(<$a>)? {
            $($(#[$field_doc])* pub $field: $type,)*
            $($($(#[$tag_doc])* pub $tagged: $tag_type,)*)?
        }

        impl<'a> crate::requests::Read<'a> for $name $(<$a>)? {
            fn bytes_min(version: crate::requests::Version) -> usize {
                let tag_section = usize::from(version.flexible);
                tag_section $(
                    + usize::from(structure!(@within (version.number) $($versions)?))
                        * <$type as crate::requests::Read>::bytes_min(version)
                )*
            }

            fn read(
                from: &mut crate::requests::Cursor<'a>,
            ) -> Result<Self, crate::requests::ReadError> {
                $(
                    let $field = if structure!(@within (from.version().number) $($versions)?) {
                        <$type as crate::requests::Read>::read(from)?
                    } else {
                        structure!(@default $($default)?)
                    };
                    $($(if !matches!(from.version().number, $nullable) {
                        from.present($field.as_ref())?;
                    })?)?
                )*
                $($(let mut $tagged: $tag_type = structure!(@default $($tag_default)?);)*)?
                from.tags(structure!(@known $($($tag [$($tag_versions)?] $tagged)*)?))?;
                Ok(Self { $($field,)* $($($tagged,)*)? })
            }
        }

        structure!(@request ($name $(<$a>)?) $($api)?);
    )*};
    (@request ($type:ty)) => {};
    (@request ($type:ty) $api:ident) => {
        impl<'a> crate::requests::Request<'a> for $type {
            const API: crate::api::Api = crate::api::Api::$api;
        }
    };
    (@within ($version:expr)) => { true };
    (@within ($version:expr) $versions:pat) => { matches!($version, $versions) };
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (@known) => { |_, _| Ok(false) };
    (@known $($tag:literal [$($versions:pat)?] $field:ident)*) => {
        |tag, value| {
            match tag {
                $($tag if structure!(@within (value.version().number) $($versions)?) => {
                    $field = crate::requests::Read::read(value)?;
                })*
                _ => return Ok(false),
            }
            Ok(true)
        }
    };
}

pub(super) use structure;
