//! How a structure of a message is declared: its fields in the order of the wire, with what Kafka's
//! schema says of each.
//!
//! ```text
//! structure! {
//!     /// What it is.
//!     pub struct Name<'a>: Request for Api {  // it is the body of that API's requests
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

/// Declares structures of messages, as this module's documentation shows.
macro_rules! structure {
    ($(
        $(#[$doc:meta])*
        pub struct $name:ident $(<$a:lifetime>)? $(: $body:ident for $api:ident)? {$(
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

        impl<'a> crate::view::Read<'a> for $name $(<$a>)? {
            fn bytes_min(version: crate::view::Version) -> usize {
                let tag_section = usize::from(version.flexible);
                tag_section $(
                    + usize::from(structure!(@within (version.number) $($versions)?))
                        * <$type as crate::view::Read>::bytes_min(version)
                )*
            }

            fn read(
                from: &mut crate::view::Cursor<'a>,
            ) -> Result<Self, crate::view::ReadError> {
                $(
                    let $field = if structure!(@within (from.version().number) $($versions)?) {
                        <$type as crate::view::Read>::read(from)?
                    } else {
                        crate::view::default_of(
                            concat!(
                                module_path!(),
                                "::",
                                stringify!($name),
                                ".",
                                stringify!($field),
                            ),
                            structure!(@default $($default)?),
                        )
                    };
                    $($(if !matches!(from.version().number, $nullable) {
                        from.present($field.as_ref())?;
                    })?)?
                )*
                $($(let mut $tagged: $tag_type = crate::view::default_of(
                    concat!(module_path!(), "::", stringify!($name), ".", stringify!($tagged)),
                    structure!(@default $($tag_default)?),
                );)*)?
                from.tags(structure!(@known $($($tag [$($tag_versions)?] $tagged)*)?))?;
                Ok(Self { $($field,)* $($($tagged,)*)? })
            }
        }

        structure!(@body ($name $(<$a>)?) $($body $api)?);
    )*};
    (@body ($type:ty)) => {};
    (@body ($type:ty) $body:ident $api:ident) => {
        impl<'a> $body<'a> for $type {
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
                    $field = crate::view::Read::read(value)?;
                })*
                _ => return Ok(false),
            }
            Ok(true)
        }
    };
}

pub(crate) use structure;
