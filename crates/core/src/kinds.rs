//! Enums that list their own kinds, so that the documentation is made from the code that it speaks of.

/// One kind of an enum that was declared with [`kinds!`](crate::kinds).
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// As it is written in Rust.
    pub name: &'static str,
    /// Its doc comment, by lines.
    pub doc: &'static [&'static str],
    /// The type of what it holds, where that has no name.
    pub inner: Option<&'static str>,
    /// Name and type, as written in Rust.
    pub fields: &'static [(&'static str, &'static str)],
}

/// The name of a type, if there is one.
#[doc(hidden)]
#[macro_export]
macro_rules! inner {
    () => {
        None
    };
    ($inner:ty) => {
        Some(stringify!($inner))
    };
}

/// Declares an enum, and its `KINDS` beside it.
#[macro_export]
macro_rules! kinds {
    (
        $(#[$meta:meta])*
        pub enum $name:ident {
            $(
                $(#[doc = $doc:literal])+
                $(#[serde($($kind_serde:tt)*)])?
                $kind:ident $(($inner:ty))? $({
                    $($(#[serde($($field_serde:tt)*)])? $field:ident: $type:ty),* $(,)?
                })?
            ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        pub enum $name {
            $(
                $(#[doc = $doc])+
                $(#[serde($($kind_serde)*)])?
                $kind $(($inner))? $({ $($(#[serde($($field_serde)*)])? $field: $type),* })?
            ),*
        }

        impl $name {
            /// Every kind, in the order of the declaration.
            pub const KINDS: &'static [$crate::kinds::Kind] = &[
                $($crate::kinds::Kind {
                    name: stringify!($kind),
                    doc: &[$($doc),+],
                    inner: $crate::inner!($($inner)?),
                    fields: &[$($((stringify!($field), stringify!($type))),*)?],
                }),*
            ];
        }
    };
}
