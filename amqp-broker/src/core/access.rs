//! Users, and what they may do where.

use std::collections::BTreeMap;

use regex_lite::Regex;

use super::name::Name;
use super::refusal::{Outcome, Refusal, Resource};

/// What a user may do in a virtual host: three patterns that are looked for in the names of exchanges and queues, as of
/// `rabbitmqctl set_permissions`.
#[derive(Debug, Clone)]
pub struct Permissions {
    configure: Regex,
    write: Regex,
    read: Regex,
}

impl Permissions {
    /// Permissions by patterns: `.*` is everything, `^$` is nothing.
    ///
    /// # Errors
    /// If one of them is no regular expression.
    pub fn new(configure: &str, write: &str, read: &str) -> Result<Self, regex_lite::Error> {
        Ok(Self { configure: Regex::new(configure)?, write: Regex::new(write)?, read: Regex::new(read)? })
    }

    fn everything() -> Option<Self> {
        Self::new(".*", ".*", ".*").ok()
    }
}

/// What somebody wants to do with a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Configure,
    Write,
    Read,
}

impl Access {
    fn name(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Users {
    all: BTreeMap<Name, User>,
}

#[derive(Debug)]
struct User {
    password: Vec<u8>,
    /// `None` is everything, which is what most have.
    permissions: BTreeMap<Name, Option<Permissions>>,
}

impl Users {
    /// Adds a user, or gives one another password.
    pub(super) fn add(&mut self, name: &str, password: &str) {
        match self.all.get_mut(name.as_bytes()) {
            Some(user) => user.password = password.into(),
            None => {
                let user = User { password: password.into(), permissions: BTreeMap::new() };
                self.all.insert(Name::from(name), user);
            }
        }
    }

    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.all.contains_key(name)
    }

    pub(super) fn remove(&mut self, name: &str) -> bool {
        self.all.remove(name.as_bytes()).is_some()
    }

    pub(super) fn allow_all(&mut self, user: &str, vhost: &str) {
        if let Some(user) = self.all.get_mut(user.as_bytes()) {
            user.permissions.insert(Name::from(vhost), None);
        }
    }

    /// `false` if there is no such user.
    pub(super) fn allow(&mut self, user: &str, vhost: &str, permissions: Permissions) -> bool {
        let Some(user) = self.all.get_mut(user.as_bytes()) else { return false };
        user.permissions.insert(Name::from(vhost), Some(permissions));
        true
    }

    pub(super) fn forget_vhost(&mut self, vhost: &Name) {
        for user in self.all.values_mut() {
            user.permissions.remove(vhost.as_bytes());
        }
    }

    pub(super) fn is_password(&self, user: &[u8], password: &[u8]) -> bool {
        self.all.get(user).is_some_and(|user| user.password == password)
    }

    pub(super) fn may_enter(&self, user: &Name, vhost: &Name) -> bool {
        self.all.get(user.as_bytes()).is_some_and(|user| user.permissions.contains_key(vhost.as_bytes()))
    }

    /// # Errors
    /// If the user may not do it.
    pub(super) fn check(&self, user: &Name, access: Access, resource: &Resource<'_>) -> Outcome {
        let permissions =
            self.all.get(user.as_bytes()).and_then(|user| user.permissions.get(resource.vhost.as_bytes()));
        let allowed = match permissions {
            None => false,
            Some(None) => true,
            Some(Some(permissions)) => {
                let pattern = match access {
                    Access::Configure => &permissions.configure,
                    Access::Write => &permissions.write,
                    Access::Read => &permissions.read,
                };
                pattern.is_match(&resource_name(resource))
            }
        };
        if allowed {
            return Ok(());
        }
        let access = access.name();
        let shown = Name::from(resource_name(resource));
        let resource = Resource { name: &shown, ..*resource };
        Err(Refusal::access_refused(format_args!("{access} access to {resource} refused for user '{user}'")))
    }
}

/// Permissions know the default exchange by another name.
fn resource_name(resource: &Resource<'_>) -> String {
    if resource.kind == "exchange" && resource.name.is_empty() {
        "amq.default".to_owned()
    } else {
        resource.name.to_string()
    }
}

impl Default for Permissions {
    /// Everything.
    #[expect(clippy::expect_used, reason = "the pattern is a constant that a test compiles")]
    fn default() -> Self {
        Self::everything().expect("a pattern that is valid")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_patterns_and_a_refusal_names_what_was_wanted() {
        let _ = Permissions::default();
        let mut users = Users::default();
        users.add("bob", "secret");
        assert!(users.allow("bob", "/", Permissions::new("^bob-", ".*", "^$").unwrap()));
        let (bob, vhost) = (Name::from("bob"), Name::from("/"));
        let check = |access, name: &str| {
            let name = Name::from(name);
            users.check(&bob, access, &Resource { kind: "queue", name: &name, vhost: &vhost })
        };
        assert_eq!(check(Access::Configure, "bob-1"), Ok(()));
        let text = "read access to queue 'bob-1' in vhost '/' refused for user 'bob'";
        assert_eq!(check(Access::Read, "bob-1"), Err(Refusal::access_refused(text)));
        assert!(check(Access::Configure, "alice-1").is_err());
        assert!(users.is_password(b"bob", b"secret") && !users.is_password(b"bob", b""));
    }
}
