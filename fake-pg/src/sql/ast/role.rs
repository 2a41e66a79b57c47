//! Roles: CREATE, ALTER, DROP, GRANT, REVOKE, and whom a session acts as.

use super::{Name, Relation};

/// An option of CREATE ROLE and ALTER ROLE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleOption {
    /// SUPERUSER, LOGIN and their like: the name in lower case, and whether it was without NO.
    Flag(Name, bool),
    /// PASSWORD; `None` is NULL.
    Password(Option<Name>),
    /// CONNECTION LIMIT.
    ConnectionLimit(i32),
    /// VALID UNTIL.
    ValidUntil(Name),
    /// IN ROLE.
    InRole(Vec<Name>),
}

/// A command about roles.
#[derive(Debug, Clone, PartialEq)]
pub enum RoleCommand {
    /// CREATE ROLE, USER or GROUP.
    Create {
        /// Its name.
        name: Name,
        /// Its options and where they stand, LOGIN first for a user.
        options: Vec<(RoleOption, u32)>,
    },
    /// ALTER ROLE.
    Alter {
        /// Its name.
        name: Name,
        /// What changes, and where that stands.
        options: Vec<(RoleOption, u32)>,
    },
    /// ALTER ROLE … SET and RESET.
    Set {
        /// Its name.
        name: Name,
        /// IN DATABASE.
        database: Option<Name>,
        /// The setting; `None` is ALL.
        setting: Option<Name>,
        /// Its value; `None` resets it.
        value: Option<String>,
    },
    /// ALTER ROLE … RENAME.
    Rename {
        /// From.
        from: Name,
        /// To.
        to: Name,
    },
    /// DROP ROLE.
    Drop {
        /// The roles.
        names: Vec<Name>,
        /// IF EXISTS.
        if_exists: bool,
    },
    /// GRANT and REVOKE of memberships.
    Member {
        /// GRANT rather than REVOKE.
        grants: bool,
        /// The roles that are granted.
        roles: Vec<Name>,
        /// To these.
        members: Vec<Name>,
    },
    /// GRANT and REVOKE of privileges on objects, which nobody asks for here: only names are checked.
    Privileges {
        /// GRANT rather than REVOKE.
        grants: bool,
        /// Tables named.
        tables: Vec<Relation>,
        /// To these, PUBLIC left out.
        members: Vec<Name>,
    },
    /// SET ROLE; `None` is NONE.
    ActAs {
        /// The role.
        role: Option<Name>,
        /// SET LOCAL.
        local: bool,
        /// RESET ROLE.
        resets: bool,
    },
    /// SET SESSION AUTHORIZATION; `None` is DEFAULT.
    Authorize {
        /// The role.
        role: Option<Name>,
        /// SET LOCAL.
        local: bool,
        /// RESET SESSION AUTHORIZATION.
        resets: bool,
    },
}

impl RoleCommand {
    /// What a read-only transaction calls it when it refuses it; `None` if it does not.
    pub fn writes(&self) -> Option<&'static str> {
        Some(match self {
            RoleCommand::Create { .. } => "CREATE ROLE",
            RoleCommand::Alter { .. } | RoleCommand::Set { .. } | RoleCommand::Rename { .. } => {
                "ALTER ROLE"
            }
            RoleCommand::Drop { .. } => "DROP ROLE",
            RoleCommand::Member { grants: true, .. } => "GRANT ROLE",
            RoleCommand::Member { grants: false, .. } => "REVOKE ROLE",
            RoleCommand::Privileges { grants: true, .. } => "GRANT",
            RoleCommand::Privileges { grants: false, .. } => "REVOKE",
            RoleCommand::ActAs { .. } | RoleCommand::Authorize { .. } => return None,
        })
    }
}
