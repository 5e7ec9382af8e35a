//! Who the workers are to be, as a person types it.

use std::str::FromStr;

/// `USER` or `USER:GROUP`, each a name or a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// Not empty, without a colon or a control character.
    pub(crate) user: String,
    /// The same; `None`: the primary group of the user.
    pub(crate) group: Option<String>,
}

impl FromStr for User {
    type Err = ();

    fn from_str(text: &str) -> Result<User, ()> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let is_name = |name: &str| {
            !name.is_empty()
                && !name.contains(|c: char| c == ':' || c.is_control())
        };
        if !is_name(user) || !group.is_none_or(is_name) {
            return Err(());
        }
        let group = group.map(str::to_owned);
        Ok(User { user: user.to_owned(), group })
    }
}
