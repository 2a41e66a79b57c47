//! Who has logged in, and as whom the session acts: `session_authorization`, `role` and
//! `is_superuser` are settings, so that they follow transactions as the others do.

use std::sync::Arc;

use super::{Settings, Values};

impl Settings {
    /// Somebody has logged in.
    pub fn log_in(&mut self, role: &str, superuser: bool) {
        self.login = role.into();
        if !superuser {
            self.put("is_superuser", Some("off"), false);
            self.initial = self.state.now.clone();
        }
    }

    /// `session_user`.
    pub fn session_user(&self) -> &str {
        let set = self.state.now.get("session_authorization");
        set.map_or(&*self.login, String::as_str)
    }

    /// Who has logged in, whoever the session acts as.
    pub fn login(&self) -> &str {
        &self.login
    }

    /// `current_user`.
    pub fn current_user(&self) -> &str {
        let role = self.state.now.get("role");
        role.map_or_else(|| self.session_user(), String::as_str)
    }

    /// Acts as another role, or as the session's own again: SET ROLE.
    pub fn act_as(&mut self, role: Option<&str>, superuser: bool, local: bool) {
        self.put("role", role, local);
        self.put("is_superuser", (!superuser).then_some("off"), local);
    }

    /// SET SESSION AUTHORIZATION; `None` is who has logged in.
    pub fn authorize(&mut self, role: Option<&str>, superuser: bool, local: bool) {
        self.put("session_authorization", role, local);
        self.act_as(None, superuser, local);
    }

    /// Whether `current_user` may do everything.
    pub fn is_superuser(&self) -> bool {
        !self.state.now.contains_key("is_superuser")
    }

    /// Sets a value that was checked.
    pub(super) fn put(&mut self, key: &str, value: Option<&str>, local: bool) {
        let change = |values: &mut Values| {
            let values = Arc::make_mut(values);
            match value {
                Some(value) => values.insert(key.into(), value.into()),
                None => values.remove(key),
            };
        };
        change(&mut self.state.now);
        if !local {
            change(&mut self.state.after_commit);
        }
    }
}
