//! Raw inputs -> one validated [`Config`]. The only validation of user input in the program: what comes out of here is
//! sound, and nothing downstream asks again.
//!
//! In order: [`draft`] finds the file, reads it into a tree that knows its places, lays the chosen environment over it and
//! finds what it refers to; [`Draft::finish`] resolves references, lays the flags over that, decodes and validates.
//! Without a file the flags are the document. Between the two, whoever runs the command asks AWS what is needed.

mod credential_files;
mod decode;
mod draft;
mod error;
mod file;
mod interpolate;
mod load;
mod read;
mod request;
mod schema;
mod shown_as;
mod sources;
mod suggestion;
mod syntax;
mod tree;
mod validate;

pub use draft::{Needs, Requester};
pub use error::ConfigErrors;
pub(crate) use interpolate::is_credential;
pub use load::{draft, environment_names, exists, load_rehearsal, path};
pub use read::{Unread, read_file, read_text};
pub use request::{LockFlag, Request};
pub use schema::schema;
pub use sources::Answers;
pub use suggestion::nearest;
pub(crate) use suggestion::suggestion;
pub use syntax::{TagPart, duration, tag_template};

pub use fargate_deploy_core::validated_config::*;
