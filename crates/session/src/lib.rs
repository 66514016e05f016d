//! The data channel of ECS Exec: what the Session Manager plugin speaks with the agent in a container, without the plugin.
//!
//! [`message`] is one message, [`channel`] their order, their acknowledgement and their repetition, [`conversation`] a session over a
//! WebSocket, from the first message to its end. [`exit_code`] is what the protocol lacks: the code that a command ended with.
//!
//! The connection is not made here: whoever has an HTTP client hands over the stream of an upgraded request.
//! <https://github.com/aws/session-manager-plugin>, <https://github.com/aws/amazon-ssm-agent>

pub mod channel;
pub mod conversation;
pub mod encryption;
pub mod exit_code;
pub mod message;

pub use channel::{Channel, Event, Size};
pub use conversation::{Connect, ConnectError, Conversation, Ended, Input, Leave, Stream};
pub use encryption::{DataKeys, KeyRequest};
pub use exit_code::{Filter, Marker, StandardInput, command_line};
