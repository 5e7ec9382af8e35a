//! What an app may ask to listen on.
