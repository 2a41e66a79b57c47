//! Roles: who may log in, and as whom one may act.
//!
//! Roles belong to all databases, and change with transactions like the rest of the catalog.
//! Passwords are kept as verifiers only. Salts and nonces come from bytes that the embedder gives
//! (`Engine::seed_secrets`), so the same server makes the same ones.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::catalog::{Catalog, CatalogChange};
use super::{Engine, Exec, Halt, Timestamp};

/// The OID of the role that `initdb` makes (`BOOTSTRAP_SUPERUSERID`).
pub const SUPERUSER_ID: u32 = 10;

/// A role as `pg_authid` knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its OID.
    pub id: u32,
    /// Its name.
    pub name: Arc<str>,
    /// SUPERUSER: it may do everything.
    pub superuser: bool,
    /// INHERIT.
    pub inherit: bool,
    /// CREATEROLE.
    pub create_role: bool,
    /// CREATEDB.
    pub create_db: bool,
    /// LOGIN.
    pub login: bool,
    /// REPLICATION.
    pub replication: bool,
    /// BYPASSRLS.
    pub bypass_rls: bool,
    /// CONNECTION LIMIT; -1 is none.
    pub connection_limit: i32,
    /// What a password is checked against: `SCRAM-SHA-256$…` or `md5…`.
    pub password: Option<Arc<str>>,
    /// VALID UNTIL, of the password.
    pub valid_until: Option<Timestamp>,
    /// The roles it is a member of.
    pub member_of: Vec<Arc<str>>,
    /// ALTER ROLE … SET, for one database or for all.
    pub settings: Vec<RoleSetting>,
}

/// A setting that a session begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleSetting {
    /// In this database only.
    pub database: Option<Arc<str>>,
    /// Which.
    pub name: Arc<str>,
    /// Its value.
    pub value: Arc<str>,
}

impl Role {
    /// A role as CREATE ROLE makes it without options.
    pub fn new(id: u32, name: impl Into<Arc<str>>) -> Role {
        Role {
            id,
            name: name.into(),
            superuser: false,
            inherit: true,
            create_role: false,
            create_db: false,
            login: false,
            replication: false,
            bypass_rls: false,
            connection_limit: -1,
            password: None,
            valid_until: None,
            member_of: Vec::new(),
            settings: Vec::new(),
        }
    }

    /// The role that `initdb` makes.
    pub(super) fn initial() -> Role {
        Role {
            superuser: true,
            create_role: true,
            create_db: true,
            login: true,
            replication: true,
            bypass_rls: true,
            ..Role::new(SUPERUSER_ID, "postgres")
        }
    }
}

impl Catalog {
    /// The roles, by name.
    pub fn roles(&self) -> impl Iterator<Item = &Arc<Role>> {
        self.roles.values()
    }

    /// A role by name.
    pub fn role(&self, name: &str) -> Option<&Arc<Role>> {
        self.roles.get(name)
    }

    /// Whether a role may act as another one: it is a superuser, or a member of it.
    pub fn may_act_as(&self, role: &str, other: &str) -> bool {
        let Some(known) = self.role(role) else {
            return role == other;
        };
        // A circle of memberships can not be made.
        known.superuser || role == other || self.is_member(role, other)
    }

    /// Whether a role is a member of another one, directly or through others.
    pub fn is_member(&self, role: &str, of: &str) -> bool {
        let above = self.role(role).map_or(&[][..], |role| &role.member_of);
        above
            .iter()
            .any(|above| **above == *of || self.is_member(above, of))
    }

    pub(super) fn put_role(&mut self, role: &Arc<Role>) {
        let roles = Arc::make_mut(&mut self.roles);
        roles.retain(|_, other| other.id != role.id);
        roles.insert(role.name.clone(), role.clone());
    }

    pub(super) fn remove_role(&mut self, id: u32) {
        let roles = Arc::make_mut(&mut self.roles);
        roles.retain(|_, role| role.id != id);
    }
}

/// Where salts and nonces come from.
#[derive(Clone, Debug, Default)]
pub(super) struct Secrets {
    seed: [u8; 32],
    drawn: u64,
}

impl Exec<'_> {
    /// CREATE ROLE or ALTER ROLE: the role as it is from now on.
    pub fn put_role(&mut self, role: Role) -> Result<(), Halt> {
        self.change_catalog(CatalogChange::PutRole(Arc::new(role)))
    }

    /// DROP ROLE.
    pub fn drop_role(&mut self, id: u32) -> Result<(), Halt> {
        self.change_catalog(CatalogChange::DropRole(id))
    }
}

impl Engine {
    /// Gives the bytes that salts and nonces are made from. A server that strangers can reach
    /// needs bytes that they can not guess.
    pub fn seed_secrets(&mut self, seed: [u8; 32]) {
        self.secrets = Secrets { seed, drawn: 0 };
        // What SQL draws by chance must not tell the seed.
        let mut digest = Sha256::new();
        digest.update(seed);
        digest.update(b"chance");
        let bytes = digest.finalize();
        let word = bytes.iter().take(8);
        self.seed_chance(word.fold(0, |word, byte| word << 8 | u64::from(*byte)));
    }

    /// The next secret bytes.
    pub fn draw_secret(&mut self) -> [u8; 32] {
        self.secrets.drawn += 1;
        let mut digest = Sha256::new();
        digest.update(self.secrets.seed);
        digest.update(self.secrets.drawn.to_be_bytes());
        digest.finalize().into()
    }

    /// How many sessions a role has.
    pub fn sessions_of(&self, role: &str) -> usize {
        let sessions = self.activity().values();
        sessions.filter(|activity| &*activity.user == role).count()
    }
}
