//! The wire protocol, version 3.0: bytes to messages and messages to bytes.
//!
//! Nothing here has state or knows what a message means; that is `session`'s business. What a
//! peer can get wrong is a value, never a panic.

pub mod backend;
pub mod frontend;
